//! Values of plugins: a few structures for each plugin below a tenant's prefix.

use std::str::FromStr;

use bulkhead_core::TenantName;
use redis::Value;

use super::RedisBroker;
use super::script::{array, bytes, integer, text, tuple};
use crate::codec::reckonable;
use crate::error::QueueError;
use crate::kv::{
    KvBound, KvEdit, KvEntry, KvOwner, KvPage, KvRange, KvUsage, KvWrite, KvWritten, SWEPT_BY_EACH,
    SWEPT_FOR_ROOM,
};

/// Keys that one call of the listing script looks at.
const LOOKED_AT: usize = 2_000;

/// The prefix of a tenant's keys. A queue's has one colon in its braces, so none is alike.
fn prefix(broker: &RedisBroker, tenant: &TenantName) -> String {
    format!("{{{}:kv:{tenant}}}", broker.namespace)
}

pub(super) async fn get(
    broker: &RedisBroker,
    owner: &KvOwner,
    key: &str,
) -> Result<Option<KvEntry>, QueueError> {
    let plugin = owner.plugin.stored();
    let args = [plugin.as_bytes(), key.as_bytes()];
    let prefix = prefix(broker, &owner.tenant);
    let reply = broker.scripts.kv_get.call_below(broker, &prefix, &args).await?;
    if reply == Value::Nil {
        return Ok(None);
    }
    let [value, version, ttl_ms] = tuple(reply)?;
    let ttl_ms = match ttl_ms {
        Value::Nil => None,
        ttl_ms => Some(number(ttl_ms)?),
    };
    Ok(Some(KvEntry { value: bytes(value)?, version: number(version)?, ttl_ms }))
}

pub(super) async fn list(
    broker: &RedisBroker,
    owner: &KvOwner,
    range: &KvRange,
) -> Result<KvPage, QueueError> {
    let (page, prefix) = (range.page(), prefix(broker, &owner.tenant));
    let stored = owner.plugin.stored();
    let mut first = match &range.after {
        Some(after) if *after >= range.prefix => bound(b'(', after.as_bytes()),
        _ => bound(b'[', range.prefix.as_bytes()),
    };
    let last = match range.prefix.as_bytes() {
        [] => b"+".to_vec(),
        // No byte of a key is that high.
        prefix => [&bound(b'(', prefix)[..], &[0xff]].concat(),
    };
    let mut keys: Vec<String> = Vec::new();
    loop {
        let wanted = (page + 1 - keys.len()).to_string();
        let looked_at = LOOKED_AT.to_string();
        let args = [stored.as_bytes(), &first, &last, wanted.as_bytes(), looked_at.as_bytes()];
        let reply = broker.scripts.kv_list.call_below(broker, &prefix, &args).await?;
        let [found, looked_at_last] = tuple(reply)?;
        for key in array(found)? {
            keys.push(text(key)?);
        }
        if keys.len() > page {
            keys.truncate(page);
            return Ok(KvPage { keys, more: true });
        }
        match looked_at_last {
            Value::Nil => return Ok(KvPage { keys, more: false }),
            key => first = bound(b'(', &bytes(key)?),
        }
    }
}

fn bound(side: u8, key: &[u8]) -> Vec<u8> {
    [&[side], key].concat()
}

pub(super) async fn write(
    broker: &RedisBroker,
    owner: &KvOwner,
    write: &KvWrite,
) -> Result<KvWritten, QueueError> {
    write.check()?;
    let sum;
    let (what, value, expected): (&str, &[u8], _) = match &write.edit {
        KvEdit::Set(value) => ("set", value, None),
        KvEdit::Swap { expected, value } => ("swap", value, *expected),
        KvEdit::Add(by) => {
            sum = by.to_string();
            ("add", sum.as_bytes(), None)
        }
        KvEdit::Delete => ("delete", b"", None),
    };
    let told = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let quota = &write.quota;
    let reply = broker
        .scripts
        .kv_write
        .call_below(
            broker,
            &prefix(broker, &owner.tenant),
            &[
                owner.plugin.stored().as_bytes(),
                write.key.as_bytes(),
                what.as_bytes(),
                told(write.ttl_ms.map(reckonable)).as_bytes(),
                quota.keys.to_string().as_bytes(),
                quota.total_bytes.to_string().as_bytes(),
                told(quota.storage_bytes).as_bytes(),
                SWEPT_BY_EACH.to_string().as_bytes(),
                SWEPT_FOR_ROOM.to_string().as_bytes(),
                value,
                told(expected).as_bytes(),
            ],
        )
        .await?;
    let mut reply = array(reply)?.into_iter();
    let mut next = || text(reply.next().unwrap_or(Value::Nil));
    let written = match next()?.as_str() {
        "stored" => KvWritten::Stored(parsed(&next()?)?),
        "sum" => KvWritten::Sum(parsed(&next()?)?),
        "deleted" => KvWritten::Deleted(next()? == "1"),
        "unmatched" => KvWritten::Unmatched,
        "number" => KvWritten::NotANumber,
        "range" => KvWritten::BeyondRange,
        "over" => KvWritten::Over(match next()?.as_str() {
            "keys" => KvBound::Keys,
            "total" => KvBound::Total,
            "storage" => KvBound::Storage,
            other => return Err(strange(other)),
        }),
        other => return Err(strange(other)),
    };
    Ok(written)
}

pub(super) async fn usage(broker: &RedisBroker, owner: &KvOwner) -> Result<KvUsage, QueueError> {
    let prefix = prefix(broker, &owner.tenant);
    let plugin = owner.plugin.stored();
    let args = [plugin.as_bytes()];
    let reply = broker.scripts.kv_usage.call_below(broker, &prefix, &args).await?;
    let [keys, bytes, tenant_bytes] = tuple(reply)?;
    Ok(KvUsage { keys: number(keys)?, bytes: number(bytes)?, tenant_bytes: number(tenant_bytes)? })
}

fn number(value: Value) -> Result<u64, QueueError> {
    let number = integer(value)?;
    u64::try_from(number).map_err(|_| QueueError::Protocol(format!("{number} is negative")))
}

fn parsed<T: FromStr>(text: &str) -> Result<T, QueueError> {
    text.parse().map_err(|_| strange(text))
}

fn strange(text: &str) -> QueueError {
    let shown: String = text.chars().take(60).collect();
    QueueError::Protocol(format!("`{}` was not expected", shown.escape_debug()))
}
