//! The figures of one queue: what its line loop counts as it settles.
//!
//! The loop settles in batches and keeps the series of each type, tenant's class and priority
//! that it has met, so an end costs one look-up and a few additions on a thread of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bulkhead_core::{AttemptReport, FailureKind, Outcome, Priority, QueueName, Task, UnixMs};
use bulkhead_queue::{Claim, End, Settlement};
use parking_lot::Mutex;

use super::Metrics;
use super::classes::{PRIORITIES, priority_class};
use super::family::{Counter, Gauge, Histogram};

/// Types and tenants whose series are kept at hand; beyond it all are looked up anew.
const MAX_KEPT: usize = 4_096;

/// What of a claim has to be known when it is settled.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    priority: Priority,
    /// When the task could begin; none if it waited for others, or cannot be read.
    since: Option<UnixMs>,
    is_first: bool,
}

impl Tally {
    pub(crate) fn of(claim: &Claim) -> Self {
        match &claim.task {
            Ok(task) => Self {
                priority: task.priority,
                since: ready_at(task),
                is_first: claim.attempt == 1,
            },
            Err(_) => Self::default(),
        }
    }
}

/// When a task could begin, if that did not depend on others.
pub(crate) fn ready_at(task: &Task) -> Option<UnixMs> {
    let start = task.terms.not_before.unwrap_or(0).max(task.submitted_at);
    task.terms.after.is_empty().then_some(start)
}

/// The series of one type.
struct OfType {
    run: Arc<Histogram>,
    peak_memory: Arc<Histogram>,
    fuel: Arc<Counter>,
    guest_cpu: Arc<Counter>,
    /// One for each outcome, made when it is met.
    attempts: [Option<Arc<Counter>>; OUTCOMES],
}

/// `done`, the kinds of failure, `returned`.
const OUTCOMES: usize = FailureKind::ALL.len() + 2;
const DONE: usize = 0;
const RETURNED: usize = OUTCOMES - 1;

/// How tasks end.
const ENDS: [&str; 3] = ["completed", "failed", "cancelled"];

/// The series of one type and tenant's class: one for each priority and end.
type Ended = [[Option<Arc<Counter>>; ENDS.len()]; PRIORITIES.len()];

#[derive(Default)]
struct Kept {
    types: HashMap<Box<str>, OfType>,
    /// By `tenant:type`.
    ended: HashMap<Box<str>, Ended>,
}

/// What happens in one queue of this host.
pub(crate) struct QueueFigures {
    pub(crate) name: QueueName,
    metrics: Metrics,
    pub(crate) latency: Arc<Histogram>,
    pickup: [Arc<Histogram>; PRIORITIES.len()],
    instantiate: Arc<Histogram>,
    pub(crate) stale: Arc<Counter>,
    pub(crate) reclaimed: Arc<Counter>,
    pub(crate) in_flight: Arc<Gauge>,
    pub(crate) settlements_buffered: Arc<Gauge>,
    pub(crate) broker_away: Arc<Gauge>,
    pub(crate) lease_margin: Arc<Histogram>,
    /// Attempts that came to what their handlers meant, and those that failed.
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// What the broker told last: pending tasks, and how long the oldest has waited.
    sampled: Mutex<Option<(u64, u64)>>,
    kept: Mutex<Kept>,
}

impl QueueFigures {
    pub(super) fn new(metrics: Metrics, name: QueueName) -> Self {
        let families = metrics.families();
        let queue = name.as_str();
        Self {
            latency: families.latency.of(&[queue]),
            pickup: PRIORITIES.map(|priority| families.pickup.of(&[queue, priority])),
            instantiate: families.instantiate.of(&[queue]),
            stale: families.stale.of(&[queue]),
            reclaimed: families.reclaimed.of(&[queue]),
            in_flight: families.in_flight.of(&[queue]),
            settlements_buffered: families.settlements_buffered.of(&[queue]),
            broker_away: families.broker_away.of(&[queue]),
            lease_margin: families.lease_margin.of(&[queue]),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            sampled: Mutex::default(),
            kept: Mutex::default(),
            metrics: metrics.clone(),
            name,
        }
    }

    /// The broker told of pending tasks and of the age of the oldest in milliseconds, or of
    /// nothing.
    pub(crate) fn sampled(&self, told: Option<(u64, u64)>) {
        *self.sampled.lock() = told;
    }

    /// What the broker told last.
    pub(crate) fn last_sample(&self) -> Option<(u64, u64)> {
        *self.sampled.lock()
    }

    /// How long tasks waited, over all priorities.
    pub(crate) fn waits(&self) -> Vec<u64> {
        let each = self.pickup.iter().map(|pickup| pickup.buckets());
        each.reduce(|all, one| all.iter().zip(one).map(|(a, b)| a + b).collect())
            .unwrap_or_default()
    }

    /// The upper bounds of what [`Self::waits`] and the latency count, in milliseconds.
    pub(crate) fn bounds(&self) -> &'static [u64] {
        self.latency.bounds()
    }

    /// Count ends that the broker has taken, all but those at these indexes.
    pub(crate) fn settled<'a>(
        &self,
        ends: impl Iterator<Item = (&'a Settlement, Tally)>,
        stale: &[usize],
    ) {
        let mut kept = self.kept.lock();
        for (at, (settlement, tally)) in ends.enumerate() {
            if stale.contains(&at) {
                continue;
            }
            self.count(&mut kept, settlement, tally);
        }
        self.stale.add(stale.len() as u64);
    }

    fn count(&self, kept: &mut Kept, settlement: &Settlement, tally: Tally) {
        let Some((tenant, task_type)) = settlement.token.line() else { return };
        let (report, ended) = match &settlement.end {
            End::Complete { report, .. } => (Some(report), Some(0)),
            End::DeadLetter { report, .. } | End::Unreadable { report, .. } => {
                (Some(report), Some(1))
            }
            End::Cancel { report, .. } => (Some(report), Some(2)),
            End::Retry { report, .. } => (Some(report), None),
            End::Return { .. } => (None, None),
        };
        self.count_attempt(kept, task_type, report, tally);
        let Some(ended) = ended else { return };
        if let (0, Some(report), Some(since)) = (ended, report, tally.since) {
            let end = report.started_at.saturating_add(report.metering.wall_us / 1_000);
            self.latency.observe(end.saturating_sub(since));
        }
        let priority = priority_class(tally.priority);
        if kept.ended.len() >= MAX_KEPT {
            kept.ended.clear();
        }
        let line = settlement.token.line_text().unwrap_or_default();
        let series = match kept.ended.get_mut(line) {
            Some(series) => series,
            None => kept.ended.entry(line.into()).or_default(),
        };
        let counter = series[priority][ended].get_or_insert_with(|| {
            let task_type = self.metrics.0.types.class(task_type);
            let class = self.metrics.0.classes.class(tenant);
            self.metrics.families().tasks_ended.of(&[
                self.name.as_str(),
                task_type,
                class,
                PRIORITIES[priority],
                ENDS[ended],
            ])
        });
        counter.add(1);
    }

    fn count_attempt(
        &self,
        kept: &mut Kept,
        task_type: &str,
        report: Option<&AttemptReport>,
        tally: Tally,
    ) {
        if kept.types.len() >= MAX_KEPT {
            kept.types.clear();
        }
        let of = match kept.types.get_mut(task_type) {
            Some(of) => of,
            None => kept.types.entry(task_type.into()).or_insert_with(|| self.of_type(task_type)),
        };
        let (outcome, name) = outcome(report);
        let attempts = of.attempts[outcome].get_or_insert_with(|| {
            let task_type = self.metrics.0.types.class(task_type);
            self.metrics.families().attempts.of(&[self.name.as_str(), task_type, name])
        });
        attempts.add(1);
        let Some(report) = report else { return };
        match &report.outcome {
            Outcome::Done(_) => drop(self.done.fetch_add(1, Ordering::Relaxed)),
            // Nobody failed.
            Outcome::Failed(failure) if failure.kind == FailureKind::Cancelled => {}
            Outcome::Failed(_) => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
        }
        if let (true, Some(since)) = (tally.is_first, tally.since) {
            let waited_ms = report.started_at.saturating_sub(since);
            self.pickup[priority_class(tally.priority)].observe(waited_ms);
        }
        let metering = &report.metering;
        // What ended without running used nothing.
        if metering.wall_us > 0 {
            of.run.observe(metering.wall_us);
            of.peak_memory.observe(metering.peak_memory_bytes);
            of.fuel.add(metering.fuel);
            of.guest_cpu.add(metering.cpu_us);
            self.instantiate.observe(metering.instantiate_us);
        }
    }

    fn of_type(&self, task_type: &str) -> OfType {
        let families = self.metrics.families();
        let labels = [self.name.as_str(), self.metrics.0.types.class(task_type)];
        OfType {
            run: families.run.of(&labels),
            peak_memory: families.peak_memory.of(&labels),
            fuel: families.fuel.of(&labels),
            guest_cpu: families.guest_cpu.of(&labels),
            attempts: [const { None }; OUTCOMES],
        }
    }
}

/// Where an attempt's outcome stands, and its name.
fn outcome(report: Option<&AttemptReport>) -> (usize, &'static str) {
    match report.map(|report| &report.outcome) {
        None => (RETURNED, "returned"),
        Some(Outcome::Done(_)) => (DONE, "done"),
        Some(Outcome::Failed(failure)) => (1 + failure.kind as usize, failure.kind.as_str()),
    }
}
