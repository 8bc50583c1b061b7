//! What is kept for operators, each method one call of the machine.

use async_trait::async_trait;
use bulkhead_core::{Digest, QueueName, UnixMs};

use super::EmbeddedBroker;
use crate::archive::Archive;
use crate::blob::{BlobDraft, BlobInfo, BlobPiece};
use crate::broker::{Signal, Topic};
use crate::document::{Document, DocumentId, DocumentKind, Expected};
use crate::error::QueueError;
use crate::history::{Resolution, Sample};
use crate::journal::{JournalEntry, JournalLine, JournalRange};

impl EmbeddedBroker {
    /// Tell hosts that documents have changed, if they have.
    fn tell_of_documents(&self, kind: DocumentKind, changed: bool) -> bool {
        if changed {
            self.signals.send(Topic::Rescan, Signal::Documents(kind));
        }
        changed
    }
}

#[async_trait]
impl Archive for EmbeddedBroker {
    async fn put_document(
        &self,
        id: &DocumentId,
        document: &Document,
        expected: &Expected,
        ttl_ms: Option<u64>,
    ) -> Result<bool, QueueError> {
        let putting =
            self.call(|machine, now| machine.put_document(id, document, expected, ttl_ms, now));
        Ok(self.tell_of_documents(id.kind, putting.await??))
    }

    async fn document(&self, id: &DocumentId) -> Result<Option<Document>, QueueError> {
        self.call(|machine, now| machine.document(id, now)).await?
    }

    async fn documents(&self, kind: DocumentKind) -> Result<Vec<(String, Document)>, QueueError> {
        self.call(|machine, now| machine.documents(kind, now)).await
    }

    async fn delete_document(&self, id: &DocumentId) -> Result<bool, QueueError> {
        let deleting = self.call(|machine, now| machine.delete_document(id, now));
        Ok(self.tell_of_documents(id.kind, deleting.await??))
    }

    async fn send_blob(&self, draft: &BlobDraft, piece: &BlobPiece) -> Result<(), QueueError> {
        self.call(|machine, now| machine.send_blob(draft, piece, now)).await?
    }

    async fn keep_blob(&self, draft: &BlobDraft) -> Result<(), QueueError> {
        self.call(|machine, now| machine.keep_blob(draft, now)).await?
    }

    async fn blob_info(&self, digest: &Digest) -> Result<Option<BlobInfo>, QueueError> {
        self.call(|machine, _| machine.blob_info(digest)).await
    }

    async fn blob_piece(
        &self,
        digest: &Digest,
        number: u32,
    ) -> Result<Option<BlobPiece>, QueueError> {
        self.call(|machine, _| machine.blob_piece(digest, number)).await
    }

    async fn blobs(&self) -> Result<Vec<BlobInfo>, QueueError> {
        self.call(|machine, _| machine.blobs()).await
    }

    async fn delete_blob(&self, digest: &Digest) -> Result<bool, QueueError> {
        self.call(|machine, _| machine.delete_blob(digest)).await
    }

    async fn journal(&self, line: &JournalLine) -> Result<(), QueueError> {
        self.call(|machine, now| machine.journal(line, now)).await?
    }

    async fn journal_entries(&self, range: &JournalRange) -> Result<Vec<JournalEntry>, QueueError> {
        self.call(|machine, _| machine.journal_entries(range)).await?
    }

    async fn sample(&self, queue: &QueueName) -> Result<bool, QueueError> {
        self.call(|machine, now| machine.sample(queue, now)).await
    }

    async fn history(
        &self,
        queue: &QueueName,
        from: UnixMs,
        to: UnixMs,
        resolution: Resolution,
    ) -> Result<Vec<Sample>, QueueError> {
        self.call(|machine, _| machine.history(queue, from, to, resolution)).await
    }
}
