//! Results remembered for tasks alike, and what a host holds.

use bulkhead_core::{Payload, QueueName, TaskId};
use redis::{Cmd, Value};

use super::step::{parse_id, parse_member, read_claim};
use super::{RedisBroker, list, script};
use crate::codec::reckonable;
use crate::error::QueueError;
use crate::step::Claim;

/// Longest key of a result, in bytes.
const KEY_BYTES: usize = 512;
/// Records read in one call.
const CALL_RECORDS: usize = 100;

fn key_of(broker: &RedisBroker, queue: &QueueName, key: &str) -> Result<String, QueueError> {
    if key.is_empty() || key.len() > KEY_BYTES {
        return Err(QueueError::Refused(format!(
            "a result's key has {} bytes; use 1 to {KEY_BYTES}",
            key.len()
        )));
    }
    Ok(format!("{}:result:{key}", broker.prefix(queue)))
}

pub(super) async fn recall(
    broker: &RedisBroker,
    queue: &QueueName,
    key: &str,
) -> Result<Option<Payload>, QueueError> {
    match broker.connection.send_long(&Cmd::get(key_of(broker, queue, key)?)).await? {
        Value::Nil => Ok(None),
        // What cannot be read is as good as forgotten.
        found => Ok(rmp_serde::from_slice(&script::bytes(found)?).ok()),
    }
}

pub(super) async fn remember(
    broker: &RedisBroker,
    queue: &QueueName,
    key: &str,
    output: &Payload,
    ttl_ms: u64,
) -> Result<(), QueueError> {
    let key = key_of(broker, queue, key)?;
    if ttl_ms == 0 {
        return Ok(());
    }
    let bytes = rmp_serde::to_vec(output)
        .map_err(|e| QueueError::Refused(format!("the result cannot be encoded: {e}")))?;
    let command = Cmd::pset_ex(key, bytes, reckonable(ttl_ms));
    broker.connection.send_long(&command).await.map(|_| ())
}

/// The claims in the lease set that are a host's, with their tasks.
pub(super) async fn held(
    broker: &RedisBroker,
    queue: &QueueName,
    host: &str,
) -> Result<Vec<Claim>, QueueError> {
    let prefix = broker.prefix(queue);
    let members: Vec<String> = list::scan(broker, "ZSCAN", &format!("{prefix}:leases"))
        .await?
        .into_iter()
        .filter(|member| parse_member(member).is_some_and(|(_, holder)| holder == host))
        // Another id was put there by somebody else's hand: its lease runs out.
        .filter(|member| parse_id(member.get(..36).unwrap_or("")).is_ok())
        .collect();
    let mut claims = Vec::new();
    for members in members.chunks(CALL_RECORDS) {
        let ids: Vec<TaskId> = members
            .iter()
            .filter_map(|member| parse_id(member.get(..36).unwrap_or("")).ok())
            .collect();
        let keys: Vec<String> = ids.iter().map(|id| format!("{prefix}:task:{id}")).collect();
        let mut asked = redis::cmd("SMISMEMBER");
        asked
            .arg(format!("{prefix}:cancel"))
            .arg(ids.iter().map(TaskId::to_string).collect::<Vec<_>>());
        let asked = script::integers(broker.run(&asked).await?)?;
        let records = script::array(broker.run(&Cmd::mget(&keys)).await?)?;
        let mut standing = redis::cmd("ZMSCORE");
        standing.arg(format!("{prefix}:leases")).arg(members);
        let standing = script::array(broker.run(&standing).await?)?;
        for (at, (member, record)) in members.iter().zip(records).enumerate() {
            if matches!(standing.get(at), None | Some(Value::Nil)) || record == Value::Nil {
                continue;
            }
            let member = Value::BulkString(member.clone().into_bytes());
            claims.extend(read_claim(queue, member, record, asked.get(at) == Some(&1))?);
        }
    }
    Ok(claims)
}
