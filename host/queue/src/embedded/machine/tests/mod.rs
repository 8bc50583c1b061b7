//! The machine against itself: after any operations its indexes agree with its tasks, what
//! its journal told agrees with its rows, and its rows make the same machine again.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_core::{
    AttemptReport, BatchId, BatchRef, Bounds, Conflict, Digest, Failure, FailureKind, Metering,
    OnFailedParent, Outcome, Payload, Priority, QueueName, QueuePolicy, Rate, State, Task, TaskId,
    TaskRef, TaskType, TenantName, TenantPolicy, TermKey, Terms, Unique,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Machine, Restoring};
use crate::batch::{Batch, Over};
use crate::finding::FindingKind;
use crate::serves::Serves;
use crate::step::{ClaimToken, End, Settlement, Step};
use crate::view::ListFilter;

const START_US: u64 = 1_700_000_000_000_000;
const TYPES: [&str; 3] = ["a", "b", "c"];
const TENANTS: [&str; 4] = ["t0", "t1", "t2", "t3"];

/// A small generator, so that a failure is replayed from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize].clone()
    }
}

struct World {
    machine: Machine,
    dice: Dice,
    now_us: u64,
    ids: u128,
    known: Vec<TaskRef>,
    batches: Vec<BatchRef>,
    claims: Vec<(QueueName, ClaimToken)>,
    /// What the journal told, row by row.
    told: Rows,
}

fn queue(at: u64) -> QueueName {
    QueueName::new(["q0", "q1"][at as usize % 2]).unwrap()
}

fn report() -> AttemptReport {
    AttemptReport {
        attempt: 1,
        started_at: 1,
        host: "h".into(),
        plugin: Digest::default(),
        metering: Metering { fuel: 5, ..Metering::default() },
        logs: Vec::new(),
        outcome: Outcome::Failed(Failure::new(FailureKind::Retry, "no")),
        cached: false,
    }
}

fn rows(machine: &Machine) -> Rows {
    machine.rows().into_iter().filter_map(|row| Some((row.key, row.value?.to_vec()))).collect()
}

impl World {
    fn new(seed: u64) -> Self {
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

    fn task(&mut self) -> Task {
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
        };
        let stepped = self.machine.step(&queue, &step, self.now_us).unwrap();
        for task in stepped.claims.iter().map(|claim| claim.task.as_ref().unwrap()) {
            assert!(serves.iter().any(|one| one.is_for(&task.task_type, &task.tenant)), "{task:?}");
        }
        let tokens = stepped.claims.into_iter().map(|claim| (queue.clone(), claim.token));
        self.claims.extend(tokens);
    }

    fn act(&mut self) {
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
    fn listen(&mut self) {
        self.machine.take_notes();
        for row in self.machine.take_rows() {
            match row.value {
                Some(value) => self.told.insert(row.key, value.to_vec()),
                None => self.told.remove(&row.key),
            };
        }
    }
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The keys of the rows that are not the same in both.
fn differing(left: &Rows, right: &Rows) -> Vec<Vec<u8>> {
    let keys: std::collections::BTreeSet<&Vec<u8>> = left.keys().chain(right.keys()).collect();
    keys.into_iter().filter(|key| left.get(*key) != right.get(*key)).cloned().collect()
}

fn restored(rows: &Rows) -> Machine {
    let mut restoring = Restoring::default();
    for (key, value) in rows {
        restoring.row(key, value).unwrap();
    }
    restoring.finish().unwrap()
}

fn examined(machine: &mut Machine) {
    for at in 0..2 {
        assert_eq!(machine.examine(&queue(at), false), []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn indexes_journal_and_rows_agree_after_any_operations(seed: u64) {
        let mut world = World::new(seed);
        for at in 0..1_000 {
            world.act();
            world.listen();
            if at % 50 == 0 {
                examined(&mut world.machine);
            }
        }
        examined(&mut world.machine);
        let all = rows(&world.machine);
        let untold = differing(&all, &world.told);
        prop_assert!(untold.is_empty(), "{untold:?}");
        let mut again = restored(&all);
        examined(&mut again);
        let again = rows(&again);
        let changed = differing(&again, &all);
        prop_assert!(changed.is_empty(), "{changed:?}");
    }

    #[test]
    fn damaged_rows_never_panic(seed: u64, cut in 0usize..60, byte: u8) {
        let mut world = World::new(seed);
        (0..60).for_each(|_| world.act());
        let mut restoring = Restoring::default();
        for (key, mut value) in rows(&world.machine) {
            if world.dice.one_in(20) {
                value.truncate(cut);
                value.extend([byte; 3]);
            }
            if restoring.row(&key, &value).is_err() {
                return Ok(());
            }
        }
        let _ = restoring.finish();
    }
}

#[test]
fn an_examination_finds_and_repairs_damage() {
    let mut world = World::new(7);
    let mut tasks: Vec<Task> = (0..4).map(|_| world.task()).collect();
    for task in &mut tasks {
        task.terms = Terms::default();
        task.queue = queue(0);
    }
    world.machine.submit(&tasks, START_US).unwrap();
    examined(&mut world.machine);
    let index = &mut world.machine.queues[0].index;
    let kind = index.kinds.values_mut().next().unwrap();
    let (tenant, line) = kind.lines.iter_mut().next().unwrap();
    let tenant = tenant.clone();
    let lost = line.tasks.pop_first().unwrap();
    line.tasks.insert((0, TaskId(Uuid::nil())));
    kind.leave_ring(&tenant);
    kind.pending += 5;
    index.scheduled.insert((1, tasks[0].id));
    index.uniques.insert(TermKey::new("leaked").unwrap(), tasks[1].id);
    let found = world.machine.examine(&queue(0), false);
    let kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
    for kind in [
        FindingKind::Stranded,
        FindingKind::Dangling,
        FindingKind::Duplicated,
        FindingKind::Unringed,
        FindingKind::Miscounted,
        FindingKind::Leaked,
    ] {
        assert!(kinds.contains(&kind), "{kind:?} is not among {found:?}");
    }
    assert!(found.iter().any(|finding| finding.task == Some(lost.1)));
    let repaired = world.machine.examine(&queue(0), true);
    assert!(repaired.iter().all(|finding| finding.repaired));
    examined(&mut world.machine);
    let filter = ListFilter::of(State::Pending);
    assert_eq!(world.machine.list(&queue(0), &filter, START_US).len(), 4);
}
