//! Handlers that tell what they see of the world around them.

use std::fs::{self, File};

use bulkhead_guest::prelude::*;

/// What a handler can reach without being granted anything.
#[derive(Serialize)]
pub(crate) struct Probe {
    env: Vec<(String, String)>,
    args: Vec<String>,
    root_readable: bool,
    root_error: Option<String>,
    passwd_readable: bool,
    passwd_error: Option<String>,
}

/// Tries the environment, the arguments and the file system. The network is tried
/// by the guest `networked`, because merely naming it is an import.
#[handler]
pub(crate) fn probe(_: Payload) -> Probe {
    let root_error = fs::read_dir("/").err().map(|error| error.to_string());
    let passwd_error = File::open("/etc/passwd").err().map(|error| error.to_string());
    Probe {
        env: std::env::vars().collect(),
        args: std::env::args().collect(),
        root_readable: root_error.is_none(),
        root_error,
        passwd_readable: passwd_error.is_none(),
        passwd_error,
    }
}

/// The task and the attempt as the handler sees them.
#[derive(Serialize)]
pub(crate) struct Seen {
    id: String,
    task_type: String,
    tenant: String,
    queue: String,
    attempt: u32,
    max_attempts: u32,
    deadline_ms: u64,
    metadata: Vec<(String, String)>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    content_type: String,
    payload: String,
    remaining_ms: u64,
    cancelled: bool,
}

/// Returns the task record, the time that remains and whether it is cancelled.
#[handler]
pub(crate) fn context(payload: Payload, task: &Task) -> Seen {
    let task = task.clone();
    let (traceparent, tracestate) = match task.trace {
        Some(trace) => (Some(trace.traceparent), trace.tracestate),
        None => (None, None),
    };
    Seen {
        id: task.id,
        task_type: task.task_type,
        tenant: task.tenant,
        queue: task.queue,
        attempt: task.attempt,
        max_attempts: task.max_attempts,
        deadline_ms: task.deadline_ms,
        metadata: task.metadata,
        traceparent,
        tracestate,
        content_type: payload.content_type,
        payload: String::from_utf8_lossy(&payload.data).into_owned(),
        remaining_ms: u64::try_from(bulkhead_guest::context::remaining().as_millis())
            .unwrap_or(u64::MAX),
        cancelled: bulkhead_guest::context::cancelled(),
    }
}

/// The wall clock, in nanoseconds since the Unix epoch: when the handler began.
#[handler]
pub(crate) fn clock(_: Payload) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_nanos()).to_string()
}
