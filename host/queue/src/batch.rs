//! Batches: tasks submitted as a group, whose progress is counted and whose end may
//! start another task.

use bulkhead_core::{BatchId, QueueName, Task, TaskId, TaskRef, UnixMs};
use serde::{Deserialize, Serialize};

/// A batch as it is opened, before its members are submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The queue that keeps it. Members may be in any queue.
    pub queue: QueueName,
    /// Its id.
    pub id: BatchId,
    /// What it is called, for people; at most 256 bytes.
    pub name: String,
    /// Its members, at most [`Batch::MAX_MEMBERS`].
    pub members: Vec<TaskRef>,
    /// The task submitted when it is over. Its queue is the batch's.
    pub callback: Option<Task>,
    /// When the batch is over.
    pub over: Over,
    /// How long it is kept, in milliseconds: from its opening while it is open, then from
    /// its end.
    pub retention_ms: u64,
}

impl Batch {
    /// Most members of a batch.
    pub const MAX_MEMBERS: usize = 100_000;
}

/// When a batch is over, and its callback is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// All members have ended.
    #[default]
    Ended,
    /// All members have ended, or one has ended other than completed.
    FirstFailure,
}

/// How a batch stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchView {
    /// Its id.
    pub id: BatchId,
    /// The queue that keeps it.
    pub queue: QueueName,
    /// What it is called.
    pub name: String,
    /// When it was opened.
    pub opened_at: UnixMs,
    /// When it was over, if it is.
    pub over_at: Option<UnixMs>,
    /// When it counts as over.
    pub over: Over,
    /// How many members it has.
    pub total: u64,
    /// Members that completed.
    pub completed: u64,
    /// Members that failed.
    pub failed: u64,
    /// Members that were cancelled, purged or never accepted.
    pub cancelled: u64,
    /// Members that expired.
    pub expired: u64,
    /// The task submitted when it is over.
    pub callback: Option<TaskId>,
}

impl BatchView {
    /// Members that have not ended.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.total.saturating_sub(self.completed + self.failed + self.cancelled + self.expired)
    }
}
