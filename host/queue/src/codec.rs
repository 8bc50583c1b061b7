//! How a task's record is written.
//!
//! A record is a sequence of MessagePack values: a head that scripts read
//! `[version, type, tenant, priority]`, the envelope, and one entry per event since.
//! It only grows at its end. Whatever else the bytes hold, decoding is bounded in
//! size and depth and gives an [`Unreadable`], never a panic. `docs/redis.md`
//! describes the format for producers in other languages.

use std::io::Cursor;

use bulkhead_core::{
    AttemptReport, LimitsRequest, Payload, Priority, QueueName, RetryPolicy, Task, TaskId,
    TaskType, TenantName, TraceContext, UnixMs,
};
use rmp_serde::decode::{Deserializer, ReadReader};
use serde::{Deserialize, Serialize};

use crate::view::{Entry, Next};

/// The version of the record format.
const VERSION: u8 = 1;
/// Deepest nesting that decoding follows; the format needs 8.
const MAX_DEPTH: usize = 32;
/// Most entries that decoding reads.
const MAX_ENTRIES: usize = 10_000;
/// Largest record that is decoded, in bytes.
pub(crate) const MAX_RECORD_BYTES: usize = 256 << 20;

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored record cannot be read: {reason}")]
pub struct Unreadable {
    /// What is wrong with it.
    pub reason: String,
    /// The record's bytes, at most 64 KiB of them.
    pub bytes: Vec<u8>,
}

type Reader<'a> = Deserializer<ReadReader<Cursor<&'a [u8]>>>;

#[derive(Serialize, Deserialize)]
struct Head<S>(u8, S, S, u8);

/// What follows the head: submitted at, content type, payload, metadata, trace, limits,
/// retry policy, retention, not before.
#[derive(Serialize)]
struct Envelope<'a>(
    UnixMs,
    &'a str,
    #[serde(with = "serde_bytes")] &'a [u8],
    &'a [(String, String)],
    Option<&'a TraceContext>,
    Option<&'a LimitsRequest>,
    Option<&'a RetryPolicy>,
    Option<u64>,
    Option<UnixMs>,
);

/// An [`Envelope`] as it is read.
#[derive(Deserialize)]
struct EnvelopeOwned(
    UnixMs,
    String,
    #[serde(with = "serde_bytes")] Vec<u8>,
    Vec<(String, String)>,
    Option<TraceContext>,
    Option<LimitsRequest>,
    Option<RetryPolicy>,
    Option<u64>,
    Option<UnixMs>,
);

/// Write a new task's record.
pub(crate) fn encode_task(task: &Task) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::with_capacity(task.payload.data.len() + 160);
    let head = Head(VERSION, task.task_type.as_str(), task.tenant.as_str(), task.priority.level());
    rmp_serde::encode::write(&mut bytes, &head)?;
    let envelope = Envelope(
        task.submitted_at,
        &task.payload.content_type,
        &task.payload.data,
        &task.metadata,
        task.trace.as_ref(),
        Some(&task.limits).filter(|limits| !limits.is_empty()),
        task.retry.as_ref(),
        task.retention_ms,
        task.not_before,
    );
    rmp_serde::encode::write(&mut bytes, &envelope)?;
    Ok(bytes)
}

/// [`Entry::Ended`] without taking the report.
#[derive(Serialize)]
enum EntryRef<'a> {
    #[serde(rename = "E")]
    Ended(Next, &'a AttemptReport),
}

/// Write the entry of an ended attempt, to be appended to a record.
pub(crate) fn encode_entry(
    next: Next,
    report: &AttemptReport,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::with_capacity(224);
    rmp_serde::encode::write(&mut bytes, &EntryRef::Ended(next, report))?;
    Ok(bytes)
}

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

fn read(queue: &QueueName, id: TaskId, bytes: &[u8]) -> Result<Record, String> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(format!("{} bytes are over the bound of {MAX_RECORD_BYTES}", bytes.len()));
    }
    let mut reader = Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(MAX_DEPTH);
    let head: Head<String> = next(&mut reader, "head")?;
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
        retry: envelope.6,
        retention_ms: envelope.7,
        submitted_at: envelope.0,
        not_before: envelope.8,
    };
    Ok(Record { task, history })
}

/// Read the next value.
fn next<'de, T: Deserialize<'de>>(reader: &mut Reader<'_>, what: &str) -> Result<T, String> {
    T::deserialize(reader).map_err(|e| format!("bad {what}: {e}"))
}

#[cfg(test)]
mod tests {
    use bulkhead_core::{Backoff, Digest, Metering, Outcome};
    use proptest::prelude::*;

    use super::*;
    use crate::view::attempts_in;

    fn task() -> Task {
        Task {
            id: TaskId(uuid::Uuid::nil()),
            task_type: TaskType::new("resize").unwrap(),
            queue: QueueName::default(),
            tenant: TenantName::new("acme").unwrap(),
            priority: Priority::HIGH,
            payload: Payload::new("image/png", vec![0, 159, 255]),
            metadata: vec![("width".into(), "64".into())],
            trace: Some(TraceContext { traceparent: "00-1-2-01".into(), tracestate: None }),
            limits: LimitsRequest { fuel: Some(7), ..Default::default() },
            retry: Some(RetryPolicy {
                backoff: Backoff::Linear { initial_ms: 1, step_ms: 2, max_ms: 3 },
                ..Default::default()
            }),
            retention_ms: Some(60_000),
            submitted_at: 1_700_000_000_000,
            not_before: None,
        }
    }

    fn ended() -> Entry {
        Entry::Ended(
            Next::Retry,
            Box::new(AttemptReport {
                attempt: 1,
                started_at: 5,
                host: "h".into(),
                plugin: Digest::default(),
                metering: Metering::default(),
                logs: Vec::new(),
                outcome: Outcome::Done(Payload::new("text/plain", "ok")),
            }),
        )
    }

    #[test]
    fn a_record_round_trips_with_its_history() {
        let task = task();
        let mut bytes = encode_task(&task).unwrap();
        let history = vec![
            ended(),
            Entry::Rerun { at: 9 },
            Entry::LeaseLost { at: 10, host: "gone".into() },
            ended(),
        ];
        for entry in &history {
            bytes.extend(rmp_serde::to_vec(entry).unwrap());
        }
        let record = decode(&task.queue, task.id, &bytes).unwrap();
        assert_eq!(record.task, task);
        assert_eq!(record.history, history);
        assert_eq!(attempts_in(&history), 2);
    }

    #[test]
    fn an_entry_is_written_alike_by_value_and_by_reference() {
        let Entry::Ended(next, report) = ended() else { unreachable!() };
        assert_eq!(encode_entry(next, &report).unwrap(), rmp_serde::to_vec(&ended()).unwrap());
    }

    #[test]
    fn deep_nesting_and_huge_lengths_are_refused() {
        let queue = QueueName::default();
        let nested = vec![0x91; 1_000_000];
        // An array, a string and a map that claim four billion members each.
        let lies: [&[u8]; 3] =
            [&[0xdd, 255, 255, 255, 255], &[0xdb, 255, 255, 255, 255], &[0xdf, 255, 255, 255, 255]];
        for bytes in [&nested[..]].into_iter().chain(lies) {
            assert!(decode(&queue, TaskId(uuid::Uuid::nil()), bytes).is_err());
        }
        let mut record = encode_task(&task()).unwrap();
        record.extend_from_slice(&nested);
        let unreadable = decode(&queue, task().id, &record).map(|_| ()).unwrap_err();
        assert!(unreadable.bytes.len() <= 64 << 10);
        assert!(unreadable.to_string().contains("history entry"), "{unreadable}");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&QueueName::default(), TaskId(uuid::Uuid::nil()), &bytes);
        }

        #[test]
        fn a_damaged_record_never_panics(at in 0usize..200, byte in any::<u8>(), cut in 0usize..200) {
            let mut bytes = encode_task(&task()).unwrap();
            bytes.extend(rmp_serde::to_vec(&ended()).unwrap());
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut));
            let _ = decode(&QueueName::default(), task().id, &bytes);
        }
    }
}
