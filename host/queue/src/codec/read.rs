//! Reading: bounded in size, depth and entries, and never a panic.

use std::io::Cursor;

use bulkhead_core::{Payload, Priority, QueueName, Task, TaskId, TaskType, TenantName, Terms};
use rmp_serde::decode::{Deserializer, ReadReader};
use serde::Deserialize;

use super::shape::{EnvelopeOwned, HeadOwned};
use super::{MAX_DEPTH, MAX_ENTRIES, MAX_RECORD_BYTES, Unreadable, VERSION, encode_task};
use crate::view::Entry;

/// A record taken apart.
pub(crate) struct Record {
    pub(crate) task: Task,
    pub(crate) history: Vec<Entry>,
}

/// Read a record.
pub(crate) fn decode(queue: &QueueName, id: TaskId, bytes: &[u8]) -> Result<Record, Unreadable> {
    read(queue, id, bytes)
        .map_err(|reason| Unreadable { reason, bytes: bytes[..bytes.len().min(64 << 10)].to_vec() })
}

/// Read one entry that was written by itself.
pub(crate) fn decode_entry(bytes: &[u8]) -> Result<Entry, String> {
    let mut reader = Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(MAX_DEPTH);
    next(&mut reader, "history entry")
}

/// A record with another payload, its history unchanged.
pub(crate) fn edit(
    queue: &QueueName,
    id: TaskId,
    bytes: &[u8],
    payload: Payload,
) -> Result<Vec<u8>, String> {
    let Record { task, .. } = read(queue, id, bytes)?;
    let mut reader = Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(MAX_DEPTH);
    let _: HeadOwned = next(&mut reader, "head")?;
    let _: EnvelopeOwned = next(&mut reader, "envelope")?;
    let history = usize::try_from(reader.position()).unwrap_or(bytes.len()).min(bytes.len());
    let mut edited = encode_task(&Task { payload, ..task }).map_err(|e| e.to_string())?;
    edited.extend_from_slice(&bytes[history..]);
    Ok(edited)
}

type Reader<'a> = Deserializer<ReadReader<Cursor<&'a [u8]>>>;

fn read(queue: &QueueName, id: TaskId, bytes: &[u8]) -> Result<Record, String> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(format!("{} bytes are over the bound of {MAX_RECORD_BYTES}", bytes.len()));
    }
    let mut reader = Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(MAX_DEPTH);
    let head: HeadOwned = next(&mut reader, "head")?;
    if head.0 != VERSION {
        return Err(format!("format version {} is not {VERSION}", head.0));
    }
    let envelope: EnvelopeOwned = next(&mut reader, "envelope")?;
    let mut history = Vec::new();
    while reader.position() < bytes.len() as u64 {
        if history.len() == MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} history entries"));
        }
        history.push(next(&mut reader, "history entry")?);
    }
    let task = Task {
        id,
        task_type: TaskType::new(&head.1).map_err(|e| e.to_string())?,
        queue: queue.clone(),
        tenant: TenantName::new(&head.2).map_err(|e| e.to_string())?,
        priority: Priority::try_from(head.3).map_err(|e| e.to_string())?,
        payload: Payload::new(envelope.1, envelope.2),
        metadata: envelope.3,
        trace: envelope.4,
        limits: envelope.5.unwrap_or_default(),
        submitted_at: envelope.0,
        terms: terms(head.4, envelope.6),
    };
    Ok(Record { task, history })
}

/// Put a task's terms together again.
fn terms(bonds: Terms, course: Option<Terms>) -> Terms {
    let course = course.unwrap_or_default();
    let Terms { retry, not_before, deadline_at, schedule, depth, .. } = course;
    Terms { retry, not_before, deadline_at, schedule, depth, ..bonds }
}

/// Read the next value.
fn next<'de, T: Deserialize<'de>>(reader: &mut Reader<'_>, what: &str) -> Result<T, String> {
    T::deserialize(reader).map_err(|e| format!("bad {what}: {e}"))
}
