//! The edges that people take: cancel, rerun, drop, purge.

use bulkhead_core::{Payload, QueueName, State, TaskId};
use redis::{Cmd, Value};

use super::{RedisBroker, outbox, script};
use crate::broker::Broker;
use crate::codec::{self, reckonable};
use crate::error::QueueError;
use crate::view::{CancelAnswer, RerunAnswer};

/// Tasks removed in one call of the purge script.
const PURGE_BATCH: &[u8] = b"500";
/// Ids in one call of the other scripts.
const CALL_IDS: usize = 500;
/// Bytes at the end of a record that tell it from another of its length.
const TAIL_BYTES: usize = 256;

pub(super) async fn cancel(
    broker: &RedisBroker,
    queue: &QueueName,
    ids: &[TaskId],
    retention_ms: u64,
) -> Result<Vec<CancelAnswer>, QueueError> {
    let mut answers = Vec::with_capacity(ids.len());
    let mut events = false;
    for ids in ids.chunks(CALL_IDS) {
        let mut args = vec![reckonable(retention_ms).to_string()];
        args.extend(ids.iter().map(TaskId::to_string));
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        let reply = broker.scripts.cancel.call(broker, queue, &args).await?;
        let [each, outbox] = script::tuple::<2>(reply)?;
        events |= script::integer(outbox)? == 1;
        answers.extend(script::integers(each)?.into_iter().map(|answer| match answer {
            2 => CancelAnswer::Cancelled,
            1 => CancelAnswer::Requested,
            0 => CancelAnswer::AlreadyEnded,
            _ => CancelAnswer::Unknown,
        }));
    }
    outbox::carry_on(broker, queue, events).await;
    Ok(answers)
}

fn rerun_answer(answer: i64) -> RerunAnswer {
    match answer {
        1 => RerunAnswer::InLine,
        0 => RerunAnswer::Active,
        _ => RerunAnswer::Unknown,
    }
}

pub(super) async fn rerun(
    broker: &RedisBroker,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<RerunAnswer>, QueueError> {
    let mut answers = Vec::with_capacity(ids.len());
    for ids in ids.chunks(CALL_IDS) {
        let ids: Vec<String> = ids.iter().map(TaskId::to_string).collect();
        let args: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
        let reply = broker.scripts.rerun.call(broker, queue, &args).await?;
        answers.extend(script::integers(reply)?.into_iter().map(rerun_answer));
    }
    Ok(answers)
}

/// The record is read and written in two calls; the second changes nothing if the record
/// is another by then, and both are tried again.
pub(super) async fn rerun_edited(
    broker: &RedisBroker,
    queue: &QueueName,
    id: TaskId,
    payload: Payload,
) -> Result<RerunAnswer, QueueError> {
    let name = id.to_string();
    let key = format!("{}:task:{name}", broker.prefix(queue));
    for _ in 0..8 {
        let old = match broker.run(&Cmd::get(&key)).await? {
            Value::Nil => return Ok(RerunAnswer::Unknown),
            found => script::bytes(found)?,
        };
        let new = codec::edit(queue, id, &old, payload.clone()).map_err(|reason| {
            QueueError::Refused(format!("task `{id}` cannot be edited: {reason}"))
        })?;
        let length = old.len().to_string();
        let tail = &old[old.len().saturating_sub(TAIL_BYTES)..];
        let args: [&[u8]; 4] = [name.as_bytes(), length.as_bytes(), tail, &new];
        let reply = broker.scripts.edit.call(broker, queue, &args).await?;
        match script::integer(reply)? {
            -2 => {}
            answer => return Ok(rerun_answer(answer)),
        }
    }
    Err(QueueError::Unavailable(format!("task `{id}` changes while it is edited")))
}

pub(super) async fn drop_dead(
    broker: &RedisBroker,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<u64, QueueError> {
    let mut dropped = 0;
    for ids in ids.chunks(CALL_IDS) {
        let ids: Vec<String> = ids.iter().map(TaskId::to_string).collect();
        let args: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
        let reply = broker.scripts.drop.call(broker, queue, &args).await?;
        dropped += u64::try_from(script::integer(reply)?).unwrap_or(0);
    }
    Ok(dropped)
}

pub(super) async fn purge(
    broker: &RedisBroker,
    queue: &QueueName,
    state: State,
) -> Result<u64, QueueError> {
    if !matches!(state, State::Blocked | State::Pending | State::Scheduled | State::Failed) {
        return Err(QueueError::Refused(format!(
            "tasks that are `{state}` cannot be purged; purge blocked, scheduled, pending or \
             failed ones"
        )));
    }
    // What is there now bounds the loop: tasks submitted meanwhile may stay.
    let stats = broker.stats(queue).await?;
    let bound = stats.pending.max(stats.scheduled).max(stats.failed).max(stats.blocked) + 500;
    let (mut total, mut events) = (0, false);
    while total < bound {
        let args = [state.as_str().as_bytes(), PURGE_BATCH];
        let reply = broker.scripts.purge.call(broker, queue, &args).await?;
        let [removed, outbox] = script::tuple::<2>(reply)?;
        events |= script::integer(outbox)? == 1;
        let removed = script::integer(removed)?;
        if removed <= 0 {
            break;
        }
        total += removed.unsigned_abs();
    }
    outbox::carry_on(broker, queue, events).await;
    Ok(total)
}
