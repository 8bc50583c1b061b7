//! The producer's side: check a task, give it an id, hand it to the broker, wait for
//! its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{
    LimitsRequest, Payload, Priority, QueueName, RetryPolicy, Task, TaskId, TaskType, TenantName,
    TraceContext, UnixMs,
};

use crate::broker::{Broker, Signal, Topic};
use crate::error::QueueError;
use crate::view::TaskView;

/// Bounds on what a producer may submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmitLimits {
    /// Bytes of one payload.
    pub payload_bytes: usize,
    /// Bytes of all metadata keys and values of one task.
    pub metadata_bytes: usize,
    /// Tasks in one call to the broker; larger batches are split.
    pub batch_tasks: usize,
}

impl Default for SubmitLimits {
    fn default() -> Self {
        Self { payload_bytes: 8 << 20, metadata_bytes: 16 << 10, batch_tasks: 500 }
    }
}

/// A task as its producer describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// Which handler it is for.
    pub task_type: TaskType,
    /// The queue.
    pub queue: QueueName,
    /// Whose it is.
    pub tenant: TenantName,
    /// How urgent it is.
    pub priority: Priority,
    /// The input.
    pub payload: Payload,
    /// Key-value pairs for the handler.
    pub metadata: Vec<(String, String)>,
    /// The producer's trace.
    pub trace: Option<TraceContext>,
    /// Limits below the host's.
    pub limits: LimitsRequest,
    /// The retry policy.
    pub retry: Option<RetryPolicy>,
    /// How long the ended task is kept, in milliseconds.
    pub retention_ms: Option<u64>,
    /// Not to be started before this time.
    pub not_before: Option<UnixMs>,
    /// The id, for idempotent submission: a known id is not submitted again.
    pub id: Option<TaskId>,
}

impl NewTask {
    /// A task of normal priority for the default queue and tenant.
    #[must_use]
    pub fn new(task_type: TaskType, payload: Payload) -> Self {
        Self {
            task_type,
            queue: QueueName::default(),
            tenant: TenantName::default(),
            priority: Priority::default(),
            payload,
            metadata: Vec::new(),
            trace: None,
            limits: LimitsRequest::default(),
            retry: None,
            retention_ms: None,
            not_before: None,
            id: None,
        }
    }
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The task's id.
    pub id: TaskId,
    /// Whether it is new; `false` if a task of this id was there already.
    pub accepted: bool,
}

/// Submits tasks and waits for them. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    broker: Arc<dyn Broker>,
    limits: SubmitLimits,
}

impl Client {
    /// A client of this broker.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, limits: SubmitLimits) -> Self {
        Self { broker, limits }
    }

    /// The broker behind it.
    #[must_use]
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// Submit one task.
    pub async fn submit(&self, task: NewTask) -> Result<Submitted, QueueError> {
        let submitted = self.submit_many(vec![task]).await?;
        submitted.first().copied().ok_or_else(|| QueueError::Protocol("no answer".into()))
    }

    /// Submit tasks in batches. All are checked before the first is sent; the answer
    /// keeps their order. When the broker fails midway, the tasks already sent stay
    /// submitted; give tasks ids of your own to repeat a call safely.
    pub async fn submit_many(&self, tasks: Vec<NewTask>) -> Result<Vec<Submitted>, QueueError> {
        let now = unix_ms();
        let tasks = tasks
            .into_iter()
            .enumerate()
            .map(|(at, task)| {
                self.check(task, now).map_err(|e| match e {
                    QueueError::Refused(reason) if at > 0 => {
                        QueueError::Refused(format!("task {} of the batch: {reason}", at + 1))
                    }
                    other => other,
                })
            })
            .collect::<Result<Vec<Task>, _>>()?;
        let mut submitted = Vec::with_capacity(tasks.len());
        for batch in tasks.chunks(self.limits.batch_tasks.max(1)) {
            let accepted = self.broker.submit(batch).await?;
            submitted.extend(
                batch
                    .iter()
                    .zip(accepted)
                    .map(|(task, accepted)| Submitted { id: task.id, accepted }),
            );
        }
        Ok(submitted)
    }

    fn check(&self, new: NewTask, now: UnixMs) -> Result<Task, QueueError> {
        let bytes = new.payload.data.len();
        if bytes > self.limits.payload_bytes {
            return Err(QueueError::Refused(format!(
                "the payload has {bytes} bytes; at most {} are allowed (setting `payload_bytes`)",
                self.limits.payload_bytes
            )));
        }
        let bytes: usize = new.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > self.limits.metadata_bytes || new.payload.content_type.len() > 256 {
            return Err(QueueError::Refused(format!(
                "the metadata has {bytes} bytes and the content type {}; at most {} and 256 are \
                 allowed (setting `metadata_bytes`)",
                new.payload.content_type.len(),
                self.limits.metadata_bytes
            )));
        }
        Ok(Task {
            id: new.id.unwrap_or_else(|| TaskId(uuid::Uuid::now_v7())),
            task_type: new.task_type,
            queue: new.queue,
            tenant: new.tenant,
            priority: new.priority,
            payload: new.payload,
            metadata: new.metadata,
            trace: new.trace,
            limits: new.limits,
            retry: new.retry,
            retention_ms: new.retention_ms,
            submitted_at: now,
            not_before: new.not_before,
        })
    }

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
        let mut signals = self.broker.subscribe(Topic::Done, vec![queue.clone()]);
        while !open.is_empty() {
            let Ok(Some(signal)) = tokio::time::timeout_at(deadline, signals.recv()).await else {
                break;
            };
            let look_at: Vec<TaskId> = match signal {
                // Nothing was heard until now: look at all that are open.
                Signal::Connected => {
                    let all: Vec<TaskId> = open.keys().copied().collect();
                    for chunk in all.chunks(self.limits.batch_tasks.max(1)) {
                        let known = self.broker.watch(queue, chunk).await?;
                        for (id, _) in chunk.iter().zip(known).filter(|(_, known)| !known) {
                            open.remove(id);
                        }
                    }
                    open.keys().copied().collect()
                }
                Signal::Task(_, id) if open.contains_key(&id) => vec![id],
                Signal::Task(..) | Signal::Rescan => continue,
            };
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

/// The wall clock. Producers stamp tasks with it; the broker's own clock decides when
/// anything is due.
fn unix_ms() -> UnixMs {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
