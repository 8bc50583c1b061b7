//! What is done to a machine at random: submissions with all terms, steps of hosts that forget
//! what they hold, policies, batches, and everything an operator may do.
//!
//! A seed says all of it, so that a failure is replayed.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_core::{
    AttemptReport, BatchId, BatchRef, Bounds, Conflict, Digest, Failure, FailureKind, Metering,
    OnFailedParent, Outcome, Payload, Priority, QueueName, QueuePolicy, Rate, State, Task, TaskId,
    TaskRef, TaskType, TenantName, TenantPolicy, TermKey, Terms, Unique,
};
use uuid::Uuid;

use super::super::Machine;
use crate::batch::{Batch, Over};
use crate::serves::Serves;
use crate::step::{ClaimToken, End, Settlement, Step};

/// Rows by their keys.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) const START_US: u64 = 1_700_000_000_000_000;
const TYPES: [&str; 3] = ["a", "b", "c"];
const TENANTS: [&str; 4] = ["t0", "t1", "t2", "t3"];

/// A small generator, so that a failure is replayed from its seed.
pub(super) struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    pub(super) fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize].clone()
    }
}

/// A machine with what has been done to it, and dice that say what is done next.
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) dice: Dice,
    now_us: u64,
    ids: u128,
    known: Vec<TaskRef>,
    batches: Vec<BatchRef>,
    claims: Vec<(QueueName, ClaimToken)>,
    /// What the journal told, row by row.
    pub(super) told: Rows,
}

pub(super) fn queue(at: u64) -> QueueName {
    QueueName::new(["q0", "q1"][at as usize % 2]).unwrap()
}

fn report() -> AttemptReport {
    AttemptReport {
        attempt: 1,
        started_at: 1,
        host: "h".into(),
        plugin: None,
        digest: Digest::default(),
        metering: Metering { fuel: 5, ..Metering::default() },
        logs: Vec::new(),
        outcome: Outcome::Failed(Failure::new(FailureKind::Retry, "no")),
        cached: false,
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut machine = Machine::new();
        machine.keep_journal();
        Self {
            machine,
            dice: Dice(seed | 1),
            now_us: START_US,
            ids: 0,
            known: vec![TaskRef { queue: queue(0), id: TaskId(Uuid::nil()) }],
            batches: Vec::new(),
            claims: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.now_us / 1_000
    }

    pub(super) fn task(&mut self) -> Task {
        self.ids += 1;
        let (now, dice) = (self.now_ms(), &mut self.dice);
        let mut terms = Terms::default();
        if dice.one_in(4) {
            terms.not_before = Some(now + dice.roll(500));
        }
        if dice.one_in(5) {
            terms.expires_at = Some(now + dice.roll(400));
        }
        if dice.one_in(3) {
            terms.key = Some(TermKey::new(format!("k{}", dice.roll(3))).unwrap());
        }
        if dice.one_in(3) {
            terms.unique = Some(Unique {
                key: TermKey::new(format!("u{}", dice.roll(5))).unwrap(),
                window_ms: dice.one_in(2).then(|| 1 + dice.roll(300)),
                conflict: dice.pick(&[Conflict::Reject, Conflict::Existing, Conflict::Replace]),
            });
        }
        if dice.one_in(4) && !self.known.is_empty() {
            for _ in 0..=dice.roll(3) {
                terms.after.push(dice.pick(&self.known));
            }
            terms.on_failed_parent =
                dice.pick(&[OnFailedParent::Fail, OnFailedParent::Cancel, OnFailedParent::Run]);
        }
        if dice.one_in(4) && !self.batches.is_empty() {
            terms.batch = Some(dice.pick(&self.batches));
        }
        if dice.one_in(4) {
            terms.retention_ms = Some(dice.roll(400));
        }
        let reused = dice.one_in(12).then(|| dice.pick(&self.known[..]).id);
        Task {
            id: reused.unwrap_or(TaskId(Uuid::from_u128(self.ids << 64))),
            task_type: TaskType::new(dice.pick(&TYPES)).unwrap(),
            queue: queue(dice.roll(2)),
            tenant: TenantName::new(dice.pick(&TENANTS)).unwrap(),
            priority: Priority::try_from(dice.roll(101) as u8).unwrap(),
            payload: Payload::new(Payload::TEXT, "x"),
            metadata: Vec::new(),
            trace: None,
            limits: Default::default(),
            submitted_at: now,
            terms,
        }
    }

    fn policy(&mut self) -> QueuePolicy {
        let dice = &mut self.dice;
        let mut bounds = || Bounds {
            concurrency: dice.one_in(2).then(|| dice.roll(4) as u32),
            rate: dice.one_in(2).then(|| Rate {
                interval_us: 1 + dice.roll(50_000),
                burst: 1 + dice.roll(4) as u32,
            }),
        };
        let (whole, of_type, of_key, of_tenant) = (bounds(), bounds(), bounds(), bounds());
        let other = TenantPolicy { pending: Some(200), weight: 30, ..TenantPolicy::default() };
        QueuePolicy {
            concurrency: whole.concurrency.map(|most| most + 5),
            rate: whole.rate,
            types: [(TaskType::new("a").unwrap(), of_type)].into(),
            keys: if dice.one_in(4) { BTreeMap::new() } else { [("k*".into(), of_key)].into() },
            tenants: [(
                TenantName::new("t0").unwrap(),
                TenantPolicy {
                    in_flight: of_tenant.concurrency,
                    rate: of_tenant.rate,
                    ..TenantPolicy::default()
                },
            )]
            .into(),
            other_tenants: dice.one_in(2).then_some(other),
            events: dice.one_in(2).then(|| dice.roll(20) as u32),
        }
    }

    fn end(&mut self) -> End {
        let (report, retention_ms) = (report(), self.dice.roll(3) * 200);
        match self.dice.roll(6) {
            0 | 1 => End::Complete { report, retention_ms, children: Vec::new() },
            2 => End::DeadLetter { report, retention_ms },
            3 => End::Cancel { report, retention_ms },
            4 => End::Retry { report, delay_ms: self.dice.roll(300), retention_ms },
            _ => End::Return {
                task_type: TaskType::new("a").unwrap(),
                tenant: TenantName::default(),
                priority: Priority::default(),
                retention_ms,
            },
        }
    }

    fn step(&mut self) {
        let queue = queue(self.dice.roll(2));
        let (mut settle, mut renew) = (Vec::new(), Vec::new());
        for (of, token) in std::mem::take(&mut self.claims) {
            if of == queue && self.dice.one_in(2) {
                let end = self.end();
                settle.push(Settlement { token, end, plugin: None });
            } else {
                if of == queue && self.dice.one_in(2) {
                    renew.push(token.clone());
                }
                // Some hosts forget what they hold.
                if !self.dice.one_in(8) {
                    self.claims.push((of, token));
                }
            }
        }
        let mut serves: Vec<Serves> = TYPES[..1 + self.dice.roll(3) as usize]
            .iter()
            .map(|t| TaskType::new(t).unwrap().into())
            .collect();
        for one in &mut serves {
            one.tenant = self.dice.one_in(4).then(|| TenantName::new(TENANTS[0]).unwrap());
        }
        let step = Step {
            host: "h",
            settle: &settle,
            renew: &renew,
            progress: &[],
            want: self.dice.roll(12) as u32,
            claim_bytes: u64::MAX,
            serves: &serves,
            lease: Duration::from_millis(300),
            reclaim: self.dice.one_in(2),
            dead_retention_ms: 2_000,
            apart: false,
        };
        let stepped = self.machine.step(&queue, &step, self.now_us).unwrap();
        for task in stepped.claims.iter().map(|claim| claim.task.as_ref().unwrap()) {
            assert!(serves.iter().any(|one| one.is_for(&task.task_type, &task.tenant)), "{task:?}");
        }
        let tokens = stepped.claims.into_iter().map(|claim| (queue.clone(), claim.token));
        self.claims.extend(tokens);
    }

    pub(super) fn act(&mut self) {
        self.now_us += self.dice.roll(40_000);
        let now = self.now_us;
        let some = |world: &mut Self| {
            let task = world.dice.pick(&world.known);
            (task.queue, task.id)
        };
        match self.dice.roll(24) {
            0..=6 => {
                let tasks: Vec<Task> = (0..=self.dice.roll(6)).map(|_| self.task()).collect();
                self.known.extend(tasks.iter().map(Task::task_ref));
                self.machine.submit(&tasks, now).unwrap();
            }
            7..=13 => self.step(),
            14 => {
                let (queue, id) = some(self);
                self.machine.cancel(&queue, &[id], 500, now);
            }
            15 => {
                let (queue, id) = some(self);
                self.machine.rerun(&queue, &[id], now);
            }
            16 => {
                let (queue, id) = some(self);
                let payload = Payload::new(Payload::TEXT, "edited");
                self.machine.rerun_edited(&queue, id, payload, now).unwrap();
            }
            17 if self.dice.one_in(5) => {
                let states = [State::Blocked, State::Scheduled, State::Pending, State::Failed];
                let state = self.dice.pick(&states);
                self.machine.purge(&queue(self.dice.roll(2)), state, 50, now).unwrap();
            }
            18 if self.dice.one_in(3) => {
                let policy = self.policy();
                self.machine.set_policy(&queue(self.dice.roll(2)), &policy, now);
            }
            19 => {
                let (queue, id) = some(self);
                self.machine.drop_dead(&queue, &[id], now);
            }
            20 => {
                self.ids += 1;
                let id = BatchId(Uuid::from_u128(self.ids << 64));
                let batch = Batch {
                    queue: queue(self.dice.roll(2)),
                    id,
                    name: "b".into(),
                    members: (0..3).map(|_| self.dice.pick(&self.known)).collect(),
                    callback: self.dice.one_in(2).then(|| self.task()),
                    over: self.dice.pick(&[Over::Ended, Over::FirstFailure]),
                    retention_ms: self.dice.roll(2_000),
                };
                self.machine.open_batch(&batch, now);
                if self.dice.one_in(4) {
                    self.machine.leave_batch(&batch.queue, id, &batch.members[..1], now);
                }
                self.batches.push(BatchRef { queue: batch.queue, id });
            }
            21 => {
                let key = format!("m{}", self.dice.roll(3));
                let (queue, ttl_ms) = (queue(self.dice.roll(2)), self.dice.roll(100));
                self.machine.remember(&queue, &key, &Payload::default(), ttl_ms, now);
            }
            22 => {
                let queue = queue(self.dice.roll(2));
                let task_type = TaskType::new("b").unwrap();
                let task_type = self.dice.one_in(2).then_some(&task_type);
                match self.dice.one_in(4) {
                    true => self.machine.pause(&queue, task_type),
                    false => self.machine.resume(&queue, task_type),
                };
            }
            _ => {
                self.machine.deliver(&queue(self.dice.roll(2)), now);
            }
        }
    }

    /// Take what the journal tells.
    pub(super) fn listen(&mut self) {
        self.machine.take_notes();
        for row in self.machine.take_rows() {
            match row.value {
                Some(value) => self.told.insert(row.key, value.to_vec()),
                None => self.told.remove(&row.key),
            };
        }
    }
}
