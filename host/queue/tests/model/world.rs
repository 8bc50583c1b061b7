//! What the test knows of a small world: ids, claims that hosts believe in, the last calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{BatchId, QueueName, Task, TaskId, TaskRef, TaskType, TenantName, UnixMs};
use bulkhead_queue::{Batch, Broker, Claim, ClaimToken, Fire, QueueError};
use bulkhead_stage::StageClock;

use crate::plan::Keys;

/// How many queues there are.
pub(crate) const QUEUES: usize = 3;
/// Most tasks that the test remembers.
pub(crate) const MAX_KNOWN: usize = 40;
/// Lines around a difference that are shown with it.
const AROUND: usize = 4;
/// How many operations a failure tells of.
const MAX_DONE: usize = 24;

pub(crate) const HOSTS: [&str; 3] = ["h1", "h2", "h10"];
pub(crate) const TYPES: [&str; 3] = ["a", "b", "c"];
pub(crate) const TENANTS: [&str; 3] = ["acme", "beta", "core"];

/// How often each kind of operation was done.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

/// Something on which the brokers differ, or that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disagreement(pub(crate) String);

/// What a world is about. How turns pass between tenants while some of them are held back is
/// each broker's own affair within the bound that `docs/queue.md` states, so no compared world
/// has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Several tenants with weights, bounded keys, nothing else bounded.
    Turns,
    /// One tenant, everything bounded.
    Bounds,
    /// Everything, and ends wait in outboxes, which the model does not have: nothing is
    /// compared, and Redis must agree with itself.
    Loose,
}

impl Kind {
    pub(crate) fn of(seed: u64) -> Self {
        match seed % 4 {
            0 | 2 => Self::Bounds,
            1 => Self::Turns,
            _ => Self::Loose,
        }
    }
}

/// A claim that a host believes in. Each broker has a token of its own for it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) host: &'static str,
    pub(crate) queue: usize,
    pub(crate) id: TaskId,
    pub(crate) real: ClaimToken,
    pub(crate) model: ClaimToken,
    pub(crate) task: Option<Task>,
    pub(crate) attempt: u32,
}

/// Two brokers, one clock, and what was said to them.
pub(crate) struct World {
    pub(crate) real: Arc<dyn Broker>,
    pub(crate) model: Arc<dyn Broker>,
    pub(crate) clock: Arc<StageClock>,
    pub(crate) queues: Vec<QueueName>,
    /// Tasks that may still be there, oldest first.
    pub(crate) known: VecDeque<TaskRef>,
    pub(crate) held: Vec<Held>,
    pub(crate) batches: VecDeque<Batch>,
    /// Callbacks of batches, which appear when something else is carried.
    pub(crate) callbacks: BTreeSet<TaskId>,
    /// Definitions are numbered, so that the next one differs.
    pub(crate) definitions: u64,
    /// What was said last, to be said again.
    pub(crate) last_submitted: Vec<Task>,
    pub(crate) last_fire: Option<(usize, Fire)>,
    pub(crate) kind: Kind,
    /// The bounds of keys. They change in loose worlds only: how tasks find their way between
    /// lines and lanes then is each broker's own affair.
    pub(crate) keys: Keys,
    pub(crate) tally: Tally,
    /// The last operations, newest last.
    pub(crate) done: Vec<String>,
}

impl World {
    pub(crate) fn new(
        real: Arc<dyn Broker>,
        model: Arc<dyn Broker>,
        clock: Arc<StageClock>,
        kind: Kind,
    ) -> Self {
        let queues = (0..QUEUES).map(|at| QueueName::new(&format!("q{at}")).unwrap()).collect();
        Self {
            real,
            model,
            clock,
            queues,
            known: VecDeque::new(),
            held: Vec::new(),
            batches: VecDeque::new(),
            callbacks: BTreeSet::new(),
            definitions: 0,
            last_submitted: Vec::new(),
            last_fire: None,
            kind,
            keys: Keys::new(),
            tally: Tally::new(),
            done: Vec::new(),
        }
    }

    pub(crate) fn is_loose(&self) -> bool {
        self.kind == Kind::Loose
    }

    pub(crate) fn now(&self) -> UnixMs {
        self.clock.now_ms()
    }

    pub(crate) fn pass(&self, by_us: u64) {
        self.clock.advance(Duration::from_micros(by_us));
    }

    /// Write down what is about to be done.
    pub(crate) fn note(&mut self, kind: &'static str, what: impl Debug) {
        *self.tally.entry(kind).or_default() += 1;
        if self.done.len() == MAX_DONE {
            self.done.remove(0);
        }
        let at_us = self.clock.now_us() - crate::run::BEGIN_US;
        self.done.push(format!("+{at_us} µs {kind}: {what:?}"));
    }

    pub(crate) fn remember(&mut self, task: TaskRef) {
        if self.known.contains(&task) {
            return;
        }
        if self.known.len() == MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(task);
    }

    /// The known tasks of a queue.
    pub(crate) fn ids_in(&self, queue: usize) -> Vec<TaskId> {
        let name = &self.queues[queue];
        self.known.iter().filter(|task| task.queue == *name).map(|task| task.id).collect()
    }

    pub(crate) fn batch_ids_in(&self, queue: usize) -> Vec<BatchId> {
        let name = &self.queues[queue];
        self.batches.iter().filter(|batch| batch.queue == *name).map(|batch| batch.id).collect()
    }

    /// Put claims of both brokers together, after they were found equal. Where the model is
    /// not followed, a token of its own never existed.
    pub(crate) fn hold(
        &mut self,
        host: &'static str,
        queue: usize,
        real: &[Claim],
        model: &[Claim],
    ) {
        for (at, real) in real.iter().enumerate() {
            let model = if self.is_loose() { real } else { &model[at] };
            self.held.retain(|held| held.real != real.token);
            self.held.push(Held {
                host,
                queue,
                id: real.id,
                real: real.token.clone(),
                model: model.token.clone(),
                task: real.task.as_deref().ok().cloned(),
                attempt: real.attempt,
            });
        }
    }
}

impl World {
    /// Both answered the same, or this is a disagreement about `what`.
    pub(crate) fn agree<T: Debug + PartialEq>(
        &self,
        what: &str,
        real: &T,
        model: &T,
    ) -> Result<(), Disagreement> {
        if self.is_loose() || real == model {
            return Ok(());
        }
        Err(Disagreement(format!("{what} (-Redis, +model)\n{}", difference(real, model))))
    }

    /// Both succeeded or both refused; what they answered if they succeeded.
    pub(crate) fn both<T>(
        &self,
        what: &str,
        real: Result<T, QueueError>,
        model: Result<T, QueueError>,
    ) -> Result<Option<(T, T)>, Disagreement> {
        match (real, model) {
            (Ok(real), Ok(model)) => Ok(Some((real, model))),
            (Err(QueueError::Refused(_)), Err(QueueError::Refused(_))) => Ok(None),
            (real, model) => {
                let tell = |result: Result<T, QueueError>| match result {
                    Ok(_) => "an answer".to_owned(),
                    Err(error) => format!("the error: {error}"),
                };
                Err(Disagreement(format!("{what}\nRedis: {}\nmodel: {}", tell(real), tell(model))))
            }
        }
    }

    /// Both gave the same answer. Returns Redis's; nothing if both refused.
    pub(crate) fn same<T: Debug + PartialEq>(
        &self,
        what: &str,
        real: Result<T, QueueError>,
        model: Result<T, QueueError>,
    ) -> Result<Option<T>, Disagreement> {
        let Some((real, model)) = self.both(what, real, model)? else { return Ok(None) };
        self.agree(what, &real, &model)?;
        Ok(Some(real))
    }
}

/// The lines in which two values differ, and what stands around them.
fn difference<T: Debug>(real: &T, model: &T) -> String {
    let (real, model) = (format!("{real:#?}"), format!("{model:#?}"));
    let (real, model): (Vec<&str>, Vec<&str>) = (real.lines().collect(), model.lines().collect());
    let mut common = vec![vec![0_u32; model.len() + 1]; real.len() + 1];
    for at in (0..real.len()).rev() {
        for other in (0..model.len()).rev() {
            common[at][other] = if real[at] == model[other] {
                common[at + 1][other + 1] + 1
            } else {
                common[at + 1][other].max(common[at][other + 1])
            };
        }
    }
    let (mut at, mut other, mut told) = (0, 0, Vec::new());
    while at < real.len() || other < model.len() {
        if at < real.len() && other < model.len() && real[at] == model[other] {
            told.push((' ', real[at]));
            (at, other) = (at + 1, other + 1);
        } else if other == model.len()
            || (at < real.len() && common[at + 1][other] >= common[at][other + 1])
        {
            told.push(('-', real[at]));
            at += 1;
        } else {
            told.push(('+', model[other]));
            other += 1;
        }
    }
    let near = |line: usize| {
        let window = line.saturating_sub(AROUND)..(line + AROUND + 1).min(told.len());
        told[window].iter().any(|(sign, _)| *sign != ' ')
    };
    let lines = (0..told.len()).filter(|line| near(*line));
    lines.map(|line| format!("{}{}\n", told[line].0, told[line].1)).collect()
}

pub(crate) fn task_type(name: &str) -> TaskType {
    TaskType::new(name).unwrap()
}

pub(crate) fn tenant(name: &str) -> TenantName {
    TenantName::new(name).unwrap()
}
