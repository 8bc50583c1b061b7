//! Stored secrets: one hash for the namespace, `TENANT/NAME` → sealed bytes.

use redis::{Cmd, Value};

use super::{RedisBroker, script};
use crate::error::QueueError;
use crate::secret::{MAX_SECRETS, Sealed, SecretId, check_looked_up, too_many};

fn key(broker: &RedisBroker) -> String {
    format!("{}:secrets", broker.namespace)
}

pub(super) async fn put(
    broker: &RedisBroker,
    id: &SecretId,
    sealed: &Sealed,
    over: Option<&Sealed>,
) -> Result<bool, QueueError> {
    sealed.check()?;
    let (field, most) = (id.to_string(), MAX_SECRETS.to_string());
    let mut args = vec![&b"put"[..], field.as_bytes(), &sealed.0, most.as_bytes()];
    args.extend(over.map(|over| &over.0[..]));
    let answer = broker.scripts.secret.call_below(broker, &key(broker), &args).await?;
    match script::integer(answer)? {
        -1 => Err(too_many()),
        stored => Ok(stored == 1),
    }
}

pub(super) async fn delete(broker: &RedisBroker, id: &SecretId) -> Result<bool, QueueError> {
    let field = id.to_string();
    let args = [&b"delete"[..], field.as_bytes()];
    let answer = broker.scripts.secret.call_below(broker, &key(broker), &args).await?;
    Ok(script::integer(answer)? == 1)
}

pub(super) async fn ids(broker: &RedisBroker) -> Result<Vec<SecretId>, QueueError> {
    let fields = script::array(broker.run(&Cmd::hkeys(key(broker))).await?)?;
    let mut ids = Vec::with_capacity(fields.len());
    for field in fields {
        let id = script::text(field)?.parse();
        ids.push(id.map_err(|e| QueueError::Protocol(format!("a stored secret: {e}")))?);
    }
    ids.sort();
    Ok(ids)
}

pub(super) async fn look_up(
    broker: &RedisBroker,
    ids: &[SecretId],
) -> Result<Vec<Option<Sealed>>, QueueError> {
    check_looked_up(ids)?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = redis::cmd("HMGET");
    command.arg(key(broker));
    for id in ids {
        command.arg(id.to_string());
    }
    let values = script::array(broker.run(&command).await?)?.into_iter();
    let sealed = values.map(|value| match value {
        Value::Nil => Ok(None),
        value => script::bytes(value).map(|bytes| Some(Sealed(bytes))),
    });
    sealed.collect()
}
