//! The producer's side: check what is described, make tasks of it, hand them to the broker.
//!
//! Everything is checked before anything is sent. Which broker it is, is not known here.

mod draft;
mod ends;
mod wait;

use std::collections::BTreeSet;
use std::sync::Arc;

use bulkhead_core::{BatchId, BatchRef, QueueName, Task, TaskId, TaskRef, UnixMs};

pub use self::draft::{NewBatch, NewTask, SubmitLimits};
use self::ends::Ends;
use crate::batch::Batch;
use crate::broker::Broker;
use crate::error::QueueError;
use crate::view::SubmitAnswer;

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The task's id.
    pub id: TaskId,
    /// Whether it is stored, and if not, why.
    pub answer: SubmitAnswer,
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
    /// Those who wait, whichever clone they wait with.
    ends: Arc<Ends>,
}

impl Client {
    /// A client of this broker.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, limits: SubmitLimits) -> Self {
        Self { broker, limits, ends: Arc::default() }
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
            self.limits.check(task).map_err(|e| of_the_batch(at, e))?;
        }
        // Made a batch at a time: all at once would be fresh memory, which the system clears.
        let mut submitted = Vec::with_capacity(tasks.len());
        let mut waiting = BTreeSet::new();
        let mut tasks = tasks.into_iter().map(|task| task.made(now));
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
            self.limits.check(&task).map_err(|e| of_the_batch(at, e))?;
            tasks.push(task.made(now));
        }
        let callback = match new.callback {
            Some(task) => {
                self.limits.check(&task)?;
                Some(NewTask { queue: new.queue.clone(), ..task }.made(now))
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

/// The queues of tasks that wait for others.
fn waiting_queues(tasks: &[Task]) -> impl Iterator<Item = QueueName> {
    tasks.iter().filter(|task| !task.terms.after.is_empty()).map(|task| task.queue.clone())
}

/// The wall clock. Producers stamp tasks with it; the broker's own clock decides when
/// anything is due.
fn unix_ms() -> UnixMs {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
