//! Random edges on two queues with every kind of term and limit, by a fixed seed: whatever
//! happened, no index disagrees with another, and all that was accepted ends.

use bulkhead_core::{
    BatchId, BatchRef, Bounds, Conflict, OnFailedParent, QueueName, QueuePolicy, Rate, State, Task,
    TaskId, TenantPolicy, TermKey, Terms, Unique,
};
use bulkhead_queue::{Batch, Broker, Claim, Over};
use bulkhead_stage::eventually;

use crate::stage::*;

/// A linear congruential generator: the same course for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(usize::try_from(self.below(all.len().max(1) as u64)).ok()?)
    }
}

fn random_policy(chance: &mut Chance) -> QueuePolicy {
    let rate = |chance: &mut Chance| {
        chance.one_in(2).then(|| Rate { interval_us: 2_000, burst: 1 + chance.below(5) as u32 })
    };
    let mut bounds = |most: u64| Bounds {
        concurrency: chance.one_in(2).then(|| 1 + chance.below(most) as u32),
        rate: rate(chance),
    };
    let (a, k, k1) = (bounds(20), bounds(4), bounds(4));
    let limited = TenantPolicy {
        weight: 1 + chance.below(30) as u32,
        in_flight: chance.one_in(2).then(|| 1 + chance.below(8) as u32),
        rate: rate(chance),
        ..Default::default()
    };
    let mut policy = QueuePolicy::default();
    if chance.one_in(2) {
        policy.types = [(of_type("a"), a)].into();
    }
    if !chance.one_in(3) {
        policy.keys = [("k*".to_owned(), k), ("k1".to_owned(), k1)].into();
    }
    if chance.one_in(2) {
        policy.tenants = [(tenant("t1"), limited)].into();
    }
    if chance.one_in(4) {
        policy.concurrency = Some(30);
    }
    if chance.one_in(2) {
        policy.events = Some(50);
    }
    policy
}

fn random_task(chance: &mut Chance, queues: &[QueueName; 2], known: &[Task]) -> Task {
    let mut terms = Terms::default();
    if chance.one_in(2) {
        terms.key = Some(TermKey::new(format!("k{}", chance.below(3))).unwrap());
    }
    if chance.one_in(4) {
        let conflict = [Conflict::Reject, Conflict::Existing, Conflict::Replace];
        terms.unique = Some(Unique {
            key: TermKey::new(format!("u{}", chance.below(5))).unwrap(),
            window_ms: chance.one_in(2).then_some(30),
            conflict: *chance.of(&conflict).unwrap(),
        });
    }
    if chance.one_in(6) {
        terms.expires_at = Some(now() + chance.below(60));
    }
    if chance.one_in(5) {
        terms.not_before = Some(now() + chance.below(30));
    }
    if chance.one_in(8) {
        terms.retention_ms = Some(chance.below(2) * 50);
    }
    if chance.one_in(4) {
        let policies = [OnFailedParent::Fail, OnFailedParent::Cancel, OnFailedParent::Run];
        terms.on_failed_parent = *chance.of(&policies).unwrap();
        for _ in 0..1 + chance.below(3) {
            terms.after.extend(chance.of(known).map(Task::task_ref));
        }
    }
    let types = ["a", "b"].map(of_type);
    let tenants = ["t1", "t2", "t3"].map(tenant);
    Task {
        queue: chance.of(queues).unwrap().clone(),
        task_type: chance.of(&types).unwrap().clone(),
        tenant: chance.of(&tenants).unwrap().clone(),
        ..task(terms)
    }
}

async fn soak(seed: u64) {
    let mut talk = Talk::new().await;
    let mut chance = Chance(seed);
    let queues = [queue(), QueueName::new("other").unwrap()];
    let mut known: Vec<Task> = Vec::new();
    let mut held: Vec<(QueueName, Claim)> = Vec::new();
    let mut batches = Vec::new();
    for round in 0..400 {
        let in_queue = chance.of(&queues).unwrap().clone();
        let ids: Vec<TaskId> = (0..4)
            .filter_map(|_| chance.of(&known).filter(|task| task.queue == in_queue))
            .map(|task| task.id)
            .collect();
        match chance.below(14) {
            0..=3 => {
                let mut tasks: Vec<Task> = (0..1 + chance.below(12))
                    .map(|_| random_task(&mut chance, &queues, &known))
                    .collect();
                if chance.one_in(4) {
                    let id = BatchId(uuid::Uuid::now_v7());
                    let callback = random_task(&mut chance, &queues, &known);
                    for task in &mut tasks {
                        task.terms.batch = Some(BatchRef { queue: queue(), id });
                    }
                    let batch = Batch {
                        queue: queue(),
                        id,
                        name: "b".into(),
                        members: tasks.iter().map(Task::task_ref).collect(),
                        callback: Some(Task { queue: queue(), ..callback }),
                        over: if chance.one_in(2) { Over::Ended } else { Over::FirstFailure },
                        retention_ms: DAY_MS,
                    };
                    talk.broker.open_batch(&batch).await.unwrap();
                    batches.push(id);
                }
                let answers = talk.broker.submit(&tasks).await.unwrap();
                for (task, answer) in tasks.into_iter().zip(answers) {
                    if answer.is_new() {
                        known.push(task);
                    } else if let Some(batch) = &task.terms.batch {
                        let absent = [task.task_ref()];
                        talk.broker.leave_batch(&batch.queue, batch.id, &absent).await.unwrap();
                    }
                }
            }
            4..=7 => {
                // Some leases are so short that they are lost.
                talk.lease =
                    std::time::Duration::from_millis(if chance.one_in(8) { 1 } else { 5_000 });
                let mut settle = Vec::new();
                held.retain(|(queue, claim)| {
                    if *queue != in_queue || chance.one_in(3) {
                        return true;
                    }
                    settle.push(match chance.below(8) {
                        0 => dead(claim),
                        1 => retry(claim, chance.below(20)),
                        2 => give_back(claim),
                        3 => kept(claim, 0),
                        _ => done(claim),
                    });
                    false
                });
                let want = chance.below(40) as u32;
                let stepped = talk.step_in(&in_queue, settle, &[], want).await;
                held.extend(stepped.claims.into_iter().map(|claim| (in_queue.clone(), claim)));
            }
            8 => {
                talk.broker.cancel(&in_queue, &ids, chance.below(2) * 100).await.unwrap();
            }
            9 => {
                talk.broker.rerun(&in_queue, &ids).await.unwrap();
            }
            10 => {
                talk.deliver(&in_queue).await;
            }
            11 if chance.one_in(3) => {
                let policy = random_policy(&mut chance);
                talk.broker.set_policy(&in_queue, &policy).await.unwrap();
            }
            12 if chance.one_in(6) => {
                let states = [State::Pending, State::Scheduled, State::Blocked, State::Failed];
                talk.broker.purge(&in_queue, *chance.of(&states).unwrap()).await.unwrap();
            }
            13 => {
                let a = of_type("a");
                if chance.one_in(2) {
                    talk.broker.pause(&in_queue, Some(&a)).await.unwrap();
                } else {
                    talk.broker.resume(&in_queue, Some(&a)).await.unwrap();
                }
            }
            _ => {}
        }
        if round % 50 == 49 {
            for queue in &queues {
                let found = talk.broker.examine(queue, false).await.unwrap();
                assert!(found.is_empty(), "seed {seed}, round {round}: {found:#?}");
            }
        }
    }
    // Work everything off.
    for queue in &queues {
        talk.broker.resume(queue, Some(&of_type("a"))).await.unwrap();
    }
    talk.lease = std::time::Duration::from_secs(30);
    eventually("all has ended", || {
        let held = std::mem::take(&mut held);
        let talk = &talk;
        let queues = &queues;
        async move {
            for queue in queues {
                let settle =
                    held.iter().filter(|(of, _)| of == queue).map(|(_, c)| done(c)).collect();
                let mut claims = talk.step_in(queue, settle, &[], 100).await.claims;
                while !claims.is_empty() {
                    let settle = claims.iter().map(done).collect();
                    claims = talk.step_in(queue, settle, &[], 100).await.claims;
                }
                talk.deliver(queue).await;
            }
            let mut open = 0;
            for queue in queues {
                let stats = talk.broker.stats(queue).await.unwrap();
                open += stats.pending + stats.scheduled + stats.blocked + stats.running;
            }
            (open == 0).then_some(())
        }
    })
    .await;
    for queue in &queues {
        talk.assert_sound(queue).await;
        let stats = talk.broker.stats(queue).await.unwrap();
        assert!(stats.by_tenant.is_empty(), "seed {seed}: {:?}", stats.by_tenant);
    }
    for batch in batches {
        let view = talk.broker.batch(&queue(), batch).await.unwrap().unwrap();
        assert_eq!(view.open(), 0, "seed {seed}: {view:?}");
        assert!(view.over_at.is_some());
    }
}

#[tokio::test]
async fn random_edges_leave_a_sound_queue() {
    for seed in 1..=8 {
        soak(seed).await;
    }
}
