//! Looking for tasks, and waiting for their ends.
//!
//! A signal only says where to look: what counts is what the broker then says of the task.

use std::collections::HashMap;
use std::time::Duration;

use bulkhead_core::{QueueName, TaskId};

use super::Client;
use crate::error::QueueError;
use crate::view::TaskView;

impl Client {
    /// Find a task by its id alone, in any queue.
    pub async fn find(&self, id: TaskId) -> Result<Option<TaskView>, QueueError> {
        for queue in self.broker.queues().await? {
            if let Some(view) = self.broker.inspect(&queue, &[id]).await?.pop().flatten() {
                return Ok(Some(view));
            }
        }
        Ok(None)
    }

    /// Wait until a task has ended. `None` if it has not within `timeout`, or is unknown.
    pub async fn wait(
        &self,
        queue: &QueueName,
        id: TaskId,
        timeout: Duration,
    ) -> Result<Option<TaskView>, QueueError> {
        let mut ended = None;
        self.wait_each(queue, &[id], timeout, |view| ended = Some(view)).await?;
        Ok(ended)
    }

    /// Wait until all of these tasks have ended, handing each to `each` as it does.
    /// Returns the ids that had not ended within `timeout`; unknown ids are left out.
    pub async fn wait_each(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
        timeout: Duration,
        mut each: impl FnMut(TaskView) + Send,
    ) -> Result<Vec<TaskId>, QueueError> {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut open: HashMap<TaskId, ()> = ids.iter().map(|id| (*id, ())).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let place = self.ends.wait(&self.broker, queue, ids);
        while !open.is_empty() {
            let Ok(told) = tokio::time::timeout_at(deadline, place.told()).await else { break };
            let look_at: Vec<TaskId> = if told.all {
                // Nothing was heard until now: look at all that are open.
                let all: Vec<TaskId> = open.keys().copied().collect();
                for chunk in all.chunks(self.limits.batch_tasks.max(1)) {
                    let known = self.broker.watch(queue, chunk).await?;
                    for (id, _) in chunk.iter().zip(known).filter(|(_, known)| !known) {
                        open.remove(id);
                    }
                }
                open.keys().copied().collect()
            } else {
                told.these.into_iter().filter(|id| open.contains_key(id)).collect()
            };
            if look_at.is_empty() && told.is_over {
                break;
            }
            for chunk in look_at.chunks(self.limits.batch_tasks.max(1)) {
                for view in self.broker.inspect(queue, chunk).await?.into_iter().flatten() {
                    if view.state.is_terminal() && open.remove(&view.id).is_some() {
                        each(view);
                    }
                }
            }
        }
        Ok(open.into_keys().collect())
    }
}
