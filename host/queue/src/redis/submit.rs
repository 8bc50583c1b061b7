//! Putting tasks where they belong.

use std::collections::BTreeMap;

use bulkhead_core::{QueueName, Task};
use redis::Value;

use super::step::parse_id;
use super::{RedisBroker, ahead, script};
use crate::codec::{self, reckonable};
use crate::error::QueueError;
use crate::view::SubmitAnswer;

/// The answer to a task of which nothing was sent ahead.
const UNSENT: i64 = 8;
/// Tasks stored in one call of the script.
const CALL_TASKS: usize = 500;

pub(super) async fn submit(
    broker: &RedisBroker,
    tasks: &[Task],
) -> Result<Vec<SubmitAnswer>, QueueError> {
    let mut by_queue: BTreeMap<&QueueName, Vec<usize>> = BTreeMap::new();
    for (at, task) in tasks.iter().enumerate() {
        by_queue.entry(&task.queue).or_default().push(at);
    }
    let mut answers = vec![SubmitAnswer::Known; tasks.len()];
    for (queue, members) in by_queue {
        announce(broker, queue).await?;
        for members in members.chunks(CALL_TASKS) {
            let mut records = Vec::with_capacity(members.len());
            for at in members {
                let record = encode(&tasks[*at])?;
                let ahead = ahead::send_if_long(broker, queue, tasks[*at].id, &record).await?;
                records.push(ahead.unwrap_or(record));
            }
            let reply = call(broker, queue, tasks, members, &records).await?;
            for (at, answer) in members.iter().zip(reply) {
                // Not there any more: it was on its way for too long.
                let answer = match answer {
                    Value::Int(UNSENT) => {
                        let record = [encode(&tasks[*at])?];
                        call(broker, queue, tasks, &[*at], &record).await?.pop()
                    }
                    answer => Some(answer),
                };
                let absent = || QueueError::Protocol("no answer to a submission".into());
                answers[*at] = read_answer(answer.ok_or_else(absent)?)?;
            }
        }
    }
    Ok(answers)
}

/// Store those of the tasks that have these records, or what stands for them.
async fn call(
    broker: &RedisBroker,
    queue: &QueueName,
    tasks: &[Task],
    members: &[usize],
    records: &[Vec<u8>],
) -> Result<Vec<Value>, QueueError> {
    let size = records.iter().map(|record| record.len() + 160).sum();
    let mut command = broker.scripts.submit.prepare(broker, queue, members.len() * 6, size);
    for (at, record) in members.iter().zip(records) {
        write_record(&mut command, &tasks[*at], record);
    }
    script::array(broker.scripts.submit.send(broker, &command).await?)
}

/// Push what scripts want to know of a new task: id, record, type, tenant, priority and
/// when it may start.
pub(super) fn write_task(command: &mut redis::Cmd, task: &Task) -> Result<(), QueueError> {
    write_record(command, task, &encode(task)?);
    Ok(())
}

/// [`write_task`], of which the record is there already.
pub(super) fn write_record(command: &mut redis::Cmd, task: &Task, record: &[u8]) {
    let mut id = uuid::Uuid::encode_buffer();
    command
        .arg(&*task.id.0.as_hyphenated().encode_lower(&mut id))
        .arg(record)
        .arg(task.task_type.as_str())
        .arg(task.tenant.as_str())
        .arg(task.priority.level())
        .arg(reckonable(task.terms.not_before.unwrap_or(0)));
}

/// Push the tasks that a task of this queue submits: those of the same queue as for `submit`,
/// the others as they wait to be carried, each kind after its number. `ahead` is what stands
/// for those of their records that were sent ahead.
pub(super) fn write_children(
    command: &mut redis::Cmd,
    queue: &QueueName,
    children: &[Task],
    ahead: &[Option<Vec<u8>>],
) -> Result<(), QueueError> {
    let sent = ahead.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let all = children.iter().zip(sent);
    let record = |child: &Task, sent: Option<&Vec<u8>>| match sent {
        Some(ahead) => Ok(ahead.clone()),
        None => encode(child),
    };
    let own = all.clone().filter(|(child, _)| child.queue == *queue);
    command.arg(own.clone().count());
    for (child, sent) in own {
        write_record(command, child, &record(child, sent)?);
    }
    let others = all.filter(|(child, _)| child.queue != *queue);
    command.arg(others.clone().count());
    for (child, sent) in others {
        command.arg(child.task_ref().to_string()).arg(record(child, sent)?);
    }
    Ok(())
}

pub(super) fn encode(task: &Task) -> Result<Vec<u8>, QueueError> {
    codec::encode_task(task)
        .map_err(|e| QueueError::Refused(format!("the task cannot be encoded: {e}")))
}

pub(super) fn read_answer(answer: Value) -> Result<SubmitAnswer, QueueError> {
    let (kind, holder) = match answer {
        Value::Int(kind) => (kind, None),
        with_holder => {
            let [kind, holder] = script::tuple::<2>(with_holder)?;
            let (kind, text) = (script::integer(kind)?, script::text(holder)?);
            if kind == 7 {
                let until = text.parse().map_err(|_| {
                    QueueError::Protocol("a quota is spent until a time that is none".into())
                })?;
                return Ok(SubmitAnswer::OverUsage(until));
            }
            (kind, Some(parse_id(&text)?))
        }
    };
    Ok(match (kind, holder) {
        (0, None) => SubmitAnswer::Known,
        (1, None) => SubmitAnswer::Accepted,
        (2, Some(holder)) => SubmitAnswer::Taken(holder),
        (3, Some(holder)) => SubmitAnswer::Existing(holder),
        (4, Some(holder)) => SubmitAnswer::Replaced(holder),
        (5, None) => SubmitAnswer::OverPending,
        (6, None) => SubmitAnswer::OverPayload,
        (kind, _) => return Err(QueueError::Protocol(format!("answer {kind} to a submission"))),
    })
}

/// Make the queue known in its namespace, once per process.
pub(super) async fn announce(broker: &RedisBroker, queue: &QueueName) -> Result<(), QueueError> {
    if broker.announced.lock().contains(queue) {
        return Ok(());
    }
    broker.run(&redis::Cmd::sadd(broker.queues_key(), queue.as_str())).await?;
    broker.announced.lock().insert(queue.clone());
    Ok(())
}
