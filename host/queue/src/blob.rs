//! Blobs: bytes that are named by their sha256, up to 256 MiB.
//!
//! They are sent and read in pieces of 1 MiB, so that nobody waits for another's bytes. One is
//! seen when all of it is there and not before; what was sent of one that was never finished is
//! forgotten after 15 minutes. Whoever reads one holds it against its name.

use std::time::Duration;

use bulkhead_core::{Digest, UnixMs};
use serde::{Deserialize, Serialize};

use crate::error::QueueError;

/// Bytes of one blob at most.
pub(crate) const MAX_BLOB_BYTES: u64 = 256 << 20;
/// Bytes of every piece but the last.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// Blobs at most.
pub(crate) const MAX_BLOBS: usize = 1_000;
/// Bytes of all blobs at most.
pub(crate) const MAX_BLOBS_BYTES: u64 = 4 << 30;
/// How long what was sent waits for the rest.
pub(crate) const DRAFT_KEPT: Duration = Duration::from_secs(15 * 60);

/// A blob on its way. Two senders of the same bytes have two drafts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobDraft {
    /// What its bytes must come to.
    pub digest: Digest,
    /// How many they are.
    pub size_bytes: u64,
    /// A random name of 1 to 64 letters and digits.
    pub name: String,
}

impl BlobDraft {
    /// Begin to send these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, QueueError> {
        let draft = Self {
            digest: Digest::of(bytes),
            size_bytes: bytes.len() as u64,
            name: uuid::Uuid::new_v4().simple().to_string(),
        };
        draft.check()?;
        Ok(draft)
    }

    /// Refuse one that can never become a blob.
    pub(crate) fn check(&self) -> Result<(), QueueError> {
        let Self { size_bytes, name, .. } = self;
        if *size_bytes > MAX_BLOB_BYTES {
            return Err(QueueError::Refused(format!(
                "the blob has {size_bytes} bytes; at most {MAX_BLOB_BYTES} are kept"
            )));
        }
        let named = (1..=64).contains(&name.len());
        if !named || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(QueueError::Refused(
                "a draft's name has 1 to 64 letters and digits".into(),
            ));
        }
        Ok(())
    }

    /// How many pieces it has.
    pub(crate) fn pieces(&self) -> u32 {
        pieces(self.size_bytes)
    }

    /// Refuse a piece that is none of this draft's.
    pub(crate) fn check_piece(&self, piece: &BlobPiece) -> Result<(), QueueError> {
        self.check()?;
        let begins = u64::from(piece.number) * PIECE_BYTES as u64;
        let bytes = self.size_bytes.saturating_sub(begins).min(PIECE_BYTES as u64);
        if piece.number >= self.pieces() || piece.bytes.len() as u64 != bytes {
            return Err(QueueError::Refused(format!(
                "piece {} has {} bytes; {bytes} belong there",
                piece.number,
                piece.bytes.len()
            )));
        }
        Ok(())
    }

    pub(crate) fn incomplete(&self) -> QueueError {
        QueueError::Refused(format!(
            "not all of the blob `{}` is there, or it is not what it is named by; send it again",
            self.digest.short()
        ))
    }
}

/// How many pieces so many bytes have.
pub(crate) fn pieces(size_bytes: u64) -> u32 {
    u32::try_from(size_bytes.div_ceil(PIECE_BYTES as u64)).unwrap_or(u32::MAX)
}

/// A piece of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobPiece {
    /// Its place, from 0.
    pub number: u32,
    /// Its bytes: 1 MiB, or what is left of the last one.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// A blob that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobInfo {
    /// Its name.
    pub digest: Digest,
    /// Its bytes.
    pub size_bytes: u64,
    /// When it was stored last, by the broker's clock.
    pub stored_at: UnixMs,
}

/// What is said when there is no room for another.
pub(crate) fn too_many() -> QueueError {
    QueueError::Refused(format!(
        "{MAX_BLOBS} blobs, or {MAX_BLOBS_BYTES} bytes of them, are the most that is stored; \
         remove plugin versions that are not used"
    ))
}

pub(crate) fn damaged(digest: &Digest) -> QueueError {
    QueueError::Protocol(format!(
        "the blob `{}` does not have the bytes that it is named by; delete it and store it again",
        digest.short()
    ))
}
