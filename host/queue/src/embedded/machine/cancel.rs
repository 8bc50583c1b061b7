//! Cancel: what waits ends at once, the holder of a running attempt is asked to stop.

use bulkhead_core::{QueueName, State, TaskId};

use super::queue::Total;
use super::task::Place;
use super::{Machine, Note, Now};
use crate::view::{CancelAnswer, Entry};

impl Machine {
    /// Cancel tasks, one answer each. Those without a retention of their own are kept for
    /// `retention_ms`.
    pub fn cancel(
        &mut self,
        queue: &QueueName,
        ids: &[TaskId],
        retention_ms: u64,
        now_us: u64,
    ) -> Vec<CancelAnswer> {
        let Some(at) = self.enter(queue) else {
            return vec![CancelAnswer::Unknown; ids.len()];
        };
        let now = Now(now_us);
        let answers = ids.iter().map(|id| self.cancel_one(at, *id, retention_ms, now)).collect();
        self.calm(at, now);
        answers
    }

    fn cancel_one(&mut self, at: usize, id: TaskId, retention_ms: u64, now: Now) -> CancelAnswer {
        let queue = &mut self.queues[at];
        let Some(kept) = queue.kept(id, now) else { return CancelAnswer::Unknown };
        let retention_ms = kept.own_retention_ms().unwrap_or(retention_ms);
        match &kept.place {
            Place::Ended { .. } => CancelAnswer::AlreadyEnded,
            Place::Running { .. } => {
                if let Some(kept) = queue.tasks.get_mut(&id) {
                    kept.cancel = true;
                }
                queue.journal.task(id);
                let note = Note::Cancel(queue.name.clone(), id);
                queue.notes.push(note);
                CancelAnswer::Requested
            }
            _ => {
                queue.append(id, &Entry::Cancelled { at: now.ms(), reason: None });
                queue.count(Total::Cancelled, 1);
                queue.end(id, State::Cancelled, retention_ms, now);
                CancelAnswer::Cancelled
            }
        }
    }
}
