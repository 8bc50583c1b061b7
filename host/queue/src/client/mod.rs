//! The producer's side: check a task, give it an id, hand it to the broker, wait for
//! its end.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{
    BatchId, BatchRef, LimitsRequest, Payload, Priority, QueueName, Task, TaskId, TaskRef,
    TaskType, TenantName, Terms, TraceContext, UnixMs,
};

use crate::batch::{Batch, Over};
use crate::broker::{Broker, Signal, Topic};
use crate::error::QueueError;
use crate::view::{SubmitAnswer, TaskView};

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
    /// When it may run, with whom it competes, what it waits for.
    pub terms: Terms,
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
            terms: Terms::default(),
            id: None,
        }
    }
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The task's id.
    pub id: TaskId,
    /// Whether it is stored, and if not, why.
    pub answer: SubmitAnswer,
}

/// A batch as its producer describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBatch {
    /// The queue that keeps its count and gets its callback.
    pub queue: QueueName,
    /// What it is called, for people; at most 256 bytes.
    pub name: String,
    /// Its members, in any queues.
    pub tasks: Vec<NewTask>,
    /// The task submitted when it is over.
    pub callback: Option<NewTask>,
    /// When it is over.
    pub over: Over,
    /// How long it is kept, in milliseconds.
    pub retention_ms: u64,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmittedBatch {
    /// Its id.
    pub id: BatchId,
    /// The members, in the producer's order.
    pub tasks: Vec<Submitted>,
    /// The task that will be submitted when it is over.
    pub callback: Option<TaskId>,
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
        for (at, task) in tasks.iter().enumerate() {
            self.check(task).map_err(|e| of_the_batch(at, e))?;
        }
        // Made a batch at a time: all at once would be fresh memory, which the system clears.
        let mut submitted = Vec::with_capacity(tasks.len());
        let mut waiting = BTreeSet::new();
        let mut tasks = tasks.into_iter().map(|task| made(task, now));
        loop {
            let batch: Vec<Task> = tasks.by_ref().take(self.limits.batch_tasks.max(1)).collect();
            if batch.is_empty() {
                break;
            }
            waiting.extend(waiting_queues(&batch));
            self.store(&batch, &mut submitted).await?;
        }
        self.deliver(waiting).await?;
        Ok(submitted)
    }

    /// Submit tasks as a group. When the broker fails midway, the members not yet sent keep
    /// the batch open; give batch and tasks ids of your own to repeat a call safely.
    pub async fn submit_batch(
        &self,
        id: Option<BatchId>,
        new: NewBatch,
    ) -> Result<SubmittedBatch, QueueError> {
        if new.tasks.is_empty() || new.tasks.len() > Batch::MAX_MEMBERS {
            return Err(QueueError::Refused(format!(
                "the batch has {} tasks; use 1 to {}",
                new.tasks.len(),
                Batch::MAX_MEMBERS
            )));
        }
        if new.name.len() > 256 {
            return Err(QueueError::Refused("the batch's name is over 256 bytes".into()));
        }
        let now = unix_ms();
        let id = id.unwrap_or_else(|| BatchId(uuid::Uuid::now_v7()));
        let mut tasks = Vec::with_capacity(new.tasks.len());
        for (at, mut task) in new.tasks.into_iter().enumerate() {
            task.terms.batch = Some(BatchRef { queue: new.queue.clone(), id });
            self.check(&task).map_err(|e| of_the_batch(at, e))?;
            tasks.push(made(task, now));
        }
        let callback = match new.callback {
            Some(task) => {
                self.check(&task)?;
                Some(made(NewTask { queue: new.queue.clone(), ..task }, now))
            }
            None => None,
        };
        let callback_id = callback.as_ref().map(|task| task.id);
        let batch = Batch {
            queue: new.queue,
            id,
            name: new.name,
            members: tasks.iter().map(Task::task_ref).collect(),
            callback,
            over: new.over,
            retention_ms: new.retention_ms,
        };
        self.broker.open_batch(&batch).await?;
        let mut submitted = Vec::with_capacity(tasks.len());
        for members in tasks.chunks(self.limits.batch_tasks.max(1)) {
            self.store(members, &mut submitted).await?;
        }
        self.deliver(waiting_queues(&tasks).collect()).await?;
        let absent: Vec<TaskRef> = tasks
            .iter()
            .zip(&submitted)
            .filter(|(_, submitted)| {
                !submitted.answer.is_new() && submitted.answer != SubmitAnswer::Known
            })
            .map(|(task, _)| task.task_ref())
            .collect();
        if !absent.is_empty() {
            self.broker.leave_batch(&batch.queue, id, &absent).await?;
        }
        Ok(SubmittedBatch { id, tasks: submitted, callback: callback_id })
    }

    /// Hand tasks to the broker in one call.
    async fn store(
        &self,
        tasks: &[Task],
        submitted: &mut Vec<Submitted>,
    ) -> Result<(), QueueError> {
        let answers = self.broker.submit(tasks).await?;
        submitted.extend(
            tasks.iter().zip(answers).map(|(task, answer)| Submitted { id: task.id, answer }),
        );
        Ok(())
    }

    /// Carry what the tasks of these queues wait for to its queue.
    async fn deliver(&self, waiting: BTreeSet<QueueName>) -> Result<(), QueueError> {
        for queue in waiting {
            // What stays behind is carried by the hosts.
            while self.broker.deliver(&queue).await? > 0 {}
        }
        Ok(())
    }

    fn check(&self, new: &NewTask) -> Result<(), QueueError> {
        let bytes = new.payload.data.len();
        if bytes > self.limits.payload_bytes {
            return Err(QueueError::Refused(format!(
                "the payload has {bytes} bytes; at most {} are allowed (setting `submit.payload_bytes`)",
                self.limits.payload_bytes
            )));
        }
        let bytes: usize = new.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > self.limits.metadata_bytes || new.payload.content_type.len() > 256 {
            return Err(QueueError::Refused(format!(
                "the metadata has {bytes} bytes and the content type {}; at most {} and 256 are \
                 allowed (setting `submit.metadata_bytes`)",
                new.payload.content_type.len(),
                self.limits.metadata_bytes
            )));
        }
        check_terms(&new.terms, new.id)
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
                Signal::Task(..) | Signal::Rescan | Signal::Schedules => continue,
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

/// Say which task of several was refused.
fn of_the_batch(at: usize, error: QueueError) -> QueueError {
    match error {
        QueueError::Refused(reason) if at > 0 => {
            QueueError::Refused(format!("task {} of the batch: {reason}", at + 1))
        }
        other => other,
    }
}

/// The task of a checked description.
fn made(new: NewTask, now: UnixMs) -> Task {
    Task {
        id: new.id.unwrap_or_else(|| TaskId(uuid::Uuid::now_v7())),
        task_type: new.task_type,
        queue: new.queue,
        tenant: new.tenant,
        priority: new.priority,
        payload: new.payload,
        metadata: new.metadata,
        trace: new.trace,
        limits: new.limits,
        submitted_at: now,
        terms: new.terms,
    }
}

/// The queues of tasks that wait for others.
fn waiting_queues(tasks: &[Task]) -> impl Iterator<Item = QueueName> {
    tasks.iter().filter(|task| !task.terms.after.is_empty()).map(|task| task.queue.clone())
}

/// Refuse terms that cannot be kept.
fn check_terms(terms: &Terms, id: Option<TaskId>) -> Result<(), QueueError> {
    let refuse = |reason: String| Err(QueueError::Refused(reason));
    if terms.after.len() > Terms::MAX_PARENTS {
        return refuse(format!(
            "the task waits for {} others; at most {} are allowed",
            terms.after.len(),
            Terms::MAX_PARENTS
        ));
    }
    if let Some(parent) = terms.after.iter().find(|parent| Some(parent.id) == id) {
        return refuse(format!("the task waits for itself, `{parent}`"));
    }
    if terms.unique.as_ref().is_some_and(|unique| unique.window_ms == Some(0)) {
        return refuse("the unique window is 0; leave it out to hold the key until the end".into());
    }
    if let (Some(expires), Some(start)) = (terms.expires_at, terms.not_before)
        && expires <= start
    {
        return refuse("the task expires before it may start".into());
    }
    if let (Some(deadline), Some(start)) = (terms.deadline_at, terms.not_before)
        && deadline <= start
    {
        return refuse("the task's deadline is before it may start".into());
    }
    Ok(())
}

/// The wall clock. Producers stamp tasks with it; the broker's own clock decides when
/// anything is due.
fn unix_ms() -> UnixMs {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
