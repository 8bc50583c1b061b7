//! How a task's record is written.
//!
//! A record is a sequence of MessagePack values: a head that scripts read
//! `[version, type, tenant, priority]`, the envelope, and one entry per event since.
//! It only grows at its end. Whatever else the bytes hold, decoding is bounded in
//! size and depth and gives an [`Unreadable`], never a panic. `docs/redis.md`
//! describes the format for producers in other languages.

use std::io::Cursor;

use bulkhead_core::{
    AttemptReport, BatchRef, LimitsRequest, OnFailedParent, Payload, Priority, QueueName,
    RetryRequest, Task, TaskId, TaskRef, TaskType, TenantName, TermKey, Terms, TraceContext,
    Unique, UnixMs,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the stored record cannot be read: {reason}")]
pub struct Unreadable {
    /// What is wrong with it.
    pub reason: String,
    /// The record's bytes, at most 64 KiB of them.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// The longest time that scripts reckon with, in milliseconds: about 9,000 years. Lua's
/// numbers are exact up to 2^53, and Redis refuses an expiry beyond its own range in the
/// middle of a script.
pub(crate) const FOREVER_MS: u64 = 1 << 48;

/// A time or a span as scripts can reckon with it.
pub(crate) fn reckonable(ms: u64) -> u64 {
    ms.min(FOREVER_MS)
}

type Reader<'a> = Deserializer<ReadReader<Cursor<&'a [u8]>>>;

/// What scripts read: version, type, tenant, priority, and the terms that bind a task to
/// others if it has any.
#[derive(Serialize)]
struct Head<'a>(u8, &'a str, &'a str, u8);

#[derive(Serialize)]
struct BoundHead<'a>(u8, &'a str, &'a str, u8, Bonds<'a>);

/// A head as it is read.
#[derive(Deserialize)]
struct HeadOwned(u8, String, String, u8, #[serde(default)] Terms);

/// The terms that scripts act on.
#[derive(Serialize)]
struct Bonds<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a TermKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<Unique>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    after: &'a [TaskRef],
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failed_parent: Option<OnFailedParent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'a BatchRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_ms: Option<u64>,
}

impl<'a> Bonds<'a> {
    /// The terms of a task that scripts act on; nothing if there are none.
    fn of(terms: &'a Terms) -> Option<Self> {
        let Terms { key, unique, after, on_failed_parent, batch, expires_at, retention_ms, .. } =
            terms;
        let bound = key.is_some()
            || unique.is_some()
            || !after.is_empty()
            || batch.is_some()
            || expires_at.is_some()
            || retention_ms.is_some();
        bound.then(|| Self {
            key: key.as_ref(),
            unique: unique.as_ref().map(|unique| Unique {
                window_ms: unique.window_ms.map(reckonable),
                ..unique.clone()
            }),
            after,
            on_failed_parent: Some(*on_failed_parent)
                .filter(|policy| *policy != Default::default()),
            batch: batch.as_ref(),
            expires_at: expires_at.map(reckonable),
            retention_ms: retention_ms.map(reckonable),
        })
    }
}

/// The terms that only hosts act on.
#[derive(Serialize)]
struct Course<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<&'a RetryRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<UnixMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_at: Option<UnixMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    depth: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl<'a> Course<'a> {
    fn of(terms: &'a Terms) -> Option<Self> {
        let Terms { retry, not_before, deadline_at, schedule, depth, .. } = terms;
        let any = retry.is_some()
            || not_before.is_some()
            || deadline_at.is_some()
            || schedule.is_some()
            || *depth > 0;
        any.then_some(Self {
            retry: retry.as_ref(),
            not_before: *not_before,
            deadline_at: *deadline_at,
            schedule: schedule.as_deref(),
            depth: *depth,
        })
    }
}

/// What follows the head: submitted at, content type, payload, metadata, trace, limits and
/// the other terms.
#[derive(Serialize)]
struct Envelope<'a>(
    UnixMs,
    &'a str,
    #[serde(with = "serde_bytes")] &'a [u8],
    &'a [(String, String)],
    Option<&'a TraceContext>,
    Option<&'a LimitsRequest>,
    Option<Course<'a>>,
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
    Option<Terms>,
);

/// Write a new task's record.
pub(crate) fn encode_task(task: &Task) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::with_capacity(task.payload.data.len() + 160);
    let mut writer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    write_head(task, &mut writer)?;
    let envelope = Envelope(
        task.submitted_at,
        &task.payload.content_type,
        &task.payload.data,
        &task.metadata,
        task.trace.as_ref(),
        Some(&task.limits).filter(|limits| !limits.is_empty()),
        Course::of(&task.terms),
    );
    envelope.serialize(&mut writer)?;
    Ok(bytes)
}

type Writer<'a> = rmp_serde::Serializer<
    &'a mut Vec<u8>,
    rmp_serde::config::StructMapConfig<rmp_serde::config::DefaultConfig>,
>;

fn write_head(task: &Task, writer: &mut Writer<'_>) -> Result<(), rmp_serde::encode::Error> {
    let (task_type, tenant) = (task.task_type.as_str(), task.tenant.as_str());
    let level = task.priority.level();
    match Bonds::of(&task.terms) {
        None => Head(VERSION, task_type, tenant, level).serialize(writer),
        Some(bonds) => BoundHead(VERSION, task_type, tenant, level, bonds).serialize(writer),
    }
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

/// Read one entry that was written by itself.
pub(crate) fn decode_entry(bytes: &[u8]) -> Result<Entry, String> {
    let mut reader = Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(MAX_DEPTH);
    next(&mut reader, "history entry")
}

/// A record taken apart.
pub(crate) struct Record {
    pub(crate) task: Task,
    pub(crate) history: Vec<Entry>,
}

/// Write an entry that is made here, to be appended to a record.
pub(crate) fn encode_made(entry: &Entry) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec(entry)
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

/// A new task's record in the pieces between which a script puts the submission's time and
/// further metadata: head, content type and payload, metadata, the rest.
pub(crate) struct Pieces {
    pub(crate) head: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) metadata: Vec<u8>,
    pub(crate) rest: Vec<u8>,
}

/// Write a new task's record in pieces.
pub(crate) fn encode_pieces(task: &Task) -> Result<Pieces, rmp_serde::encode::Error> {
    fn bytes(
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), rmp_serde::encode::Error>,
    ) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        let mut bytes = Vec::new();
        write(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map())?;
        Ok(bytes)
    }
    let limits = Some(&task.limits).filter(|limits| !limits.is_empty());
    Ok(Pieces {
        head: bytes(|to| write_head(task, to))?,
        content: bytes(|to| {
            task.payload.content_type.serialize(&mut *to)?;
            serde_bytes::Bytes::new(&task.payload.data).serialize(to)
        })?,
        metadata: bytes(|to| task.metadata.iter().try_for_each(|pair| pair.serialize(&mut *to)))?,
        rest: bytes(|to| {
            task.trace.serialize(&mut *to)?;
            limits.serialize(&mut *to)?;
            Course::of(&task.terms).serialize(to)
        })?,
    })
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

#[cfg(test)]
mod tests {
    use bulkhead_core::{Backoff, Conflict, Digest, Metering, Outcome, State};
    use proptest::prelude::*;

    use super::*;
    use crate::view::{CancelReason, attempts_in};

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
            submitted_at: 1_700_000_000_000,
            terms: Terms {
                retry: Some(RetryRequest {
                    backoff: Some(Backoff::Linear { initial_ms: 1, step_ms: 2, max_ms: 3 }),
                    ..Default::default()
                }),
                retention_ms: Some(60_000),
                depth: 2,
                ..Default::default()
            },
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
                cached: false,
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
            Entry::Cancelled { at: 11, reason: None },
            Entry::Cancelled { at: 11, reason: Some(CancelReason::ReplacedBy(task.id)) },
            Entry::Parent {
                parent: task.task_ref(),
                state: Some(State::Completed),
                output: Some(Payload::new("text/plain", "x")),
            },
            Entry::ParentFailed { at: 12, parent: task.task_ref() },
            Entry::Expired { at: 13 },
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
    fn only_bonds_lengthen_the_head() {
        let mut task = task();
        let head = |task: &Task| encode_task(task).unwrap()[0];
        task.terms.retention_ms = None;
        assert_eq!(head(&task), 0x94);
        let reference = |text: &str| text.parse().unwrap();
        task.terms.key = Some(TermKey::new("smtp").unwrap());
        task.terms.unique = Some(Unique {
            key: TermKey::new("u").unwrap(),
            window_ms: Some(5),
            conflict: Conflict::Replace,
        });
        task.terms.after = vec![reference("mail/0190163d-8694-739b-aea5-966c26f8ad91")];
        task.terms.on_failed_parent = OnFailedParent::Cancel;
        task.terms.expires_at = Some(9);
        assert_eq!(head(&task), 0x95);
        let bytes = encode_task(&task).unwrap();
        assert_eq!(decode(&task.queue, task.id, &bytes).unwrap().task, task);
    }

    #[test]
    fn the_pieces_make_the_record() {
        let mut task = task();
        task.terms.deadline_at = Some(5);
        let Pieces { head, content, metadata, rest } = encode_pieces(&task).unwrap();
        let time = rmp_serde::to_vec(&task.submitted_at).unwrap();
        let count = 0x90 | u8::try_from(task.metadata.len()).unwrap();
        let whole = [&head[..], &[0x97], &time, &content, &[count], &metadata, &rest].concat();
        assert_eq!(whole, encode_task(&task).unwrap());
    }

    #[test]
    fn an_edit_keeps_all_but_the_payload() {
        let task = task();
        let mut bytes = encode_task(&task).unwrap();
        bytes.extend(encode_made(&Entry::Rerun { at: 9 }).unwrap());
        let payload = Payload::new("text/plain", "other");
        let edited = edit(&task.queue, task.id, &bytes, payload.clone()).unwrap();
        let record = decode(&task.queue, task.id, &edited).unwrap();
        assert_eq!(record.task, Task { payload, ..task });
        assert_eq!(record.history, [Entry::Rerun { at: 9 }]);
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
