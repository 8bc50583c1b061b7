//! Blobs: an index and a key for each piece, all in one slot.
//!
//! Pieces go by plain commands beside the scripts; a script gives them their names when all are
//! there. The keys of a draft expire by themselves.

use bulkhead_core::Digest;
use redis::{Cmd, Value};

use super::{RedisBroker, script, stats::pairs};
use crate::blob::{
    BlobDraft, BlobInfo, BlobPiece, DRAFT_KEPT, MAX_BLOBS, MAX_BLOBS_BYTES, too_many,
};
use crate::error::QueueError;

fn prefix(broker: &RedisBroker) -> String {
    format!("{{{}:blobs:}}", broker.namespace)
}

pub(super) async fn send(
    broker: &RedisBroker,
    draft: &BlobDraft,
    piece: &BlobPiece,
) -> Result<(), QueueError> {
    draft.check_piece(piece)?;
    let BlobDraft { digest, name, .. } = draft;
    let key = format!("{}:draft:{digest}:{name}:{}", prefix(broker), piece.number);
    let mut command = Cmd::with_capacity(4, piece.bytes.len() + 256);
    let kept_ms = u64::try_from(DRAFT_KEPT.as_millis()).unwrap_or(u64::MAX);
    command.arg("PSETEX").arg(key).arg(kept_ms).arg(&piece.bytes);
    broker.connection.send_long(&command).await.map(|_| ())
}

pub(super) async fn keep(broker: &RedisBroker, draft: &BlobDraft) -> Result<(), QueueError> {
    draft.check()?;
    let words = [
        "keep".to_owned(),
        draft.digest.to_string(),
        draft.name.clone(),
        draft.size_bytes.to_string(),
        draft.pieces().to_string(),
        MAX_BLOBS.to_string(),
        MAX_BLOBS_BYTES.to_string(),
    ];
    match script::integer(ask(broker, &words).await?)? {
        1 => Ok(()),
        0 => Err(draft.incomplete()),
        _ => Err(too_many()),
    }
}

pub(super) async fn delete(broker: &RedisBroker, digest: &Digest) -> Result<bool, QueueError> {
    let words = ["forget".to_owned(), digest.to_string()];
    Ok(script::integer(ask(broker, &words).await?)? == 1)
}

async fn ask(broker: &RedisBroker, words: &[String]) -> Result<Value, QueueError> {
    let args: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    broker.scripts.blob.call_below(broker, &prefix(broker), &args).await
}

pub(super) async fn look_up(
    broker: &RedisBroker,
    digest: &Digest,
) -> Result<Option<BlobInfo>, QueueError> {
    let command = Cmd::hget(format!("{}:index", prefix(broker)), digest.to_string());
    match broker.run(&command).await? {
        Value::Nil => Ok(None),
        entry => info(&digest.to_string(), &script::text(entry)?).map(Some),
    }
}

pub(super) async fn piece(
    broker: &RedisBroker,
    digest: &Digest,
    number: u32,
) -> Result<Option<BlobPiece>, QueueError> {
    let key = format!("{}:data:{digest}:{number}", prefix(broker));
    match broker.connection.send_long(&Cmd::get(key)).await? {
        Value::Nil => Ok(None),
        bytes => Ok(Some(BlobPiece { number, bytes: script::bytes(bytes)? })),
    }
}

pub(super) async fn list(broker: &RedisBroker) -> Result<Vec<BlobInfo>, QueueError> {
    let index = Cmd::hgetall(format!("{}:index", prefix(broker)));
    // Sorted as text is sorted as bytes.
    let entries = pairs(broker.run(&index).await?)?;
    entries.iter().map(|(digest, entry)| info(digest, entry)).collect()
}

fn info(digest: &str, entry: &str) -> Result<BlobInfo, QueueError> {
    let read = || {
        let (size, stored) = entry.split_once(' ')?;
        let (size_bytes, stored_at) = (size.parse().ok()?, stored.parse().ok()?);
        Some(BlobInfo { digest: digest.parse().ok()?, size_bytes, stored_at })
    };
    read().ok_or_else(|| QueueError::Protocol("an entry of the index of blobs is none".into()))
}
