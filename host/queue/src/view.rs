//! What inspection shows of tasks and queues.

use std::collections::{BTreeMap, HashMap};

use bulkhead_core::{
    AttemptReport, BatchId, FailureKind, Outcome, Parent, Payload, Priority, QueueName, State,
    Task, TaskId, TaskRef, TaskType, TenantName, UnixMs,
};
use serde::{Deserialize, Serialize};

use crate::codec::Unreadable;
use crate::held::HeldTenant;

/// What followed an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Next {
    /// The task was completed.
    #[serde(rename = "c")]
    Completed,
    /// The task became a dead letter.
    #[serde(rename = "d")]
    DeadLetter,
    /// The task was cancelled.
    #[serde(rename = "x")]
    Cancelled,
    /// Another attempt was scheduled.
    #[serde(rename = "r")]
    Retry,
}

/// One event in a task's history, appended to its record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// An attempt ended and its host said so.
    #[serde(rename = "E")]
    Ended(Next, Box<AttemptReport>),
    /// A lease ran out: the host died, hung or was cut off.
    #[serde(rename = "L")]
    LeaseLost {
        /// When it was noticed.
        at: UnixMs,
        /// The host that held it.
        host: String,
    },
    /// The task was cancelled while no attempt ran.
    #[serde(rename = "C")]
    Cancelled {
        /// When.
        at: UnixMs,
        /// Why, if not by a person's request.
        #[serde(default)]
        reason: Option<CancelReason>,
    },
    /// The task was not started in time.
    #[serde(rename = "X")]
    Expired {
        /// When it was noticed.
        at: UnixMs,
    },
    /// A task that it waited for ended.
    #[serde(rename = "I")]
    Parent {
        /// The parent.
        parent: TaskRef,
        /// How it ended; `None` if it was unknown.
        state: Option<State>,
        /// Its output, if it completed.
        output: Option<Payload>,
    },
    /// The task failed because one that it waited for did not complete.
    #[serde(rename = "D")]
    ParentFailed {
        /// When.
        at: UnixMs,
        /// The parent.
        parent: TaskRef,
    },
    /// The task was given fresh attempts.
    #[serde(rename = "R")]
    Rerun {
        /// When.
        at: UnixMs,
    },
}

/// Why a task was cancelled that nobody asked to cancel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelReason {
    /// Another task took its place under its unique key.
    #[serde(rename = "r")]
    ReplacedBy(TaskId),
    /// A task that it waited for did not complete.
    #[serde(rename = "p")]
    Parent(TaskRef),
}

/// What a running attempt says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Progress {
    /// How much is done, from 0.0 to 1.0.
    pub fraction: f32,
    /// What it does, in the handler's words, at most 1 KiB: escape it before showing it.
    pub message: String,
    /// When it said so, by its host's clock.
    pub at: UnixMs,
}

/// Who holds a running task's lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Holder {
    /// The host's name, and after a `#` which process of that name it is.
    pub host: String,
    /// The claim's fencing token.
    pub token: u64,
    /// When the lease ends unless it is renewed.
    pub lease_until: UnixMs,
}

/// A task as inspection shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// Its queue.
    pub queue: QueueName,
    /// Where it is in its life.
    pub state: State,
    /// The task, or why its record cannot be read.
    pub task: Result<Task, Unreadable>,
    /// What happened to it, oldest first.
    pub history: Vec<Entry>,
    /// When a scheduled task is due.
    pub due_at: Option<UnixMs>,
    /// When an ended task will be forgotten.
    pub kept_until: Option<UnixMs>,
    /// Who runs it.
    pub holder: Option<Holder>,
    /// Whether a running task was asked to stop.
    pub cancel_requested: bool,
    /// What the running attempt last said of itself.
    pub progress: Option<Progress>,
    /// The tasks that a blocked one still waits for.
    pub waits_for: Vec<TaskRef>,
}

impl TaskView {
    /// Attempts started since the task was submitted or last given fresh ones, the
    /// running one included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        attempts_in(&self.history) + u32::from(self.state == State::Running)
    }

    /// The newest attempt's record.
    #[must_use]
    pub fn last_report(&self) -> Option<&AttemptReport> {
        self.history.iter().rev().find_map(|entry| match entry {
            Entry::Ended(_, report) => Some(report.as_ref()),
            _ => None,
        })
    }
}

/// Attempts in a history since the last rerun.
pub(crate) fn attempts_in(history: &[Entry]) -> u32 {
    let fresh = history
        .iter()
        .rev()
        .take_while(|entry| !matches!(entry, Entry::Rerun { .. }))
        .filter(|entry| matches!(entry, Entry::Ended(..) | Entry::LeaseLost { .. }))
        .count();
    u32::try_from(fresh).unwrap_or(u32::MAX)
}

/// What a history says of the tasks that were waited for, in the order of `after`.
pub(crate) fn parents_in(history: Vec<Entry>, after: &[TaskRef]) -> Vec<Parent> {
    let parents = history.into_iter().filter_map(|entry| match entry {
        Entry::Parent { parent, state, output } => Some(Parent { task: parent, state, output }),
        _ => None,
    });
    let mut parents: Vec<Parent> = parents.collect();
    if parents.len() > 1 {
        let places: HashMap<&TaskRef, usize> = after.iter().zip(0..).collect();
        parents.sort_by_key(|parent| places.get(&parent.task).copied().unwrap_or(usize::MAX));
    }
    parents
}

/// Which tasks to list. What is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListFilter {
    /// Their state.
    pub state: State,
    /// Only this type.
    pub task_type: Option<TaskType>,
    /// Only this tenant's.
    pub tenant: Option<TenantName>,
    /// Only members of this batch.
    pub batch: Option<BatchId>,
    /// Only those that this schedule fired.
    pub schedule: Option<String>,
    /// Only those whose last attempt failed in this way.
    pub failure: Option<FailureKind>,
    /// Only those submitted at or after this time.
    pub submitted_from: Option<UnixMs>,
    /// Only those submitted before this time.
    pub submitted_before: Option<UnixMs>,
    /// Only those with this text in the last failure's message, a metadata value or a
    /// payload of text.
    pub contains: Option<String>,
    /// How many to return at most.
    pub limit: usize,
}

/// Where a listing goes on: behind a task that it has looked at, whatever became of that one
/// meanwhile. What it says is the broker's own business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The index that was being read.
    pub(crate) index: String,
    /// The score of the task in it.
    pub(crate) score: i64,
    /// The task.
    pub(crate) id: TaskId,
}

/// Some of the tasks that a listing finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskPage {
    /// The tasks. They may be fewer than asked for, even none, though there are more: a page
    /// ends after so many tasks that the filter did not admit.
    pub tasks: Vec<TaskView>,
    /// Where the listing goes on; nothing if this was all.
    pub next: Option<Mark>,
}

impl ListFilter {
    /// The first 100 tasks of a state.
    #[must_use]
    pub fn of(state: State) -> Self {
        Self {
            state,
            task_type: None,
            tenant: None,
            batch: None,
            schedule: None,
            failure: None,
            submitted_from: None,
            submitted_before: None,
            contains: None,
            limit: 100,
        }
    }

    /// Whether a task is wanted. One whose record cannot be read is wanted only if nothing
    /// is asked but its state.
    #[must_use]
    pub fn admits(&self, view: &TaskView) -> bool {
        if view.state != self.state {
            return false;
        }
        let Ok(task) = &view.task else {
            return *self == Self { limit: self.limit, ..Self::of(self.state) };
        };
        let failure = view.last_report().and_then(|report| match &report.outcome {
            Outcome::Failed(failure) => Some(failure),
            Outcome::Done(_) => None,
        });
        let contains = |text: &String| {
            failure.is_some_and(|failure| failure.message.contains(text))
                || task.metadata.iter().any(|(_, value)| value.contains(text))
                || std::str::from_utf8(&task.payload.data).is_ok_and(|data| data.contains(text))
        };
        self.task_type.as_ref().is_none_or(|wanted| *wanted == task.task_type)
            && self.tenant.as_ref().is_none_or(|wanted| *wanted == task.tenant)
            && self.batch.is_none_or(|id| task.terms.batch.as_ref().is_some_and(|b| b.id == id))
            && (self.schedule.is_none() || self.schedule == task.terms.schedule)
            && self.failure.is_none_or(|wanted| failure.is_some_and(|f| f.kind == wanted))
            && self.submitted_from.is_none_or(|from| task.submitted_at >= from)
            && self.submitted_before.is_none_or(|before| task.submitted_at < before)
            && self.contains.as_ref().is_none_or(contains)
    }
}

/// What became of a submitted task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmitAnswer {
    /// It is stored.
    Accepted,
    /// A task of this id was there already; nothing changed.
    Known,
    /// Its unique key is taken by this task, and it asked to be refused then.
    Taken(TaskId),
    /// Its unique key is taken by this task, and it asked to make way.
    Existing(TaskId),
    /// It is stored in place of this task, which is cancelled.
    Replaced(TaskId),
    /// Its tenant has as many tasks as it may; `pending` of the tenant's policy.
    OverPending,
    /// It is larger than its tenant's tasks may be; `payload_bytes` of the policy.
    OverPayload,
    /// Its tenant has spent its fuel or memory × time of a minute, until this time;
    /// `fuel_per_minute` and `kib_ms_per_minute` of the policy.
    OverUsage(UnixMs),
}

impl SubmitAnswer {
    /// Whether the task is stored now and was not before.
    #[must_use]
    pub fn is_new(self) -> bool {
        matches!(self, Self::Accepted | Self::Replaced(_))
    }
}

/// What became of a request to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CancelAnswer {
    /// It waited and is cancelled now.
    Cancelled,
    /// It runs; its host was asked to stop it.
    Requested,
    /// It had ended already.
    AlreadyEnded,
    /// There is no such task.
    Unknown,
}

/// What became of a request to run a task again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RerunAnswer {
    /// It is in line.
    InLine,
    /// It is pending or running already.
    Active,
    /// There is no such task.
    Unknown,
}

/// Pending tasks of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TypeDepth {
    /// The type.
    pub task_type: String,
    /// How many are pending.
    pub pending: u64,
    /// Whether claims of the type are stopped.
    pub paused: bool,
}

/// Tasks of one tenant that have not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TenantDepth {
    /// The tenant.
    pub tenant: String,
    /// How many tasks it has that have not ended.
    pub open: u64,
}

/// Depths and counters of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QueueStats {
    /// Tasks waiting for a host, or held back by a limit.
    pub pending: u64,
    /// Of which a limit of their key holds back.
    pub held_back: u64,
    /// Tasks waiting for their time.
    pub scheduled: u64,
    /// Tasks waiting for other tasks.
    pub blocked: u64,
    /// Tasks under a lease.
    pub running: u64,
    /// Dead letters.
    pub failed: u64,
    /// When the oldest pending task was put in line, as far as one look at the head of each
    /// line tells.
    pub oldest_pending_at: Option<UnixMs>,
    /// Pending tasks by type.
    pub by_type: Vec<TypeDepth>,
    /// Tasks in line by priority class (low, normal, high, critical), each line taken to be as
    /// its first 8 tasks are.
    #[serde(default)]
    pub by_priority: [u64; Priority::CLASSES],
    /// Tenants with the most tasks that have not ended, at most 100; where more than 20,000 have
    /// such tasks, of about so many of them.
    pub by_tenant: Vec<TenantDepth>,
    /// Tenants whose tasks a bound of theirs holds back, as far as a host has come upon it,
    /// at most 100.
    pub held_tenants: Vec<HeldTenant>,
    /// Totals since the queue was made: submitted, completed, retried, dead_lettered,
    /// cancelled, expired, returned, unreadable, reclaimed, replayed, purged, ghosts.
    pub totals: BTreeMap<String, u64>,
    /// Whether claims are stopped.
    pub paused: bool,
    /// How many tasks may run at once over all hosts.
    pub concurrency: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_read_in_the_order_in_which_they_were_named() {
        let named = |n: u8| TaskRef {
            queue: QueueName::default(),
            id: TaskId(uuid::Uuid::from_u128(u128::from(n))),
        };
        let ended = |n| Entry::Parent {
            parent: named(n),
            state: Some(State::Completed),
            output: Some(Payload::new("text/plain", vec![n])),
        };
        let history = vec![ended(3), Entry::Rerun { at: 1 }, ended(1), ended(2)];
        let parents = parents_in(history, &[named(2), named(1), named(3)]);
        let outputs: Vec<u8> =
            parents.iter().flat_map(|p| p.output.as_ref().unwrap().data.clone()).collect();
        assert_eq!(outputs, [2, 1, 3]);
        assert_eq!(parents[0].task, named(2));
        assert_eq!(parents_in(vec![Entry::Rerun { at: 1 }], &[]), []);
    }
}
