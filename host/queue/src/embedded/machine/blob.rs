//! Blobs, of no queue: bytes by their sha256, in pieces.
//!
//! A piece's row is written when it arrives, under a number that only its draft has; the row
//! that names the blob comes last and makes it one that is seen. Pieces whose blob has no such
//! row are removed when the machine is read back.

use std::collections::BTreeMap;

use bulkhead_core::Digest;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::journal::Row;
use super::rows::tag;
use super::{Machine, Now};
use crate::blob::{
    BlobDraft, BlobInfo, BlobPiece, DRAFT_KEPT, MAX_BLOBS, MAX_BLOBS_BYTES, pieces, too_many,
};
use crate::error::QueueError;

/// Drafts at once at most.
const MAX_DRAFTS: usize = 16;

/// All blobs, and those on their way.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    kept: BTreeMap<[u8; 32], Blob>,
    /// By digest and name.
    drafts: BTreeMap<([u8; 32], String), Draft>,
    /// The number of the next draft.
    next: u64,
    pub(super) journaling: bool,
    rows: Vec<Row>,
}

#[derive(Debug, Default)]
struct Blob {
    number: u64,
    size_bytes: u64,
    stored_ms: u64,
    pieces: Vec<Bytes>,
}

#[derive(Debug)]
struct Draft {
    number: u64,
    pieces: Vec<Bytes>,
    hash: Sha256,
    until_ms: u64,
}

impl Machine {
    /// Take a piece of a blob, in order from the first.
    pub fn send_blob(
        &mut self,
        draft: &BlobDraft,
        piece: &BlobPiece,
        now_us: u64,
    ) -> Result<(), QueueError> {
        draft.check_piece(piece)?;
        self.blobs.take_piece(draft, piece, Now(now_us).ms())
    }

    /// Make a blob of which all pieces are there one that is seen.
    pub fn keep_blob(&mut self, draft: &BlobDraft, now_us: u64) -> Result<(), QueueError> {
        draft.check()?;
        self.blobs.keep(draft, Now(now_us).ms())
    }

    /// One blob, if it is there.
    #[must_use]
    pub fn blob_info(&self, digest: &Digest) -> Option<BlobInfo> {
        self.blobs.kept.get(&digest.0).map(|blob| blob.info(*digest))
    }

    /// A piece of a blob that is there.
    #[must_use]
    pub fn blob_piece(&self, digest: &Digest, number: u32) -> Option<BlobPiece> {
        let piece = self.blobs.kept.get(&digest.0)?.pieces.get(number as usize)?;
        Some(BlobPiece { number, bytes: piece.to_vec() })
    }

    /// All blobs, sorted by their names.
    #[must_use]
    pub fn blobs(&self) -> Vec<BlobInfo> {
        self.blobs.kept.iter().map(|(digest, blob)| blob.info(Digest(*digest))).collect()
    }

    /// Forget a blob; `false` if there is none.
    pub fn delete_blob(&mut self, digest: &Digest) -> bool {
        let Some(blob) = self.blobs.kept.remove(&digest.0) else { return false };
        self.blobs.note(|| Row { key: head_key(&digest.0), value: None });
        self.blobs.drop_pieces(blob.number, blob.pieces.len());
        true
    }
}

impl Blob {
    fn info(&self, digest: Digest) -> BlobInfo {
        BlobInfo { digest, size_bytes: self.size_bytes, stored_at: self.stored_ms }
    }
}

impl Blobs {
    fn take_piece(
        &mut self,
        draft: &BlobDraft,
        piece: &BlobPiece,
        now_ms: u64,
    ) -> Result<(), QueueError> {
        self.sweep(now_ms);
        let key = (draft.digest.0, draft.name.clone());
        if !self.drafts.contains_key(&key) {
            if self.drafts.len() >= MAX_DRAFTS {
                return Err(QueueError::Unavailable(format!(
                    "{MAX_DRAFTS} blobs are on their way, which is the most"
                )));
            }
            let number = self.next;
            self.next += 1;
            let (pieces, hash) = (Vec::new(), Sha256::new());
            self.drafts.insert(key.clone(), Draft { number, pieces, hash, until_ms: 0 });
        }
        let Some(begun) = self.drafts.get_mut(&key) else { return Err(draft.incomplete()) };
        if piece.number as usize != begun.pieces.len() {
            // One that is sent twice was not answered the first time.
            let again = begun.pieces.get(piece.number as usize).is_some_and(|p| *p == piece.bytes);
            return if again { Ok(()) } else { Err(draft.incomplete()) };
        }
        let bytes = Bytes::copy_from_slice(&piece.bytes);
        begun.hash.update(&bytes);
        begun.pieces.push(bytes.clone());
        begun.until_ms = now_ms + u64::try_from(DRAFT_KEPT.as_millis()).unwrap_or(u64::MAX);
        let number = begun.number;
        self.note(|| Row { key: piece_key(number, piece.number), value: Some(bytes) });
        Ok(())
    }

    fn keep(&mut self, draft: &BlobDraft, now_ms: u64) -> Result<(), QueueError> {
        self.sweep(now_ms);
        let held: u64 = self.kept.values().map(|blob| blob.size_bytes).sum();
        let known = self.kept.get(&draft.digest.0).map(|blob| blob.size_bytes);
        let full = known.is_none() && self.kept.len() >= MAX_BLOBS;
        if full || held - known.unwrap_or(0) + draft.size_bytes > MAX_BLOBS_BYTES {
            return Err(too_many());
        }
        let begun = match self.drafts.remove(&(draft.digest.0, draft.name.clone())) {
            Some(begun) => begun,
            None if draft.size_bytes == 0 => {
                self.next += 1;
                let (number, pieces) = (self.next - 1, Vec::new());
                Draft { number, pieces, hash: Sha256::new(), until_ms: 0 }
            }
            None => return Err(draft.incomplete()),
        };
        let Draft { number, pieces, hash, .. } = begun;
        let is_it = <[u8; 32]>::from(hash.finalize()) == draft.digest.0;
        if pieces.len() != draft.pieces() as usize || !is_it {
            self.drop_pieces(number, pieces.len());
            return Err(draft.incomplete());
        }
        let blob = Blob { number, size_bytes: draft.size_bytes, stored_ms: now_ms, pieces };
        let row = head_row(&draft.digest.0, &blob);
        if let Some(old) = self.kept.insert(draft.digest.0, blob) {
            self.drop_pieces(old.number, old.pieces.len());
        }
        self.note(|| row);
        Ok(())
    }

    /// Forget what was sent and never finished.
    fn sweep(&mut self, now_ms: u64) {
        let over: Vec<_> = self
            .drafts
            .iter()
            .filter(|(_, draft)| draft.until_ms < now_ms)
            .map(|(key, _)| key.clone())
            .collect();
        for key in over {
            if let Some(draft) = self.drafts.remove(&key) {
                self.drop_pieces(draft.number, draft.pieces.len());
            }
        }
    }

    fn drop_pieces(&mut self, number: u64, count: usize) {
        for at in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            self.note(|| Row { key: piece_key(number, at), value: None });
        }
    }

    fn note(&mut self, row: impl FnOnce() -> Row) {
        if self.journaling {
            self.rows.push(row());
        }
    }

    pub(super) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        rows.append(&mut self.rows);
    }

    pub(super) fn all_rows(&self, rows: &mut Vec<Row>) {
        for (digest, blob) in &self.kept {
            rows.push(head_row(digest, blob));
            let pieces = (0..).zip(&blob.pieces);
            rows.extend(pieces.map(|(at, piece)| Row {
                key: piece_key(blob.number, at),
                value: Some(piece.clone()),
            }));
        }
    }

    /// Take the row back that names a blob.
    pub(super) fn restore_head(&mut self, rest: &[u8], value: &[u8]) -> Result<(), String> {
        let digest: [u8; 32] = rest.try_into().map_err(|_| "its key is no digest")?;
        let (number, size_bytes, stored_ms) =
            rmp_serde::from_slice(value).map_err(|e| e.to_string())?;
        self.next = self.next.max(number + 1);
        self.kept.insert(digest, Blob { number, size_bytes, stored_ms, pieces: Vec::new() });
        Ok(())
    }

    /// Take a piece back; it goes again if nothing names its blob.
    pub(super) fn restore_piece(&mut self, rest: &[u8], value: &[u8]) -> Result<(), String> {
        let (number, at) = rest.split_first_chunk::<8>().ok_or("its key is short")?;
        let at = at.try_into().map(u32::from_be_bytes).map_err(|_| "its key is short")?;
        let number = u64::from_be_bytes(*number);
        self.next = self.next.max(number + 1);
        let Some(blob) = self.kept.values_mut().find(|blob| blob.number == number) else {
            self.rows.push(Row { key: piece_key(number, at), value: None });
            return Ok(());
        };
        if at as usize != blob.pieces.len() {
            return Err("a piece before it is missing".into());
        }
        blob.pieces.push(Bytes::copy_from_slice(value));
        Ok(())
    }

    /// Whether every blob has its pieces.
    pub(super) fn restored(&self) -> Result<(), String> {
        for (digest, blob) in &self.kept {
            if blob.pieces.len() != pieces(blob.size_bytes) as usize {
                return Err(format!("the blob {} is not whole", Digest(*digest).short()));
            }
        }
        Ok(())
    }
}

fn head_key(digest: &[u8; 32]) -> Vec<u8> {
    [&[tag::BLOB], &digest[..]].concat()
}

fn piece_key(number: u64, at: u32) -> Vec<u8> {
    [&[tag::BLOB_PIECE], &number.to_be_bytes()[..], &at.to_be_bytes()].concat()
}

fn head_row(digest: &[u8; 32], blob: &Blob) -> Row {
    let value = rmp_serde::to_vec(&(blob.number, blob.size_bytes, blob.stored_ms));
    Row { key: head_key(digest), value: value.ok().map(Bytes::from) }
}
