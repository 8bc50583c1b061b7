//! Why a task ended, where no attempt says so.

use bulkhead::queue::{CancelReason, Entry, TaskView};

/// The reason, in words; nothing if its last attempt tells it, or nobody gave one.
pub(crate) fn reason(view: &TaskView) -> Option<String> {
    let parent = |parent| format!("its parent {parent} did not complete");
    match view.history.last()? {
        Entry::Cancelled { reason: Some(CancelReason::ReplacedBy(id)), .. } => {
            Some(format!("{id} took its place under its unique key"))
        }
        Entry::Cancelled { reason: Some(CancelReason::Parent(task)), .. } => Some(parent(task)),
        Entry::ParentFailed { parent: task, .. } => Some(parent(task)),
        _ => None,
    }
}
