//! Keeping a version: its blobs, the document that names them, and what makes room for it.

use bulkhead_core::{Digest, PluginName, TenantName, UnixMs};
use bulkhead_queue::{DocumentId, DocumentKind, Expected, QueueError};

use super::{FleetError, Shelf, parsed, written};
use crate::fleet::{Room, Version};
use crate::manifest::MAX_MANIFEST_BYTES;
use crate::plugins::Identity;
use crate::trust::MAX_FILE_BYTES;

/// What is pushed.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The plugin.
    pub name: PluginName,
    /// The tenant whose it is; none for the operator's.
    pub owner: Option<TenantName>,
    /// The component.
    pub component: Vec<u8>,
    /// The version that it gives itself, if that is known.
    pub version: Option<String>,
    /// Its manifest's text, if it has one.
    pub manifest: Option<String>,
    /// Its signature file's text, if it has one.
    pub signature: Option<String>,
}

/// What a push came to.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The version as it is kept.
    pub version: Version,
    /// Whether this very version was pushed before.
    pub was_known: bool,
    /// Versions that made room.
    pub forgotten: Vec<Version>,
}

impl Shelf<'_> {
    /// Whether a room has place for a version, in whose favour others would go.
    pub async fn has_room(
        &self,
        room: &Room,
        plugin: &Identity,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<Result<(), String>, QueueError> {
        let fleet = self.read().await?;
        Ok(room.made_by(&fleet, plugin, digest, size_bytes).map(|_| ()))
    }

    /// Keep a version of a plugin, within a room if it has one. It serves when it is activated;
    /// hosts take it through their gates before. What is pushed at once by several programs may
    /// be over the room by what each of them pushes.
    pub async fn push(
        &self,
        upload: Upload,
        room: Option<&Room>,
        now: UnixMs,
    ) -> Result<Pushed, FleetError> {
        let Upload { name, owner, component, version, manifest, signature } = upload;
        for (what, text, most) in
            [("manifest", &manifest, MAX_MANIFEST_BYTES), ("signature", &signature, MAX_FILE_BYTES)]
        {
            let bytes = text.as_ref().map_or(0, |text| text.len() as u64);
            if bytes > most {
                return Err(FleetError::Refused(format!(
                    "the {what} has {bytes} bytes; at most {most} are read"
                )));
            }
        }
        let (identity, size_bytes) =
            (Identity::of(owner.as_ref(), name.as_str()), component.len() as u64);
        let strays = self.sweep(now).await?;
        if let Some(room) = room {
            let is_room =
                self.has_room(room, &identity, Digest::of(&component), size_bytes).await?;
            is_room.map_err(FleetError::Refused)?;
            strays.check()?;
        }
        // The component last: it is then as new as the version is.
        let manifest = match manifest {
            Some(text) => Some(self.archive.put_blob(text.as_bytes()).await?),
            None => None,
        };
        let digest = self.archive.put_blob(&component).await?;
        let gone = || FleetError::Refused("the blob was removed while it was pushed; again".into());
        let pushed_at = self.archive.blob_info(&digest).await?.ok_or_else(gone)?.stored_at;
        let version = Version {
            name,
            owner,
            digest,
            version,
            manifest,
            signature,
            size_bytes,
            pushed_at,
            pushed_by: self.actor.clone(),
        };
        let id = DocumentId::new(DocumentKind::Version, version.key());
        let held = self.archive.document(&id).await?;
        self.archive.put_document(&id, &written(&version)?, &Expected::Anything, None).await?;
        self.note("plugin.push", &identity, &digest.to_string()).await?;
        let was_known = held.is_some();
        let replaced: Option<Version> = held.as_ref().and_then(parsed);
        self.give_up(replaced.as_slice()).await?;
        let fleet = self.read().await?;
        let mut old = fleet.old(&identity);
        old.retain(|version| version.digest != digest);
        // Where there is no room any more, others pushed meanwhile; the next push is refused.
        let room = room.map(|room| room.made_by(&fleet, &identity, digest, size_bytes));
        for version in room.and_then(Result::ok).into_iter().flatten() {
            if !old.contains(&version) {
                old.push(version);
            }
        }
        let forgotten: Vec<Version> = old.into_iter().cloned().collect();
        self.forget(&forgotten).await?;
        Ok(Pushed { version, was_known, forgotten })
    }
}
