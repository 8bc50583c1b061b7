//! Looking at tasks by id. Nothing here changes a task.

use bulkhead_core::{QueueName, State, TaskId, TaskRef};
use redis::Value;

use super::step::parse_member;
use super::{RedisBroker, ahead, script};
use crate::codec;
use crate::error::QueueError;
use crate::view::{Entry, Holder, Next, TaskView};

/// Tasks looked at in one call.
const CALL_IDS: usize = 100;
/// Tasks watched in one call.
const WATCH_IDS: usize = 500;

pub(super) async fn watch(
    broker: &RedisBroker,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<bool>, QueueError> {
    let mut known = Vec::with_capacity(ids.len());
    for ids in ids.chunks(WATCH_IDS) {
        let names: Vec<String> = ids.iter().map(TaskId::to_string).collect();
        let args: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        let reply = broker.scripts.watch.call(broker, queue, &args).await?;
        known.extend(script::integers(reply)?.into_iter().map(|known| known == 1));
    }
    Ok(known)
}

pub(super) async fn inspect(
    broker: &RedisBroker,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<Option<TaskView>>, QueueError> {
    let mut views = Vec::with_capacity(ids.len());
    for ids in ids.chunks(CALL_IDS) {
        let names: Vec<String> = ids.iter().map(TaskId::to_string).collect();
        let args: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        let reply = broker.scripts.inspect.call(broker, queue, &args).await?;
        for (found, id) in script::array(reply)?.into_iter().zip(ids) {
            views.push(match found {
                Value::Nil | Value::Int(0) | Value::Boolean(false) => None,
                found => look(broker, queue, *id, found).await?,
            });
        }
    }
    Ok(views)
}

/// How a task ended that is kept, by what was written last.
pub(super) fn ended_as(history: &[Entry]) -> State {
    match history.last() {
        Some(Entry::Ended(Next::Completed, _)) => State::Completed,
        Some(Entry::Ended(Next::DeadLetter, _) | Entry::ParentFailed { .. }) => State::Failed,
        Some(Entry::Expired { .. }) => State::Expired,
        _ => State::Cancelled,
    }
}

/// The view of a task whose record is in the answer or, if it is long, where it was.
async fn look(
    broker: &RedisBroker,
    queue: &QueueName,
    id: TaskId,
    mut found: Value,
) -> Result<Option<TaskView>, QueueError> {
    if let Value::Array(parts) = &mut found
        && let Some(record) = parts.first_mut()
        && let Value::Int(bytes) = record
    {
        let bytes = u64::try_from(*bytes).unwrap_or(0);
        let Some(whole) = ahead::fetch(broker, queue, id, bytes).await? else { return Ok(None) };
        *record = Value::BulkString(whole);
    }
    view(queue, id, found).map(Some)
}

pub(super) fn view(queue: &QueueName, id: TaskId, found: Value) -> Result<TaskView, QueueError> {
    let [record, place, time, member, cancel, progress, parents] = script::tuple::<7>(found)?;
    let (task, history) = match codec::decode(queue, id, &script::bytes(record)?) {
        Ok(record) => (Ok(record.task), record.history),
        Err(unreadable) => (Err(unreadable), Vec::new()),
    };
    let time = u64::try_from(script::integer(time)?).ok();
    let place = script::text(place)?;
    let state = match place.as_str() {
        "s" => State::Scheduled,
        "r" => State::Running,
        "b" => State::Blocked,
        "d" => State::Failed,
        "e" => ended_as(&history),
        _ => State::Pending,
    };
    let member = script::text(member)?;
    let holder = parse_member(&member).zip(time).map(|((token, host), lease_until)| Holder {
        host: host.to_owned(),
        token,
        lease_until,
    });
    let mut waits_for: Vec<TaskRef> = script::array(parents)?
        .into_iter()
        .filter_map(|parent| script::text(parent).ok()?.parse().ok())
        .collect();
    waits_for.sort();
    Ok(TaskView {
        id,
        queue: queue.clone(),
        state,
        task,
        history,
        due_at: time.filter(|_| state == State::Scheduled),
        kept_until: time.filter(|_| state.is_terminal()),
        holder,
        cancel_requested: script::integer(cancel)? == 1,
        progress: rmp_serde::from_slice(&script::bytes(progress)?).ok(),
        waits_for,
    })
}
