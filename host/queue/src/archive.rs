//! What brokers keep for operators beside tasks.
//!
//! Each facility is small and knows nothing of who uses it: documents, blobs, a journal, the
//! history of queues. `docs/queue.md` states what each promises.

use async_trait::async_trait;
use bulkhead_core::{Digest, QueueName, UnixMs};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::blob::{BlobDraft, BlobInfo, BlobPiece, PIECE_BYTES, damaged, pieces};
use crate::document::{Document, DocumentId, DocumentKind, Expected};
use crate::error::QueueError;
use crate::history::{Resolution, Sample};
use crate::journal::{JournalEntry, JournalLine, JournalRange};

/// Where operators' tools keep what is no task. Every method is atomic unless it says
/// otherwise, and is decided by the broker's own clock.
#[async_trait]
pub trait Archive: Send + Sync {
    // Documents.

    /// Store a document in place of what is expected there; whether it was. It goes after
    /// `ttl_ms`, or stays without. At most 10,000 of a kind are kept, of at most 64 KiB each and
    /// 64 MiB together. Hosts are told by [`crate::Signal::Documents`].
    async fn put_document(
        &self,
        id: &DocumentId,
        document: &Document,
        expected: &Expected,
        ttl_ms: Option<u64>,
    ) -> Result<bool, QueueError>;

    /// A document, if it is there.
    async fn document(&self, id: &DocumentId) -> Result<Option<Document>, QueueError>;

    /// All documents of a kind, by key. Not atomic: those that are written meanwhile may be
    /// missing.
    async fn documents(&self, kind: DocumentKind) -> Result<Vec<(String, Document)>, QueueError>;

    /// Forget a document; `false` if there is none. Hosts are told as of any change.
    async fn delete_document(&self, id: &DocumentId) -> Result<bool, QueueError>;

    // Blobs.

    /// Send a piece of a blob, in order from the first. What is sent is kept for 15 minutes.
    async fn send_blob(&self, draft: &BlobDraft, piece: &BlobPiece) -> Result<(), QueueError>;

    /// Make a blob of which all pieces were sent one that is seen. At most 1,000 are kept, of at
    /// most 256 MiB each and 4 GiB together.
    async fn keep_blob(&self, draft: &BlobDraft) -> Result<(), QueueError>;

    /// One blob, if it is there.
    async fn blob_info(&self, digest: &Digest) -> Result<Option<BlobInfo>, QueueError>;

    /// A piece of a blob that is there.
    async fn blob_piece(
        &self,
        digest: &Digest,
        number: u32,
    ) -> Result<Option<BlobPiece>, QueueError>;

    /// All blobs, sorted by their names.
    async fn blobs(&self) -> Result<Vec<BlobInfo>, QueueError>;

    /// Forget a blob; `false` if there is none.
    async fn delete_blob(&self, digest: &Digest) -> Result<bool, QueueError>;

    /// Store bytes under their sha256. Not atomic: it is seen when all of it is there. One that
    /// is there already is stored again.
    async fn put_blob(&self, bytes: &[u8]) -> Result<Digest, QueueError> {
        let draft = BlobDraft::of(bytes)?;
        for (number, bytes) in (0..).zip(bytes.chunks(PIECE_BYTES)) {
            self.send_blob(&draft, &BlobPiece { number, bytes: bytes.to_vec() }).await?;
        }
        self.keep_blob(&draft).await?;
        Ok(draft.digest)
    }

    /// The bytes that have this sha256, if they are there whole. Not atomic: one that is deleted
    /// meanwhile is not there. [`QueueError::Protocol`] if they are others.
    async fn blob(&self, digest: &Digest) -> Result<Option<Bytes>, QueueError> {
        let Some(info) = self.blob_info(digest).await? else { return Ok(None) };
        let (mut whole, mut hash) = (Vec::new(), Sha256::new());
        for number in 0..pieces(info.size_bytes) {
            let Some(piece) = self.blob_piece(digest, number).await? else { return Ok(None) };
            hash.update(&piece.bytes);
            whole.extend_from_slice(&piece.bytes);
            if whole.len() as u64 > info.size_bytes {
                return Err(damaged(digest));
            }
        }
        match digest.0 == <[u8; 32]>::from(hash.finalize()) {
            true => Ok(Some(whole.into())),
            false => Err(damaged(digest)),
        }
    }

    // The journal.

    /// Write down what somebody did. The newest 10,000 lines are kept.
    async fn journal(&self, line: &JournalLine) -> Result<(), QueueError>;

    /// Lines of the journal, oldest first.
    async fn journal_entries(&self, range: &JournalRange) -> Result<Vec<JournalEntry>, QueueError>;

    // The history of queues.

    /// Make the queue's sample of this minute, and of this hour, if nobody has; whether one was
    /// made.
    async fn sample(&self, queue: &QueueName) -> Result<bool, QueueError>;

    /// The queue's samples from one time to another, both included, oldest first.
    async fn history(
        &self,
        queue: &QueueName,
        from: UnixMs,
        to: UnixMs,
        resolution: Resolution,
    ) -> Result<Vec<Sample>, QueueError>;
}
