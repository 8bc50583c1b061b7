//! Lifecycle events: opt-in, capped, one line per edge of a task.

use bulkhead_core::{TaskId, UnixMs};
use serde::{Deserialize, Serialize};

/// An event's place in its queue's order, as text of the form `ms-n`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventId(pub String);

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place.
    pub id: EventId,
    /// When, by the broker's clock.
    pub at: UnixMs,
    /// What.
    pub kind: EventKind,
    /// The task.
    pub task: TaskId,
    /// Its type.
    pub task_type: String,
    /// Whose it is.
    pub tenant: String,
}

/// The edges that are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Accepted, whatever state it went to.
    Submitted,
    /// Handed to a host.
    Started,
    /// Ended with an output.
    Completed,
    /// An attempt failed and another is planned.
    Retried,
    /// Became a dead letter.
    Failed,
    /// Cancelled.
    Cancelled,
    /// Not started in time.
    Expired,
    /// Its lease ran out.
    LeaseLost,
    /// Given back by its host.
    Returned,
    /// Given fresh attempts.
    Rerun,
    /// All that it waited for has ended.
    Unblocked,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Submitted,
        Self::Started,
        Self::Completed,
        Self::Retried,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::LeaseLost,
        Self::Returned,
        Self::Rerun,
        Self::Unblocked,
    ];

    /// The kind's name in JSON and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::LeaseLost => "lease_lost",
            Self::Returned => "returned",
            Self::Rerun => "rerun",
            Self::Unblocked => "unblocked",
        }
    }
}
