//! What is kept for operators, by facility.

use async_trait::async_trait;
use bulkhead_core::{Digest, QueueName, UnixMs};

use super::{RedisBroker, blobs, documents, history, journal};
use crate::archive::Archive;
use crate::blob::{BlobDraft, BlobInfo, BlobPiece};
use crate::document::{Document, DocumentId, DocumentKind, Expected};
use crate::error::QueueError;
use crate::history::{Resolution, Sample};
use crate::journal::{JournalEntry, JournalLine, JournalRange};

#[async_trait]
impl Archive for RedisBroker {
    async fn put_document(
        &self,
        id: &DocumentId,
        document: &Document,
        expected: &Expected,
        ttl_ms: Option<u64>,
    ) -> Result<bool, QueueError> {
        documents::put(self, id, document, expected, ttl_ms).await
    }

    async fn document(&self, id: &DocumentId) -> Result<Option<Document>, QueueError> {
        documents::look_up(self, id).await
    }

    async fn documents(&self, kind: DocumentKind) -> Result<Vec<(String, Document)>, QueueError> {
        documents::list(self, kind).await
    }

    async fn delete_document(&self, id: &DocumentId) -> Result<bool, QueueError> {
        documents::delete(self, id).await
    }

    async fn send_blob(&self, draft: &BlobDraft, piece: &BlobPiece) -> Result<(), QueueError> {
        blobs::send(self, draft, piece).await
    }

    async fn keep_blob(&self, draft: &BlobDraft) -> Result<(), QueueError> {
        blobs::keep(self, draft).await
    }

    async fn blob_info(&self, digest: &Digest) -> Result<Option<BlobInfo>, QueueError> {
        blobs::look_up(self, digest).await
    }

    async fn blob_piece(
        &self,
        digest: &Digest,
        number: u32,
    ) -> Result<Option<BlobPiece>, QueueError> {
        blobs::piece(self, digest, number).await
    }

    async fn blobs(&self) -> Result<Vec<BlobInfo>, QueueError> {
        blobs::list(self).await
    }

    async fn delete_blob(&self, digest: &Digest) -> Result<bool, QueueError> {
        blobs::delete(self, digest).await
    }

    async fn journal(&self, line: &JournalLine) -> Result<(), QueueError> {
        journal::write(self, line).await
    }

    async fn journal_entries(&self, range: &JournalRange) -> Result<Vec<JournalEntry>, QueueError> {
        journal::read(self, range).await
    }

    async fn sample(&self, queue: &QueueName) -> Result<bool, QueueError> {
        history::sample(self, queue).await
    }

    async fn history(
        &self,
        queue: &QueueName,
        from: UnixMs,
        to: UnixMs,
        resolution: Resolution,
    ) -> Result<Vec<Sample>, QueueError> {
        history::read(self, queue, from, to, resolution).await
    }
}
