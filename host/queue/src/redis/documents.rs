//! Documents: for each kind a hash of its own slot, key → bytes.

use std::collections::BTreeMap;

use redis::Value;

use super::{RedisBroker, hosts, script};
use crate::codec::reckonable;
use crate::document::{
    Document, DocumentId, DocumentKind, Expected, MAX_DOCUMENTS, MAX_KIND_BYTES, too_many,
};
use crate::error::QueueError;

async fn ask(
    broker: &RedisBroker,
    kind: DocumentKind,
    args: &[&[u8]],
) -> Result<Value, QueueError> {
    let prefix = format!("{{{}:documents:{}}}", broker.namespace, kind.as_str());
    broker.scripts.document.call_below(broker, &prefix, args).await
}

pub(super) async fn put(
    broker: &RedisBroker,
    id: &DocumentId,
    document: &Document,
    expected: &Expected,
    ttl_ms: Option<u64>,
) -> Result<bool, QueueError> {
    id.check()?;
    document.check()?;
    // None at all would stay.
    let ttl_ms = ttl_ms.map_or(0, |ms| reckonable(ms).max(1)).to_string();
    let (most, most_bytes) = (MAX_DOCUMENTS.to_string(), MAX_KIND_BYTES.to_string());
    let mut args = vec![&b"put"[..], id.key.as_bytes(), &document.0, ttl_ms.as_bytes()];
    args.extend([most.as_bytes(), most_bytes.as_bytes()]);
    match expected {
        Expected::Anything => args.push(b"any"),
        Expected::Nothing => args.push(b"none"),
        Expected::Exactly(document) => args.extend([&b"same"[..], &document.0]),
    }
    match script::integer(ask(broker, id.kind, &args).await?)? {
        1 => {
            hosts::tell_of_documents(broker, id.kind).await;
            Ok(true)
        }
        0 => Ok(false),
        _ => Err(too_many(id.kind)),
    }
}

pub(super) async fn look_up(
    broker: &RedisBroker,
    id: &DocumentId,
) -> Result<Option<Document>, QueueError> {
    id.check()?;
    match ask(broker, id.kind, &[b"get", id.key.as_bytes()]).await? {
        Value::Nil | Value::Boolean(false) => Ok(None),
        found => script::bytes(found).map(|bytes| Some(Document(bytes))),
    }
}

pub(super) async fn list(
    broker: &RedisBroker,
    kind: DocumentKind,
) -> Result<Vec<(String, Document)>, QueueError> {
    // A key may be found twice while others are written.
    let mut found = BTreeMap::new();
    let mut cursor = "0".to_owned();
    loop {
        let page = ask(broker, kind, &[b"list", cursor.as_bytes()]).await?;
        let [next, page] = script::tuple::<2>(page)?;
        let mut page = script::array(page)?.into_iter();
        while let (Some(key), Some(bytes)) = (page.next(), page.next()) {
            found.insert(script::text(key)?, Document(script::bytes(bytes)?));
        }
        cursor = script::text(next)?;
        if cursor == "0" {
            return Ok(found.into_iter().collect());
        }
    }
}

pub(super) async fn delete(broker: &RedisBroker, id: &DocumentId) -> Result<bool, QueueError> {
    id.check()?;
    let known = ask(broker, id.kind, &[b"delete", id.key.as_bytes()]).await?;
    let known = script::integer(known)? == 1;
    if known {
        hosts::tell_of_documents(broker, id.kind).await;
    }
    Ok(known)
}
