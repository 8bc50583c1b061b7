//! What comes from the broker, from its file and from other processes.

use std::sync::OnceLock;

use bulkhead_api::broker::fuzzing::{ARCHIVED, OPERATIONS, answered, asked, signals};
use bulkhead_core::{Payload, QueueName, TaskId};
use bulkhead_queue::machine::Restoring;
use bulkhead_queue::{Clock, EmbeddedBroker, fuzzing, server_said};
use futures::executor::block_on;

use crate::choice;

fn queue() -> &'static QueueName {
    static QUEUE: OnceLock<QueueName> = OnceLock::new();
    QUEUE.get_or_init(|| QueueName::new("jobs").unwrap())
}

/// One id for every record.
fn id() -> TaskId {
    "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap()
}

/// A task's record: what is read is written so that the same is read, and another payload
/// changes nothing else.
pub fn record(data: &[u8]) {
    let _ = fuzzing::entry(data);
    let Ok((task, history)) = fuzzing::record(queue(), id(), data) else { return };
    let written = fuzzing::write(&task).expect("what was read can be written");
    let (again, none) = fuzzing::record(queue(), id(), &written).expect("and read");
    assert!(none.is_empty());
    assert_eq!(fuzzing::write(&again).as_deref(), Ok(&*written), "in one form");
    let payload = Payload::new("text/plain", b"other".to_vec());
    let edited = fuzzing::edit(queue(), id(), data, payload.clone()).expect("it can be edited");
    let (edited, kept) = fuzzing::record(queue(), id(), &edited).expect("and read then");
    assert_eq!(edited.payload, payload);
    assert_eq!((edited.task_type, edited.tenant), (task.task_type, task.tenant));
    assert_eq!(kept.len(), history.len());
}

/// A server's answer, as it comes over the wire.
pub fn reply(data: &[u8]) {
    server_said(queue(), id(), data);
}

/// What another process says to a host, and a host to another process: the first byte says
/// which, and of which operation.
pub fn remote(data: &[u8]) {
    let (kind, data) = choice(data);
    let (which, data) = choice(data);
    let all = OPERATIONS.len() + ARCHIVED.len() + 1;
    let mut operations = OPERATIONS.iter().chain(ARCHIVED);
    let operation = operations.nth(usize::from(which) % all).copied().unwrap_or("events");
    match kind % 3 {
        0 => {
            let broker = EmbeddedBroker::in_memory_at(Clock::read_by(|| 1_700_000_000_000_000));
            block_on(asked(&broker, operation, data));
            // The broker stands, whatever it was asked.
            assert!(block_on(asked(&broker, "queues", &[0xc0])));
            assert!(block_on(asked(&broker, "check", &[0xc0])));
        }
        1 => {
            let status = if which & 0x80 == 0 { 200 } else { 400 };
            answered(operation, status, data);
        }
        _ => {
            let (first, second) = data.split_at(usize::from(which).min(data.len()));
            let in_two = signals(&[first, second]);
            assert_eq!(in_two, signals(&[data]), "pieces do not matter");
        }
    }
}

/// The rows of an embedded broker's file: each is a key and a value, both behind their length
/// in two bytes. What makes sense as a machine can be looked at, repaired and written.
pub fn rows(mut data: &[u8]) {
    let mut restoring = Restoring::default();
    while let Some((key, rest)) = sized(data) {
        let Some((value, rest)) = sized(rest) else { break };
        data = rest;
        if restoring.row(key, value).is_err() {
            return;
        }
    }
    let Ok(mut machine) = restoring.finish() else { return };
    for queue in machine.queues() {
        let _ = machine.stats(&queue, 1_700_000_000_000_000);
        machine.examine(&queue, true);
        machine.reclaim_all(1_700_000_000_000_000);
        machine.examine(&queue, true);
        let left = machine.examine(&queue, false);
        assert!(left.is_empty(), "what was repaired is whole: {left:?}");
    }
    let mut rows = machine.rows();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    let mut again = Restoring::default();
    for row in &rows {
        if let Some(value) = &row.value {
            again.row(&row.key, value).expect("what was written can be read");
        }
    }
    again.finish().expect("all of it");
}

fn sized(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}
