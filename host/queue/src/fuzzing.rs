//! Doors for the fuzz targets in `tests/fuzz`, open with the feature `fuzzing` only.
//!
//! Each leads straight to code that reads what somebody else wrote. None does anything of its
//! own, and no promise is made about any of them.

use bulkhead_core::{Payload, QueueName, Task, TaskId};

use crate::codec::{self, Unreadable};
use crate::view::Entry;

/// Read a record.
pub fn record(
    queue: &QueueName,
    id: TaskId,
    bytes: &[u8],
) -> Result<(Task, Vec<Entry>), Unreadable> {
    codec::decode(queue, id, bytes).map(|record| (record.task, record.history))
}

/// Write a task as a record without a history.
pub fn write(task: &Task) -> Result<Vec<u8>, String> {
    codec::encode_task(task).map_err(|error| error.to_string())
}

/// Read one entry of a history.
pub fn entry(bytes: &[u8]) -> Result<Entry, String> {
    codec::decode_entry(bytes)
}

/// Put another payload into a record.
pub fn edit(
    queue: &QueueName,
    id: TaskId,
    bytes: &[u8],
    payload: Payload,
) -> Result<Vec<u8>, String> {
    codec::edit(queue, id, bytes, payload)
}
