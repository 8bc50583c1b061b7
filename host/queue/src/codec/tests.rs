//! Records round-trip, and hostile bytes are refused in bounds.

use bulkhead_core::{
    AttemptReport, Backoff, Conflict, Digest, LimitsRequest, Metering, OnFailedParent, Outcome,
    Payload, Priority, QueueName, RetryRequest, State, Task, TaskId, TaskType, TenantName, TermKey,
    Terms, TraceContext, Unique,
};
use proptest::prelude::*;

use super::write::Pieces;
use super::*;
use crate::view::{CancelReason, Entry, Next, attempts_in};

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
            plugin: Some("acme/resize".parse().unwrap()),
            digest: Digest::default(),
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
fn a_plugins_name_lengthens_an_entry_by_its_bytes_only() {
    let Entry::Ended(next, mut report) = ended() else { unreachable!() };
    let plugin = report.plugin.take().unwrap();
    let without = encode_entry(next, &report).unwrap().len();
    let bytes = plugin.as_str().len();
    report.plugin = Some(plugin);
    assert_eq!(encode_entry(next, &report).unwrap().len(), without + bytes);
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
