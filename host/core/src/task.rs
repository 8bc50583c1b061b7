//! The task: one unit of work, as its producer described it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LimitsRequest, Priority, QueueName, RetryPolicy, TaskType, TenantName, UnixMs};

/// A task's id: a UUID, version 7 when Bulkhead made it, so that ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub Uuid);

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
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
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
#[derive(Debug, Clone, PartialEq)]
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
    /// The producer's retry policy; without it the task type's or the queue's applies.
    pub retry: Option<RetryPolicy>,
    /// How long the ended task and its result are kept, in milliseconds; without it
    /// the queue's retention applies.
    pub retention_ms: Option<u64>,
    /// When the producer submitted it, by the producer's clock.
    pub submitted_at: UnixMs,
    /// Not to be started before this time.
    pub not_before: Option<UnixMs>,
}
