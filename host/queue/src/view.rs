//! What inspection shows of tasks and queues.

use std::collections::BTreeMap;

use bulkhead_core::{AttemptReport, QueueName, State, Task, TaskId, TaskType, UnixMs};
use serde::{Deserialize, Serialize};

use crate::codec::Unreadable;

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
    },
    /// The task was given fresh attempts.
    #[serde(rename = "R")]
    Rerun {
        /// When.
        at: UnixMs,
    },
}

/// Who holds a running task's lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The host's name.
    pub host: String,
    /// The claim's fencing token.
    pub token: u64,
    /// When the lease ends unless it is renewed.
    pub lease_until: UnixMs,
}

/// A task as inspection shows it.
#[derive(Debug, Clone, PartialEq)]
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

/// Which tasks to list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListFilter {
    /// Their state.
    pub state: State,
    /// Only this type.
    pub task_type: Option<TaskType>,
    /// How many to pass over.
    pub offset: usize,
    /// How many to return at most.
    pub limit: usize,
}

/// What became of a request to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeDepth {
    /// The type.
    pub task_type: String,
    /// How many are pending.
    pub pending: u64,
}

/// Depths and counters of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct QueueStats {
    /// Tasks waiting for a host.
    pub pending: u64,
    /// Tasks waiting for their time.
    pub scheduled: u64,
    /// Tasks under a lease.
    pub running: u64,
    /// Dead letters.
    pub failed: u64,
    /// Pending tasks by type.
    pub by_type: Vec<TypeDepth>,
    /// Totals since the queue was made: submitted, completed, retried, dead_lettered,
    /// cancelled, returned, unreadable, reclaimed, replayed, purged, ghosts.
    pub totals: BTreeMap<String, u64>,
    /// Whether claims are stopped.
    pub paused: bool,
    /// How many tasks may run at once over all hosts.
    pub concurrency: Option<u32>,
}
