//! Putting tasks into line, and the edges that people take: cancel, rerun, drop, purge.

use std::collections::BTreeMap;

use bulkhead_core::{QueueName, State, Task, TaskId};

use super::script::reckonable;
use super::{RedisBroker, script};
use crate::broker::Broker;
use crate::codec;
use crate::error::QueueError;
use crate::view::{CancelAnswer, RerunAnswer, SubmitAnswer};

/// Tasks removed in one call of the purge script.
const PURGE_BATCH: &[u8] = b"500";

pub(super) async fn submit(
    broker: &RedisBroker,
    tasks: &[Task],
) -> Result<Vec<SubmitAnswer>, QueueError> {
    let mut by_queue: BTreeMap<&QueueName, Vec<usize>> = BTreeMap::new();
    for (at, task) in tasks.iter().enumerate() {
        by_queue.entry(&task.queue).or_default().push(at);
    }
    let mut answer = vec![SubmitAnswer::Known; tasks.len()];
    for (queue, members) in by_queue {
        announce(broker, queue).await?;
        let size = members.iter().map(|at| tasks[*at].payload.data.len() + 320).sum();
        let mut command = broker.scripts.submit.prepare(broker, queue, members.len() * 6, size);
        let mut id = uuid::Uuid::encode_buffer();
        for task in members.iter().map(|at| &tasks[*at]) {
            let record = codec::encode_task(task)
                .map_err(|e| QueueError::Refused(format!("the task cannot be encoded: {e}")))?;
            command
                .arg(&*task.id.0.as_hyphenated().encode_lower(&mut id))
                .arg(record)
                .arg(task.task_type.as_str())
                .arg(task.tenant.as_str())
                .arg(task.priority.level())
                .arg(reckonable(task.terms.not_before.unwrap_or(0)));
        }
        let reply = broker.scripts.submit.send(broker, &command).await?;
        for (at, accepted) in members.iter().zip(script::integers(reply)?) {
            if accepted == 1 {
                answer[*at] = SubmitAnswer::Accepted;
            }
        }
    }
    Ok(answer)
}

/// Make the queue known in its namespace, once per process.
async fn announce(broker: &RedisBroker, queue: &QueueName) -> Result<(), QueueError> {
    if broker.announced.lock().contains(queue) {
        return Ok(());
    }
    broker.run(&redis::Cmd::sadd(broker.queues_key(), queue.as_str())).await?;
    broker.announced.lock().insert(queue.clone());
    Ok(())
}

pub(super) async fn cancel(
    broker: &RedisBroker,
    queue: &QueueName,
    ids: &[TaskId],
    retention_ms: u64,
) -> Result<Vec<CancelAnswer>, QueueError> {
    let mut args = vec![reckonable(retention_ms.max(1)).to_string()];
    args.extend(ids.iter().map(TaskId::to_string));
    let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
    let reply = broker.scripts.cancel.call(broker, queue, &args).await?;
    let answers = script::integers(reply)?.into_iter().map(|answer| match answer {
        2 => CancelAnswer::Cancelled,
        1 => CancelAnswer::Requested,
        0 => CancelAnswer::AlreadyEnded,
        _ => CancelAnswer::Unknown,
    });
    Ok(answers.collect())
}

pub(super) async fn rerun(
    broker: &RedisBroker,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<RerunAnswer>, QueueError> {
    let ids: Vec<String> = ids.iter().map(TaskId::to_string).collect();
    let args: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    let reply = broker.scripts.rerun.call(broker, queue, &args).await?;
    let answers = script::integers(reply)?.into_iter().map(|answer| match answer {
        1 => RerunAnswer::InLine,
        0 => RerunAnswer::Active,
        _ => RerunAnswer::Unknown,
    });
    Ok(answers.collect())
}

pub(super) async fn drop_dead(
    broker: &RedisBroker,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<u64, QueueError> {
    let ids: Vec<String> = ids.iter().map(TaskId::to_string).collect();
    let args: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    let reply = broker.scripts.drop.call(broker, queue, &args).await?;
    script::integer(reply).map(|dropped| u64::try_from(dropped).unwrap_or(0))
}

pub(super) async fn purge(
    broker: &RedisBroker,
    queue: &QueueName,
    state: State,
) -> Result<u64, QueueError> {
    if !matches!(state, State::Pending | State::Scheduled | State::Failed) {
        return Err(QueueError::Refused(format!(
            "tasks that are `{state}` cannot be purged; purge pending, scheduled or failed ones"
        )));
    }
    // What is there now bounds the loop: tasks submitted meanwhile may stay.
    let stats = broker.stats(queue).await?;
    let bound = stats.pending.max(stats.scheduled).max(stats.failed) + 500;
    let mut total = 0;
    while total < bound {
        let args = [state.as_str().as_bytes(), PURGE_BATCH];
        let reply = broker.scripts.purge.call(broker, queue, &args).await?;
        let removed = script::integer(reply)?;
        if removed <= 0 {
            break;
        }
        total += removed.unsigned_abs();
    }
    Ok(total)
}
