//! The wake-up of idle hosts: one marker per line, taken by whoever waits for it.

use std::collections::HashSet;
use std::time::Duration;

use bulkhead_core::{QueueName, TaskType};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::Lines;

/// Markers stay until somebody takes them, so a wake-up between two waits is not lost, and
/// a dropped wait takes none.
#[derive(Debug, Default)]
pub(super) struct Wake {
    marked: Mutex<HashSet<(QueueName, TaskType)>>,
    bell: Notify,
}

impl Wake {
    pub(super) fn mark(&self, queue: QueueName, task_type: TaskType) {
        if self.marked.lock().insert((queue, task_type)) {
            self.bell.notify_waiters();
        }
    }

    /// Wait for a marker of one of the lines, at most `timeout`.
    pub(super) async fn take(&self, lines: &[Lines], timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let rung = self.bell.notified();
            tokio::pin!(rung);
            // From here on a mark is heard, so none falls between the look and the wait.
            rung.as_mut().enable();
            if self.take_now(lines) {
                return true;
            }
            if tokio::time::timeout_at(deadline, rung).await.is_err() {
                return false;
            }
        }
    }

    fn take_now(&self, lines: &[Lines]) -> bool {
        let mut marked = self.marked.lock();
        if marked.is_empty() {
            return false;
        }
        lines.iter().any(|(queue, types)| {
            types.iter().any(|task_type| marked.remove(&(queue.clone(), task_type.clone())))
        })
    }
}
