//! What a producer describes, and what of it is refused before any broker sees it.
//!
//! A draft becomes a task once it has been checked: it gets an id if it has none, and the time.
//! No broker is known here.

use bulkhead_core::{
    LimitsRequest, Payload, Priority, QueueName, Task, TaskId, TaskType, TenantName, Terms,
    TraceContext, UnixMs,
};

use crate::batch::Over;
use crate::error::QueueError;

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

impl SubmitLimits {
    /// Refuse a task that no broker should be given.
    pub(super) fn check(&self, new: &NewTask) -> Result<(), QueueError> {
        let bytes = new.payload.data.len();
        if bytes > self.payload_bytes {
            return Err(QueueError::Refused(format!(
                "the payload has {bytes} bytes; at most {} are allowed (setting `submit.payload_bytes`)",
                self.payload_bytes
            )));
        }
        let bytes: usize = new.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > self.metadata_bytes || new.payload.content_type.len() > 256 {
            return Err(QueueError::Refused(format!(
                "the metadata has {bytes} bytes and the content type {}; at most {} and 256 are \
                 allowed (setting `submit.metadata_bytes`)",
                new.payload.content_type.len(),
                self.metadata_bytes
            )));
        }
        check_terms(&new.terms, new.id)
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

    /// The task of a checked description.
    pub(super) fn made(self, now: UnixMs) -> Task {
        Task {
            id: self.id.unwrap_or_else(|| TaskId(uuid::Uuid::now_v7())),
            task_type: self.task_type,
            queue: self.queue,
            tenant: self.tenant,
            priority: self.priority,
            payload: self.payload,
            metadata: self.metadata,
            trace: self.trace,
            limits: self.limits,
            submitted_at: now,
            terms: self.terms,
        }
    }
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
