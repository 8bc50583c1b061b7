//! What an examination of a queue finds.

use bulkhead_core::TaskId;
use serde::{Deserialize, Serialize};

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// The task it concerns, if one.
    pub task: Option<TaskId>,
    /// The key, index or counter it is about, and what is wrong.
    pub detail: String,
    /// Whether it was repaired.
    pub repaired: bool,
}

/// The kinds of disagreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A task that has not ended and is in no index: nobody would ever run it.
    Stranded,
    /// An index names a task that does not exist.
    Dangling,
    /// A task is in two indexes that exclude each other.
    Duplicated,
    /// A line with tasks whose tenant is not in its ring, or a ring without a line.
    Unringed,
    /// A counter that differs from what it counts.
    Miscounted,
    /// A unique key, lane, link or batch that belongs to nothing any more.
    Leaked,
    /// A key of the wrong type or with unreadable content.
    Damaged,
    /// An event to another queue that has waited for over a minute.
    Undelivered,
}
