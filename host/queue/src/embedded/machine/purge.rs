//! Purge and drop: tasks that go without a trace.

use bulkhead_core::{QueueName, State, TaskId};

use super::queue::Total;
use super::task::Place;
use super::{Machine, Now};
use crate::error::QueueError;

impl Machine {
    /// Remove tasks of a state, at most `at_most`; the number removed. Call again until 0.
    pub fn purge(
        &mut self,
        queue: &QueueName,
        state: State,
        at_most: usize,
        now_us: u64,
    ) -> Result<u64, QueueError> {
        if !matches!(state, State::Blocked | State::Scheduled | State::Pending | State::Failed) {
            return Err(QueueError::Refused(format!(
                "tasks that are `{state}` cannot be purged; purge blocked, scheduled, pending or \
                 failed ones"
            )));
        }
        let now = Now(now_us);
        let Some(at) = self.enter(queue) else { return Ok(0) };
        let queue = &mut self.queues[at];
        // What was kept long enough is not there to be removed.
        queue.sweep(now);
        let ids = queue.ids_of(state, at_most);
        for id in &ids {
            queue.discard(*id, now);
        }
        if !ids.is_empty() {
            queue.count(Total::Purged, ids.len() as u64);
        }
        self.calm(at, now);
        Ok(ids.len() as u64)
    }

    /// Forget dead letters; the number dropped.
    pub fn drop_dead(&mut self, queue: &QueueName, ids: &[TaskId], now_us: u64) -> u64 {
        let now = Now(now_us);
        let Some(at) = self.enter(queue) else { return 0 };
        let queue = &mut self.queues[at];
        let mut dropped = 0;
        for id in ids {
            let dead = queue.kept(*id, now).is_some_and(|kept| {
                matches!(kept.place, Place::Ended { state: State::Failed, .. })
            });
            if dead {
                queue.forget(*id);
                dropped += 1;
            }
        }
        dropped
    }
}
