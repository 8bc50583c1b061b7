//! Tasks that a task submits.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Task, TaskId, TaskRef, UnixMs};

/// A task that an attempt submits, if it completes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Child {
    /// The task. When it was submitted and when it may start is not known yet.
    pub task: Task,
    /// Not to be started earlier than this after it was submitted, in milliseconds.
    pub delay_ms: Option<u64>,
}

impl Child {
    /// The task, submitted now.
    #[must_use]
    pub fn submitted(self, now: UnixMs) -> Task {
        let Self { mut task, delay_ms } = self;
        task.submitted_at = now;
        task.terms.not_before = delay_ms.map(|delay_ms| now.saturating_add(delay_ms));
        task
    }
}

/// The id of the child at a place, counted from 0, among those that a task submits: UUID
/// version 5 under the task's own id, so that every attempt gives a child the same one.
#[must_use]
pub fn child_id(parent: &TaskRef, place: u32) -> TaskId {
    TaskId(Uuid::new_v5(&parent.id.0, format!("child/{}/{place}", parent.queue).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_id_follows_from_its_parent_and_place() {
        let parent = |text: &str| text.parse::<TaskRef>().unwrap();
        let mail = parent("mail/0190163d-8694-739b-aea5-966c26f8ad91");
        let other = parent("other/0190163d-8694-739b-aea5-966c26f8ad91");
        assert_eq!(child_id(&mail, 0), child_id(&mail, 0));
        assert_ne!(child_id(&mail, 0), child_id(&mail, 1));
        assert_ne!(child_id(&mail, 0), child_id(&other, 0));
    }
}
