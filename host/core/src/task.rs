//! The task: one unit of work, as its producer described it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LimitsRequest, Priority, QueueName, TaskRef, TaskType, TenantName, Terms, UnixMs};

/// A task's id: a UUID, version 7 when Bulkhead made it, so that ids sort by time. It is
/// written in its hyphenated form everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(pub Uuid);

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no {what}'s id; write a UUID, such as 018f0000-0000-7000-8000-000000000001",
    text.escape_debug())]
pub struct IdError {
    what: &'static str,
    /// Its beginning.
    text: String,
}

impl IdError {
    /// How much of a text is quoted, in characters.
    const QUOTED: usize = 64;

    pub(crate) fn of(what: &'static str, text: &str) -> Self {
        Self { what, text: text.chars().take(Self::QUOTED).collect() }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TaskId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::parse_str(text).map(Self).map_err(|_| IdError::of("task", text))
    }
}

impl TryFrom<String> for TaskId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.to_string()
    }
}

/// Bytes and what they mean.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Payload {
    /// Media type of `data`, for example `application/json`.
    pub content_type: String,
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

impl Payload {
    /// Media type of JSON text.
    pub const JSON: &'static str = "application/json";
    /// Media type of MessagePack.
    pub const MSGPACK: &'static str = "application/msgpack";
    /// Media type of plain text.
    pub const TEXT: &'static str = "text/plain; charset=utf-8";
    /// Media type of bytes without a meaning of their own.
    pub const BINARY: &'static str = "application/octet-stream";

    /// Bytes of a given media type.
    pub fn new(content_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { content_type: content_type.into(), data: data.into() }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({}, {} bytes)", self.content_type, self.data.len())
    }
}

/// W3C Trace Context of the producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The `traceparent` header value.
    pub traceparent: String,
    /// The `tracestate` header value, if there was one.
    pub tracestate: Option<String>,
}

/// One unit of work, complete as submitted. It never changes afterwards; what
/// happens to it is recorded beside it, one [`crate::AttemptReport`] an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id, unique in its queue.
    pub id: TaskId,
    /// Which handler it is for.
    pub task_type: TaskType,
    /// The queue it was submitted to.
    pub queue: QueueName,
    /// Whose it is.
    pub tenant: TenantName,
    /// How urgent it is among its tenant's tasks.
    pub priority: Priority,
    /// The input.
    pub payload: Payload,
    /// The producer's key-value pairs, in the producer's order.
    pub metadata: Vec<(String, String)>,
    /// The producer's trace.
    pub trace: Option<TraceContext>,
    /// Limits that the producer asks for; they can only lower the effective ones.
    pub limits: LimitsRequest,
    /// When the producer submitted it, by the producer's clock.
    pub submitted_at: UnixMs,
    /// When it may run, with whom it competes, what it waits for.
    pub terms: Terms,
}

impl Task {
    /// The task and its queue.
    #[must_use]
    pub fn task_ref(&self) -> TaskRef {
        TaskRef { queue: self.queue.clone(), id: self.id }
    }
}
