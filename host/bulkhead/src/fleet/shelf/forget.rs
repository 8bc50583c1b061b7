//! Forgetting versions, and the blobs that none names.

use bulkhead_core::UnixMs;
use bulkhead_queue::{DocumentId, DocumentKind, QueueError};

use super::{FleetError, Shelf, key, unknown};
use crate::fleet::Version;
use crate::plugins::Identity;

/// How long a blob is left alone that no version names: one may be about to.
pub(super) const STRAY_KEPT_MS: u64 = 600_000;

/// Blobs that no version names, with which tenants' versions are stored no more: they are what
/// was begun and left, and what is stored for nobody is held against all.
pub(super) const MAX_STRAYS: usize = 100;
/// Bytes of such blobs.
const MAX_STRAY_BYTES: u64 = 512 << 20;

impl Shelf<'_> {
    /// Forget a plugin's versions and which one is active: hosts serve what is in their folders.
    /// How many versions were forgotten.
    pub async fn remove(&self, plugin: &Identity, now: UnixMs) -> Result<usize, FleetError> {
        let fleet = self.read().await?;
        let versions = fleet.versions_of(plugin);
        let activation = DocumentId::new(DocumentKind::Activation, key(plugin)?);
        let was_active = self.archive.delete_document(&activation).await?;
        self.forget_canary(plugin).await?;
        if versions.is_empty() && !was_active {
            return Err(unknown(plugin));
        }
        self.forget(versions).await?;
        self.note("plugin.remove", plugin, &format!("{} versions", versions.len())).await?;
        self.sweep(now).await?;
        Ok(versions.len())
    }

    /// Forget versions, and the blobs that only they named.
    pub(super) async fn forget(&self, versions: &[Version]) -> Result<(), QueueError> {
        for version in versions {
            let id = DocumentId::new(DocumentKind::Version, version.key());
            self.archive.delete_document(&id).await?;
        }
        self.give_up(versions).await
    }

    /// Delete the blobs of versions that are no more as they were, unless others name them. A blob
    /// that was stored again since is left to the sweep: another version may be about to name it.
    pub(super) async fn give_up(&self, versions: &[Version]) -> Result<(), QueueError> {
        if versions.is_empty() {
            return Ok(());
        }
        let named = self.read().await?.named();
        for version in versions {
            for digest in [Some(version.digest), version.manifest].into_iter().flatten() {
                let info = match named.contains(&digest) {
                    true => None,
                    false => self.archive.blob_info(&digest).await?,
                };
                if info.is_some_and(|blob| blob.stored_at <= version.pushed_at) {
                    self.archive.delete_blob(&digest).await?;
                }
            }
        }
        Ok(())
    }

    /// Delete blobs that no version names, unless they are so new that one may be about to. What
    /// is left of them.
    pub(super) async fn sweep(&self, now: UnixMs) -> Result<Strays, QueueError> {
        // Blobs first: what is named meanwhile is then seen.
        let blobs = self.archive.blobs().await?;
        let named = self.read().await?.named();
        let mut left = Strays::default();
        for blob in blobs.iter().filter(|blob| !named.contains(&blob.digest)) {
            if blob.stored_at + STRAY_KEPT_MS < now {
                self.archive.delete_blob(&blob.digest).await?;
            } else {
                left = Strays { count: left.count + 1, bytes: left.bytes + blob.size_bytes };
            }
        }
        Ok(left)
    }
}

/// Blobs that no version names.
#[derive(Debug, Default)]
pub(super) struct Strays {
    count: usize,
    bytes: u64,
}

impl Strays {
    /// Refuse more where there are too many.
    pub(super) fn check(&self) -> Result<(), FleetError> {
        if self.count < MAX_STRAYS && self.bytes < MAX_STRAY_BYTES {
            return Ok(());
        }
        Err(FleetError::Busy(format!(
            "{} blobs of {} bytes are of no version, which is the most beside tenants' versions; \
             they go within ten minutes: come again",
            self.count, self.bytes
        )))
    }
}
