//! Batches: opened before their members are submitted, counted as those end.

use bulkhead_core::{BatchId, QueueName, TaskRef};
use redis::{Cmd, Value};

use super::stats::pairs;
use super::submit::announce;
use super::{RedisBroker, outbox, script};
use crate::batch::{Batch, BatchView, Over};
use crate::codec::{self, reckonable};
use crate::error::QueueError;

/// Members in one call of a script.
const CALL_MEMBERS: usize = 500;
/// Metadata pairs that a callback may have beside the counts.
const CALLBACK_PAIRS: usize = 10_000;

fn over_name(over: Over) -> &'static [u8] {
    match over {
        Over::Ended => b"ended",
        Over::FirstFailure => b"first_failure",
    }
}

/// The members are added some at a time and count from the last call, which opens the
/// batch; what is added to a batch that is never opened is forgotten with its retention.
pub(super) async fn open(broker: &RedisBroker, batch: &Batch) -> Result<bool, QueueError> {
    let queue = &batch.queue;
    announce(broker, queue).await?;
    let id = batch.id.to_string();
    let retention = reckonable(batch.retention_ms.max(1_000)).to_string();
    let script = &broker.scripts.open_batch;
    for members in batch.members.chunks(CALL_MEMBERS) {
        let members: Vec<String> = members.iter().map(TaskRef::to_string).collect();
        let mut args: Vec<&[u8]> = vec![b"add", id.as_bytes(), retention.as_bytes()];
        args.extend(members.iter().map(String::as_bytes));
        if script::integer(script.call(broker, queue, &args).await?)? == 0 {
            return Ok(false);
        }
    }
    let mut command = script.prepare(broker, queue, 32, 1_024);
    command.arg("open").arg(&id).arg(&retention);
    command.arg("name").arg(&batch.name).arg("over").arg(over_name(batch.over));
    if let Some(task) = &batch.callback {
        if task.metadata.len() > CALLBACK_PAIRS {
            return Err(QueueError::Refused("the callback has too much metadata".into()));
        }
        let pieces = codec::encode_pieces(task)
            .map_err(|e| QueueError::Refused(format!("the callback cannot be encoded: {e}")))?;
        command
            .arg("cb")
            .arg(task.id.to_string())
            .arg("cb_type")
            .arg(task.task_type.as_str())
            .arg("cb_tenant")
            .arg(task.tenant.as_str())
            .arg("cb_level")
            .arg(task.priority.level())
            .arg("cb_due")
            .arg(reckonable(task.terms.not_before.unwrap_or(0)))
            .arg("cb_head")
            .arg(pieces.head)
            .arg("cb_content")
            .arg(pieces.content)
            .arg("cb_count")
            .arg(task.metadata.len())
            .arg("cb_pairs")
            .arg(pieces.metadata)
            .arg("cb_tail")
            .arg(pieces.rest);
    }
    script::integer(script.send(broker, &command).await?).map(|opened| opened == 1)
}

pub(super) async fn leave(
    broker: &RedisBroker,
    queue: &QueueName,
    id: BatchId,
    members: &[TaskRef],
) -> Result<(), QueueError> {
    let id = id.to_string();
    let mut events = false;
    for members in members.chunks(CALL_MEMBERS) {
        let members: Vec<String> = members.iter().map(TaskRef::to_string).collect();
        let args = members.iter().flat_map(|member| [id.as_bytes(), member.as_bytes(), b"x"]);
        let args: Vec<&[u8]> = args.collect();
        let reply = broker.scripts.count.call(broker, queue, &args).await?;
        events |= script::integer(reply)? == 1;
    }
    outbox::carry_on(broker, queue, events).await;
    Ok(())
}

pub(super) async fn look(
    broker: &RedisBroker,
    queue: &QueueName,
    id: BatchId,
) -> Result<Option<BatchView>, QueueError> {
    let mut command = redis::cmd("HMGET");
    command.arg(format!("{}:batch:{id}", broker.prefix(queue)));
    let fields = ["name", "opened_at", "over_at", "over", "total", "c", "d", "x", "e", "cb"];
    command.arg(&fields);
    let values = script::array(broker.run(&command).await?)?;
    let flat = fields
        .iter()
        .zip(values)
        .filter(|(_, value)| *value != Value::Nil)
        .flat_map(|(field, value)| [Value::BulkString(field.as_bytes().to_vec()), value]);
    let found = pairs(Value::Array(flat.collect()))?;
    if !found.contains_key("opened_at") {
        return Ok(None);
    }
    let number = |field: &str| found.get(field).and_then(|n| n.parse::<u64>().ok());
    let count = |field: &str| number(field).unwrap_or(0);
    Ok(Some(BatchView {
        id,
        queue: queue.clone(),
        name: found.get("name").cloned().unwrap_or_default(),
        opened_at: count("opened_at"),
        over_at: number("over_at"),
        over: match found.get("over").map(String::as_str) {
            Some("first_failure") => Over::FirstFailure,
            _ => Over::Ended,
        },
        total: count("total"),
        completed: count("c"),
        failed: count("d"),
        cancelled: count("x"),
        expired: count("e"),
        callback: found.get("cb").and_then(|id| id.parse().ok()),
    }))
}

pub(super) async fn list(
    broker: &RedisBroker,
    queue: &QueueName,
    limit: usize,
) -> Result<Vec<BatchView>, QueueError> {
    let index = format!("{}:batches", broker.prefix(queue));
    let mut views = Vec::new();
    let mut gone = Vec::new();
    for id in script::array(broker.run(&Cmd::zrevrange(&index, 0, 9_999)).await?)? {
        if views.len() >= limit {
            break;
        }
        let name = script::text(id)?;
        let view = match name.parse() {
            Ok(id) => look(broker, queue, id).await?,
            Err(_) => None,
        };
        match view {
            Some(view) => views.push(view),
            None => gone.push(name),
        }
    }
    if !gone.is_empty() {
        broker.run(&Cmd::zrem(&index, gone)).await?;
    }
    Ok(views)
}
