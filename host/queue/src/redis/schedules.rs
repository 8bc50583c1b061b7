//! Schedules: kept, found due, fired once.

use bulkhead_core::{QueueName, Schedule, UnixMs};
use redis::Value;

use super::stats::pairs;
use super::submit::{announce, write_task};
use super::{RedisBroker, hosts, outbox, script};
use crate::codec::reckonable;
use crate::error::QueueError;
use crate::schedule::{DueSchedules, Fire, FireAnswer, LastFire, ScheduleView};

/// Fires in one call.
const FIRES: usize = 1_000;

fn time(at: Option<UnixMs>) -> String {
    at.map_or(String::new(), |at| reckonable(at).to_string())
}

async fn call(broker: &RedisBroker, queue: &QueueName, args: &[&[u8]]) -> Result<bool, QueueError> {
    let reply = broker.scripts.schedule.call(broker, queue, args).await?;
    let changed = script::integer(reply)? == 1;
    if changed {
        hosts::tell_of_schedules(broker).await;
    }
    Ok(changed)
}

pub(super) async fn put(
    broker: &RedisBroker,
    queue: &QueueName,
    schedule: &Schedule,
    next: Option<UnixMs>,
) -> Result<bool, QueueError> {
    announce(broker, queue).await?;
    let definition = rmp_serde::to_vec_named(schedule)
        .map_err(|e| QueueError::Refused(format!("the schedule cannot be encoded: {e}")))?;
    let next = time(next);
    call(broker, queue, &[b"put", schedule.name.as_bytes(), &definition, next.as_bytes()]).await
}

pub(super) async fn remove(
    broker: &RedisBroker,
    queue: &QueueName,
    name: &str,
) -> Result<bool, QueueError> {
    call(broker, queue, &[b"remove", name.as_bytes()]).await
}

pub(super) async fn pause(
    broker: &RedisBroker,
    queue: &QueueName,
    name: &str,
    paused: bool,
    next: Option<UnixMs>,
) -> Result<bool, QueueError> {
    let (paused, next): (&[u8], _) = (if paused { b"1" } else { b"0" }, time(next));
    call(broker, queue, &[b"pause", name.as_bytes(), paused, next.as_bytes()]).await
}

pub(super) async fn list(
    broker: &RedisBroker,
    queue: &QueueName,
) -> Result<Vec<ScheduleView>, QueueError> {
    let mut found = look(broker, queue, "").await?.due;
    found.sort_by(|a, b| a.schedule.name.cmp(&b.schedule.name));
    Ok(found)
}

pub(super) async fn due(
    broker: &RedisBroker,
    queue: &QueueName,
    limit: usize,
) -> Result<DueSchedules, QueueError> {
    look(broker, queue, &limit.clamp(1, 1_000).to_string()).await
}

async fn look(
    broker: &RedisBroker,
    queue: &QueueName,
    limit: &str,
) -> Result<DueSchedules, QueueError> {
    let reply = broker.scripts.due.call(broker, queue, &[limit.as_bytes()]).await?;
    let [now, found, next] = script::tuple::<3>(reply)?;
    let due = script::array(found)?.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(DueSchedules {
        now: u64::try_from(script::integer(now)?).unwrap_or(0),
        due,
        next: u64::try_from(script::integer(next)?).ok(),
    })
}

pub(super) fn view(found: Value) -> Result<ScheduleView, QueueError> {
    let [name, definition, state] = script::tuple::<3>(found)?;
    let name = script::text(name)?;
    let schedule: Schedule = rmp_serde::from_slice(&script::bytes(definition)?).map_err(|e| {
        let name = name.escape_debug();
        QueueError::Protocol(format!("the schedule `{name}` cannot be read: {e}"))
    })?;
    let state = pairs(state)?;
    let number = |field: &str| state.get(field).and_then(|n| n.parse::<u64>().ok());
    let last_task = state.get("last_task").and_then(|id| id.parse().ok());
    Ok(ScheduleView {
        schedule,
        paused: state.get("paused").is_some_and(|paused| paused == "1"),
        next: number("next"),
        last: number("last_at").zip(last_task).map(|(at, task)| LastFire { at, task }),
        fired: number("fired").unwrap_or(0),
        skipped: number("skipped").unwrap_or(0),
    })
}

pub(super) async fn fire(
    broker: &RedisBroker,
    queue: &QueueName,
    fire: &Fire,
) -> Result<FireAnswer, QueueError> {
    if fire.fires.len() > FIRES {
        return Err(QueueError::Refused(format!(
            "{} fires at once; at most {FIRES} are allowed",
            fire.fires.len()
        )));
    }
    if let Some((_, task)) = fire.fires.iter().find(|(_, task)| task.queue != *queue) {
        return Err(QueueError::Refused(format!(
            "the schedule of queue `{queue}` fires a task of queue `{}`",
            task.queue
        )));
    }
    announce(broker, queue).await?;
    let size = fire.fires.iter().map(|(_, task)| task.payload.data.len() + 340).sum();
    let mut command = broker.scripts.fire.prepare(broker, queue, 5 + fire.fires.len() * 7, size);
    command
        .arg(&fire.schedule)
        .arg(time(fire.expected))
        .arg(time(fire.next))
        .arg(u8::from(fire.exclusive))
        .arg(u8::from(fire.by_hand));
    for (at, task) in &fire.fires {
        command.arg(reckonable(*at));
        write_task(&mut command, task)?;
    }
    let [answer, events] = script::tuple::<2>(broker.scripts.fire.send(broker, &command).await?)?;
    outbox::carry_on(broker, queue, script::integer(events)? == 1).await;
    Ok(match script::integer(answer)? {
        -1 => FireAnswer::Overlapping,
        -2 => FireAnswer::Superseded,
        -3 => FireAnswer::Unknown,
        new => FireAnswer::Fired(u32::try_from(new).unwrap_or(0)),
    })
}
