//! What every broker must do, run against a real Redis.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use bulkhead_core::{
    AttemptReport, Digest, Failure, FailureKind, Metering, Outcome, Payload, Priority, QueueName,
    QueuePolicy, State, Task, TaskId, TaskType, TenantName, Terms, UnixMs,
};
use bulkhead_queue::{
    Broker, CancelAnswer, Claim, ClaimToken, Client, End, ListFilter, NewTask, RedisBroker,
    RerunAnswer, Settlement, Step, Stepped, SubmitLimits,
};
use bulkhead_stage::{RedisServer, eventually};

const DAY_MS: u64 = 86_400_000;

fn queue() -> QueueName {
    QueueName::default()
}

fn of_type(name: &str) -> TaskType {
    TaskType::new(name).unwrap()
}

fn starting(at: UnixMs) -> Terms {
    Terms { not_before: Some(at), ..Terms::default() }
}

fn new_task(task_type: &str) -> NewTask {
    NewTask::new(of_type(task_type), Payload::new(Payload::TEXT, "hello"))
}

fn report(attempt: u32, outcome: Outcome) -> AttemptReport {
    AttemptReport {
        attempt,
        started_at: 1,
        host: "h1".into(),
        plugin: Digest::default(),
        metering: Metering::default(),
        logs: Vec::new(),
        outcome,
        cached: false,
    }
}

fn done(claim: &Claim) -> Settlement {
    let output = Outcome::Done(Payload::new(Payload::TEXT, "out"));
    let end = End::Complete { report: report(claim.attempt, output), retention_ms: DAY_MS };
    Settlement { token: claim.token.clone(), end }
}

fn failed(claim: &Claim, end: impl FnOnce(AttemptReport) -> End) -> Settlement {
    let outcome = Outcome::Failed(Failure::new(FailureKind::Retry, "not now"));
    Settlement { token: claim.token.clone(), end: end(report(claim.attempt, outcome)) }
}

/// One host's conversation with one queue.
struct Talk {
    broker: RedisBroker,
    client: Client,
    lease: Duration,
    _server: RedisServer,
}

impl Talk {
    async fn new() -> Self {
        let server = RedisServer::start();
        let broker = server.broker().await;
        let client = Client::new(
            std::sync::Arc::new(server.broker().await),
            SubmitLimits { payload_bytes: 1_000, ..SubmitLimits::default() },
        );
        Self { broker, client, lease: Duration::from_secs(10), _server: server }
    }

    async fn submit(&self, task: NewTask) -> TaskId {
        let submitted = self.client.submit(task).await.unwrap();
        assert!(submitted.answer.is_new());
        submitted.id
    }

    async fn step(
        &self,
        settle: Vec<Settlement>,
        renew: &[ClaimToken],
        want: u32,
        types: &[&str],
    ) -> Stepped {
        let types: Vec<TaskType> = types.iter().map(|name| of_type(name)).collect();
        let step = Step {
            host: "h1",
            settle: &settle,
            renew,
            progress: &[],
            want,
            types: &types,
            lease: self.lease,
            reclaim: true,
            dead_retention_ms: DAY_MS,
        };
        self.broker.step(&queue(), step).await.unwrap()
    }

    async fn claim(&self, want: u32) -> Vec<Claim> {
        self.step(vec![], &[], want, &["a", "b"]).await.claims
    }

    async fn claim_one(&self) -> Claim {
        let mut claims = self.claim(1).await;
        assert_eq!(claims.len(), 1);
        claims.remove(0)
    }

    async fn settle(&self, settlement: Settlement) -> Stepped {
        self.step(vec![settlement], &[], 0, &[]).await
    }

    async fn view(&self, id: TaskId) -> bulkhead_queue::TaskView {
        self.broker.inspect(&queue(), &[id]).await.unwrap().remove(0).expect("a known task")
    }

    async fn state(&self, id: TaskId) -> State {
        self.view(id).await.state
    }

    async fn list(&self, state: State) -> Vec<TaskId> {
        let filter = ListFilter::of(state);
        let listed = self.broker.list(&queue(), &filter).await.unwrap();
        listed.into_iter().map(|view| view.id).collect()
    }
}

#[tokio::test]
async fn a_task_is_submitted_claimed_and_completed() {
    let talk = Talk::new().await;
    let mut task = new_task("a");
    task.metadata = vec![("k".into(), "v".into())];
    task.tenant = TenantName::new("acme").unwrap();
    let id = talk.submit(task).await;
    assert_eq!(talk.state(id).await, State::Pending);
    assert_eq!(talk.list(State::Pending).await, [id]);

    let claim = talk.claim_one().await;
    assert_eq!((claim.id, claim.attempt, claim.cancelled), (id, 1, false));
    let claimed = claim.task.as_ref().unwrap();
    assert_eq!(claimed.payload.data, b"hello");
    assert_eq!(claimed.metadata, [("k".to_owned(), "v".to_owned())]);
    assert_eq!(claimed.tenant.as_str(), "acme");
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts()), (State::Running, 1));
    assert_eq!(view.holder.unwrap().host, "h1");
    assert_eq!(talk.list(State::Running).await, [id]);
    assert!(talk.claim(10).await.is_empty());

    let settlement = done(&claim);
    assert!(talk.settle(settlement).await.stale.is_empty());
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts()), (State::Completed, 1));
    assert!(view.kept_until.is_some());
    assert!(matches!(&view.last_report().unwrap().outcome, Outcome::Done(o) if o.data == b"out"));
    assert_eq!(talk.list(State::Completed).await, [id]);
    let stats = talk.broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.pending, stats.running, stats.totals["completed"]), (0, 0, 1));
    assert_eq!(talk.broker.queues().await.unwrap(), [queue()]);
}

#[tokio::test]
async fn a_known_id_is_not_submitted_again() {
    let talk = Talk::new().await;
    let mut task = new_task("a");
    task.id = Some(TaskId(uuid::Uuid::now_v7()));
    assert!(talk.client.submit(task.clone()).await.unwrap().answer.is_new());
    assert!(!talk.client.submit(task).await.unwrap().answer.is_new());
    assert_eq!(talk.claim(10).await.len(), 1);
}

#[tokio::test]
async fn a_payload_over_the_bound_is_refused_and_nothing_of_its_batch_is_sent() {
    let talk = Talk::new().await;
    let mut large = new_task("a");
    large.payload.data = vec![0; 1_001];
    let error = talk.client.submit_many(vec![new_task("a"), large]).await.unwrap_err().to_string();
    assert!(error.contains("task 2") && error.contains("1001 bytes"), "{error}");
    assert!(talk.claim(10).await.is_empty());
}

#[tokio::test]
async fn priority_orders_and_equals_keep_their_order() {
    let talk = Talk::new().await;
    let mut expected = Vec::new();
    for (priority, types) in [
        (Priority::CRITICAL, "a"),
        (Priority::HIGH, "b"),
        (Priority::NORMAL, "a"),
        (Priority::LOW, "b"),
    ] {
        for _ in 0..3 {
            expected.push((priority, types, TaskId(uuid::Uuid::now_v7())));
        }
    }
    let tasks = expected.iter().rev().map(|(priority, task_type, id)| NewTask {
        priority: *priority,
        id: Some(*id),
        ..new_task(task_type)
    });
    // Within one level the order of submission counts, which is reversed here.
    talk.client.submit_many(tasks.collect()).await.unwrap();
    let claimed: Vec<TaskId> = talk.claim(100).await.iter().map(|claim| claim.id).collect();
    let expected: Vec<TaskId> =
        expected.chunks(3).flat_map(|level| level.iter().rev().map(|(_, _, id)| *id)).collect();
    assert_eq!(claimed, expected);
}

#[tokio::test]
async fn only_asked_for_types_are_claimed() {
    let talk = Talk::new().await;
    let a = talk.submit(new_task("a")).await;
    let b = talk.submit(new_task("b")).await;
    let claims = talk.step(vec![], &[], 10, &["b"]).await.claims;
    assert_eq!(claims.iter().map(|c| c.id).collect::<Vec<_>>(), [b]);
    assert_eq!(talk.state(a).await, State::Pending);
}

#[tokio::test]
async fn tenants_take_turns() {
    let talk = Talk::new().await;
    let of = |tenant: &str| NewTask { tenant: TenantName::new(tenant).unwrap(), ..new_task("a") };
    talk.client.submit_many((0..300).map(|_| of("flood")).collect()).await.unwrap();
    let small = talk.submit(of("small")).await;
    // The newcomer starts at the ring's present time: one turn of the flood at most.
    let first: Vec<TaskId> = talk.claim(32).await.iter().map(|c| c.id).collect();
    assert!(first.contains(&small), "the small tenant waits for the flood");
}

#[tokio::test]
async fn a_stale_claim_changes_nothing() {
    let mut talk = Talk::new().await;
    talk.lease = Duration::from_millis(1);
    let id = talk.submit(new_task("a")).await;
    let first = talk.claim_one().await;
    talk.lease = Duration::from_secs(10);
    let second = eventually("the lease runs out", || async { talk.claim(1).await.pop() }).await;
    assert_eq!((second.id, second.attempt), (id, 2));
    assert_eq!(talk.step(vec![], std::slice::from_ref(&first.token), 0, &[]).await.lost, [0]);
    assert_eq!(
        talk.step(vec![done(&first)], std::slice::from_ref(&second.token), 0, &[]).await.stale,
        [0]
    );
    assert_eq!(talk.state(id).await, State::Running);
    let late = failed(&first, |report| End::Retry { report, delay_ms: 0, retention_ms: 1 });
    assert_eq!(talk.settle(late).await.stale, [0]);
    assert!(talk.settle(done(&second)).await.stale.is_empty());
    assert_eq!(talk.settle(done(&second)).await.stale, [0], "a claim settles once");
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts()), (State::Completed, 2));
}

#[tokio::test]
async fn a_renewed_lease_is_not_taken_back() {
    let mut talk = Talk::new().await;
    talk.lease = Duration::from_millis(150);
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let started = std::time::Instant::now();
    while started.elapsed() < talk.lease * 4 {
        let stepped = talk.step(vec![], std::slice::from_ref(&claim.token), 1, &["a"]).await;
        assert!(stepped.lost.is_empty() && stepped.claims.is_empty());
        tokio::time::sleep(talk.lease / 10).await;
    }
    assert_eq!(talk.state(id).await, State::Running);
    assert!(talk.settle(done(&claim)).await.stale.is_empty());
}

#[tokio::test]
async fn retries_wait_and_count() {
    let talk = Talk::new().await;
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let retry = failed(&claim, |report| End::Retry { report, delay_ms: 100, retention_ms: DAY_MS });
    let stepped = talk.settle(retry).await;
    assert!(stepped.next_due.unwrap() <= Duration::from_millis(100));
    assert_eq!(talk.state(id).await, State::Scheduled);
    assert!(talk.claim(1).await.is_empty(), "not before its time");
    let again = eventually("the retry comes due", || async { talk.claim(1).await.pop() }).await;
    assert_eq!((again.id, again.attempt), (id, 2));
}

#[tokio::test]
async fn delayed_tasks_come_due() {
    let talk = Talk::new().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let later = u64::try_from(now.as_millis()).unwrap() + 150;
    let id = talk.submit(NewTask { terms: starting(later), ..new_task("a") }).await;
    assert_eq!(talk.state(id).await, State::Scheduled);
    assert_eq!(talk.view(id).await.due_at, Some(later));
    assert!(talk.claim(1).await.is_empty());
    let claim = eventually("it comes due", || async { talk.claim(1).await.pop() }).await;
    assert_eq!((claim.id, claim.attempt), (id, 1));
}

#[tokio::test]
async fn a_returned_task_keeps_its_attempt_and_goes_first() {
    let talk = Talk::new().await;
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.submit(new_task("a")).await;
    let task = claim.task.as_ref().unwrap();
    let end = End::Return {
        task_type: task.task_type.clone(),
        tenant: task.tenant.clone(),
        priority: task.priority,
        retention_ms: DAY_MS,
    };
    talk.settle(Settlement { token: claim.token.clone(), end }).await;
    let again = talk.claim_one().await;
    assert_eq!((again.id, again.attempt), (id, 1));
}

#[tokio::test]
async fn dead_letters_are_kept_replayed_and_dropped() {
    let talk = Talk::new().await;
    let id = talk.submit(new_task("a")).await;
    let other = talk.submit(new_task("a")).await;
    for claim in talk.claim(2).await {
        let dead = failed(&claim, |report| End::DeadLetter { report, retention_ms: DAY_MS });
        talk.settle(dead).await;
    }
    assert_eq!(talk.state(id).await, State::Failed);
    assert_eq!(talk.list(State::Failed).await.len(), 2);
    assert_eq!(talk.broker.stats(&queue()).await.unwrap().failed, 2);

    let unknown = TaskId(uuid::Uuid::now_v7());
    let answers = talk.broker.rerun(&queue(), &[id, unknown]).await.unwrap();
    assert_eq!(answers, [RerunAnswer::InLine, RerunAnswer::Unknown]);
    assert_eq!(talk.broker.rerun(&queue(), &[id]).await.unwrap(), [RerunAnswer::Active]);
    let claim = talk.claim_one().await;
    assert_eq!((claim.id, claim.attempt), (id, 1), "fresh attempts");
    talk.settle(done(&claim)).await;
    assert_eq!(talk.view(id).await.history.len(), 3, "the old attempt stays on record");

    assert_eq!(talk.broker.drop_dead(&queue(), &[other, id]).await.unwrap(), 1);
    assert_eq!(talk.broker.inspect(&queue(), &[other]).await.unwrap(), [None]);
    assert_eq!(talk.state(id).await, State::Completed);
}

#[tokio::test]
async fn waiting_tasks_are_cancelled_and_running_ones_asked() {
    let talk = Talk::new().await;
    let running = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let pending = talk.submit(new_task("a")).await;
    let unknown = TaskId(uuid::Uuid::now_v7());
    let ids = [running, pending, unknown];
    let answers = talk.broker.cancel(&queue(), &ids, DAY_MS).await.unwrap();
    assert_eq!(answers, [CancelAnswer::Requested, CancelAnswer::Cancelled, CancelAnswer::Unknown]);
    assert_eq!(talk.state(pending).await, State::Cancelled);
    assert!(talk.claim(10).await.is_empty(), "a cancelled task is not claimed");
    let stepped = talk.step(vec![], std::slice::from_ref(&claim.token), 0, &[]).await;
    assert_eq!(stepped.cancel, [running]);
    assert!(talk.view(running).await.cancel_requested);
    // A retry decided before the request was heard does not bring it back.
    let retry = failed(&claim, |report| End::Retry { report, delay_ms: 0, retention_ms: DAY_MS });
    talk.settle(retry).await;
    assert_eq!(talk.state(running).await, State::Cancelled);
    let answers = talk.broker.cancel(&queue(), &[running], DAY_MS).await.unwrap();
    assert_eq!(answers, [CancelAnswer::AlreadyEnded]);
    assert_eq!(talk.list(State::Cancelled).await.len(), 2);
}

#[tokio::test]
async fn a_cancelled_task_whose_host_died_is_claimed_as_cancelled() {
    let mut talk = Talk::new().await;
    talk.lease = Duration::from_millis(1);
    let id = talk.submit(new_task("a")).await;
    talk.claim_one().await;
    talk.broker.cancel(&queue(), &[id], DAY_MS).await.unwrap();
    let claim = eventually("the lease runs out", || async { talk.claim(1).await.pop() }).await;
    assert!(claim.cancelled);
}

#[tokio::test]
async fn a_paused_queue_hands_out_nothing() {
    let talk = Talk::new().await;
    assert!(talk.broker.pause(&queue(), None).await.unwrap());
    assert!(!talk.broker.pause(&queue(), None).await.unwrap());
    talk.submit(new_task("a")).await;
    assert!(talk.claim(1).await.is_empty());
    assert!(talk.broker.stats(&queue()).await.unwrap().paused);
    assert!(talk.broker.resume(&queue(), None).await.unwrap());
    assert!(!talk.broker.resume(&queue(), None).await.unwrap());
    assert_eq!(talk.claim(1).await.len(), 1);
}

#[tokio::test]
async fn concurrency_of_a_queue_is_bounded() {
    let talk = Talk::new().await;
    talk.broker
        .set_policy(&queue(), &QueuePolicy { concurrency: Some(2), ..QueuePolicy::default() })
        .await
        .unwrap();
    talk.client.submit_many((0..5).map(|_| new_task("a")).collect()).await.unwrap();
    let claims = talk.claim(10).await;
    assert_eq!(claims.len(), 2);
    assert!(talk.claim(10).await.is_empty());
    let stepped = talk.step(vec![done(&claims[0])], &[], 10, &["a"]).await;
    assert_eq!(stepped.claims.len(), 1);
    talk.broker.set_policy(&queue(), &QueuePolicy::default()).await.unwrap();
    assert_eq!(talk.claim(10).await.len(), 2);
}

#[tokio::test]
async fn purging_removes_one_state_only() {
    let talk = Talk::new().await;
    let dead = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let end = failed(&claim, |report| End::DeadLetter { report, retention_ms: DAY_MS });
    talk.settle(end).await;
    talk.client.submit_many((0..1_203).map(|_| new_task("a")).collect()).await.unwrap();
    talk.client.submit_many((0..7).map(|_| new_task("b")).collect()).await.unwrap();
    assert_eq!(talk.broker.purge(&queue(), State::Pending).await.unwrap(), 1_210);
    assert!(talk.claim(10).await.is_empty());
    assert_eq!(talk.state(dead).await, State::Failed);
    assert_eq!(talk.broker.purge(&queue(), State::Failed).await.unwrap(), 1);
    assert!(talk.broker.purge(&queue(), State::Running).await.is_err());
}

#[tokio::test]
async fn a_result_with_no_retention_is_forgotten_at_once() {
    let talk = Talk::new().await;
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let mut settlement = done(&claim);
    if let End::Complete { retention_ms, .. } = &mut settlement.end {
        *retention_ms = 0;
    }
    talk.settle(settlement).await;
    assert_eq!(talk.broker.inspect(&queue(), &[id]).await.unwrap(), [None]);
}

#[tokio::test]
async fn a_blocking_wait_ends_with_work() {
    let talk = Talk::new().await;
    let lines = [(queue(), vec![of_type("a")])];
    assert!(!talk.broker.await_work(&lines, Duration::from_millis(20)).await.unwrap());
    let (heard, _) = tokio::join!(
        talk.broker.await_work(&lines, Duration::from_secs(20)),
        talk.submit(new_task("a"))
    );
    assert!(heard.unwrap());
    // Work of another type wakes nobody here.
    talk.submit(new_task("b")).await;
    assert!(!talk.broker.await_work(&lines, Duration::from_millis(20)).await.unwrap());
}

#[tokio::test]
async fn a_full_claim_passes_the_wake_up_on() {
    let talk = Talk::new().await;
    talk.client.submit_many((0..3).map(|_| new_task("a")).collect()).await.unwrap();
    let lines = [(queue(), vec![of_type("a")])];
    let wait = Duration::from_millis(20);
    assert!(talk.broker.await_work(&lines, wait).await.unwrap());
    assert_eq!(talk.claim(2).await.len(), 2);
    assert!(talk.broker.await_work(&lines, wait).await.unwrap(), "one is left");
    assert_eq!(talk.claim(2).await.len(), 1);
    assert!(!talk.broker.await_work(&lines, wait).await.unwrap());
}

#[tokio::test]
async fn waiters_hear_of_ends() {
    let talk = Talk::new().await;
    let id = talk.submit(new_task("a")).await;
    let unknown = TaskId(uuid::Uuid::now_v7());
    let queue = queue();
    let wait = talk.client.wait(&queue, id, Duration::from_secs(20));
    let (waited, ()) = tokio::join!(wait, async {
        let claim = talk.claim_one().await;
        talk.settle(done(&claim)).await;
    });
    assert_eq!(waited.unwrap().unwrap().state, State::Completed);
    let late = talk.client.wait(&queue, id, Duration::from_secs(20)).await.unwrap();
    assert_eq!(late.unwrap().state, State::Completed, "waiting for what has ended");
    let never = talk.client.wait(&queue, unknown, Duration::from_secs(20)).await.unwrap();
    assert!(never.is_none(), "waiting for what is not there ends at once");
}

#[tokio::test]
async fn hostile_records_are_claimed_as_unreadable_and_buried_with_their_bytes() {
    let talk = Talk::new().await;
    let mut redis = talk._server.connection();
    let hostile: [&[u8]; 5] =
        [b"", b"\xc1", &[0x91; 5_000], b"\xdd\xff\xff\xff\xff", b"plain text"];
    for bytes in hostile {
        let id = talk.submit(new_task("a")).await;
        let key = format!("{{bulkhead:default}}:task:{id}");
        redis::cmd("SET").arg(&key).arg(bytes).exec(&mut redis).unwrap();
        let claim = talk.claim_one().await;
        let unreadable = claim.task.as_ref().unwrap_err().clone();
        let known = Task {
            id,
            task_type: of_type("unreadable"),
            queue: queue(),
            tenant: TenantName::default(),
            priority: Priority::default(),
            payload: Payload::new(Payload::BINARY, unreadable.bytes.clone()),
            metadata: Vec::new(),
            trace: None,
            limits: Default::default(),
            submitted_at: 0,
            terms: Terms::default(),
        };
        let failure = Failure::new(FailureKind::Unreadable, unreadable.to_string());
        let report = report(1, Outcome::Failed(failure));
        let end = End::Unreadable { task: Box::new(known), report, retention_ms: DAY_MS };
        talk.settle(Settlement { token: claim.token, end }).await;
        let view = talk.view(id).await;
        assert_eq!(view.state, State::Failed);
        assert_eq!(view.task.unwrap().payload.data, bytes);
    }
    assert_eq!(talk.broker.stats(&queue()).await.unwrap().failed, 5);
}

#[tokio::test]
async fn a_hostile_record_whose_lease_or_delay_ends_becomes_a_dead_letter() {
    let mut talk = Talk::new().await;
    talk.lease = Duration::from_millis(1);
    let mut redis = talk._server.connection();
    let leased = talk.submit(new_task("a")).await;
    talk.claim_one().await;
    let delayed = talk.submit(NewTask { terms: starting(u64::MAX >> 12), ..new_task("a") }).await;
    let scheduled = "{bulkhead:default}:scheduled";
    redis::cmd("ZADD").arg(scheduled).arg(1).arg(delayed.to_string()).exec(&mut redis).unwrap();
    for id in [leased, delayed] {
        let key = format!("{{bulkhead:default}}:task:{id}");
        redis::cmd("SET").arg(&key).arg(b"\x93\x01").exec(&mut redis).unwrap();
    }
    eventually("both are dead letters", || async {
        assert!(talk.claim(1).await.is_empty());
        (talk.broker.stats(&queue()).await.unwrap().failed == 2).then_some(())
    })
    .await;
    for id in [leased, delayed] {
        let view = talk.view(id).await;
        assert!(view.state == State::Failed && view.task.is_err());
    }
}

#[tokio::test]
async fn scripts_survive_being_flushed() {
    let talk = Talk::new().await;
    talk.submit(new_task("a")).await;
    let mut redis = talk._server.connection();
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut redis).unwrap();
    let claim = talk.claim_one().await;
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut redis).unwrap();
    assert!(talk.settle(done(&claim)).await.stale.is_empty());
}

#[tokio::test]
async fn the_check_warns_of_a_server_that_forgets() {
    let talk = Talk::new().await;
    let mut redis = talk._server.connection();
    let set = |redis: &mut redis::Connection, key: &str, value: &str| {
        redis::cmd("CONFIG").arg("SET").arg(key).arg(value).exec(redis).unwrap();
    };
    set(&mut redis, "appendonly", "yes");
    assert_eq!(talk.broker.check().await.unwrap(), Vec::<String>::new());
    set(&mut redis, "maxmemory", "100mb");
    set(&mut redis, "maxmemory-policy", "allkeys-lru");
    set(&mut redis, "appendonly", "no");
    let warnings = talk.broker.check().await.unwrap().join("\n");
    assert!(warnings.contains("noeviction") && warnings.contains("appendonly"), "{warnings}");
}
