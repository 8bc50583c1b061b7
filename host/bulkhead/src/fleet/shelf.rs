//! What people do with pushed plugins: push, activate, roll back, remove. Each is a change of
//! documents in the broker, which hosts then follow; each is written in the journal.
//!
//! It knows the broker's archive and no host.

use bulkhead_core::{Digest, PluginId, PluginName, TenantName, UnixMs};
use bulkhead_queue::{
    Archive, Document, DocumentId, DocumentKind, Expected, JournalLine, QueueError,
};

use super::{Activation, Fleet, KEPT_STEPS, Room, Step, Version, meant};
use crate::manifest::MAX_MANIFEST_BYTES;
use crate::plugins::Identity;
use crate::trust::MAX_FILE_BYTES;

/// How often a change is tried again that another one came before.
pub(super) const TRIES: u32 = 5;

/// How long a blob is left alone that no version names: one may be about to.
const STRAY_KEPT_MS: u64 = 600_000;

/// Blobs that no version names, with which tenants' versions are stored no more: they are what
/// was begun and left, and what is stored for nobody is held against all.
const MAX_STRAYS: usize = 100;
/// Bytes of such blobs.
const MAX_STRAY_BYTES: u64 = 512 << 20;

/// Why pushed plugins are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// What was asked for makes no sense as things are.
    #[error("{0}")]
    Refused(String),
    /// There is no such plugin or version.
    #[error("{0}")]
    NotFound(String),
    /// There is no room now; it is made within ten minutes.
    #[error("{0}")]
    Busy(String),
    /// The broker did not do its part.
    #[error(transparent)]
    Broker(#[from] QueueError),
}

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

/// What an activation came to.
#[derive(Debug, Clone)]
pub struct Activated {
    /// The version that is active now.
    pub version: Version,
    /// The one that was, if there was one.
    pub before: Option<Digest>,
}

/// The pushed plugins of one broker, and in whose name they are changed.
pub struct Shelf<'a> {
    pub(super) archive: &'a dyn Archive,
    pub(super) actor: String,
}

impl<'a> Shelf<'a> {
    /// Change them as this person or program.
    pub fn new(archive: &'a dyn Archive, actor: impl Into<String>) -> Self {
        Self { archive, actor: actor.into() }
    }

    /// All that was pushed.
    pub async fn read(&self) -> Result<Fleet, QueueError> {
        read(self.archive).await
    }

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

    /// Let all hosts serve a version, which is named by the beginning of its digest or by what it
    /// calls itself.
    pub async fn activate(
        &self,
        plugin: &Identity,
        text: &str,
        now: UnixMs,
    ) -> Result<Activated, FleetError> {
        self.switch(plugin, now, |versions, _| {
            meant(versions, text)
                .map(|version| (version.clone(), false))
                .map_err(FleetError::NotFound)
        })
        .await
    }

    /// Let all hosts serve a version, if this is what is active. Whether the version is active
    /// now.
    pub(super) async fn activate_over(
        &self,
        plugin: &Identity,
        digest: Digest,
        base: Option<Digest>,
        now: UnixMs,
    ) -> Result<bool, FleetError> {
        let gone = || FleetError::NotFound(format!("{} is not kept any more", digest.short()));
        let switched = self
            .step(plugin, now, |versions, activation| {
                let active = activation.and_then(Activation::active);
                let version = versions.iter().find(|version| version.digest == digest);
                match active == base {
                    true => Ok(Some((version.ok_or_else(gone)?.clone(), false))),
                    false => Ok(None),
                }
            })
            .await?;
        match switched {
            Some(_) => Ok(true),
            None => Ok(self.read().await?.active(plugin) == Some(digest)),
        }
    }

    /// Go back to the version that was active before.
    pub async fn roll_back(&self, plugin: &Identity, now: UnixMs) -> Result<Activated, FleetError> {
        self.switch(plugin, now, |versions, activation| {
            let kept = versions.iter().map(|version| version.digest).collect();
            let before = activation.and_then(|activation| activation.before(&kept));
            let before = before.and_then(|step| versions.iter().find(|v| v.digest == step.digest));
            before.map(|version| (version.clone(), true)).ok_or_else(|| {
                FleetError::NotFound("no version that is still kept was active before".to_owned())
            })
        })
        .await
    }

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

    /// Activate what is chosen; a canary that runs has ended by that.
    async fn switch(
        &self,
        plugin: &Identity,
        now: UnixMs,
        choose: impl Fn(&[Version], Option<&Activation>) -> Result<(Version, bool), FleetError>,
    ) -> Result<Activated, FleetError> {
        let chosen =
            self.step(plugin, now, |versions, activation| choose(versions, activation).map(Some));
        let activated = chosen.await?.ok_or_else(|| unknown(plugin))?;
        self.end_canary_of(plugin, now).await?;
        Ok(activated)
    }

    /// Activate what is chosen; nothing if nothing is.
    async fn step(
        &self,
        plugin: &Identity,
        now: UnixMs,
        choose: impl Fn(&[Version], Option<&Activation>) -> Result<Option<(Version, bool)>, FleetError>,
    ) -> Result<Option<Activated>, FleetError> {
        let id = DocumentId::new(DocumentKind::Activation, key(plugin)?);
        for _ in 0..TRIES {
            let fleet = self.read().await?;
            let versions = fleet.versions_of(plugin);
            if versions.is_empty() {
                return Err(unknown(plugin));
            }
            let held = self.archive.document(&id).await?;
            let activation: Option<Activation> = held.as_ref().and_then(parsed);
            let Some((version, rollback)) = choose(versions, activation.as_ref())? else {
                return Ok(None);
            };
            let before = activation.as_ref().and_then(Activation::active);
            let mut steps = activation.map(|activation| activation.steps).unwrap_or_default();
            steps.push(Step {
                digest: version.digest,
                version: version.version.clone(),
                at: now,
                by: self.actor.clone(),
                rollback,
            });
            let excess = steps.len().saturating_sub(KEPT_STEPS);
            steps.drain(..excess);
            let (name, owner) = (version.name.clone(), version.owner.clone());
            let document = written(&Activation { name, owner, steps })?;
            let expected = held.map_or(Expected::Nothing, Expected::Exactly);
            if self.archive.put_document(&id, &document, &expected, None).await? {
                let action = if rollback { "plugin.rollback" } else { "plugin.activate" };
                self.note(action, plugin, &version.digest.to_string()).await?;
                return Ok(Some(Activated { version, before }));
            }
        }
        Err(FleetError::Refused(format!(
            "others change which version of `{plugin}` is active; look at `bulkhead plugin history \
             {plugin}` and try again"
        )))
    }

    /// Forget versions, and the blobs that only they named.
    async fn forget(&self, versions: &[Version]) -> Result<(), QueueError> {
        for version in versions {
            let id = DocumentId::new(DocumentKind::Version, version.key());
            self.archive.delete_document(&id).await?;
        }
        self.give_up(versions).await
    }

    /// Delete the blobs of versions that are no more as they were, unless others name them. A blob
    /// that was stored again since is left to the sweep: another version may be about to name it.
    async fn give_up(&self, versions: &[Version]) -> Result<(), QueueError> {
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
    async fn sweep(&self, now: UnixMs) -> Result<Strays, QueueError> {
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

    pub(super) async fn note(
        &self,
        action: &str,
        plugin: &Identity,
        detail: &str,
    ) -> Result<(), QueueError> {
        let line = JournalLine::new(&self.actor, action, &plugin.to_string(), detail);
        self.archive.journal(&line).await
    }
}

/// Blobs that no version names.
#[derive(Debug, Default)]
struct Strays {
    count: usize,
    bytes: u64,
}

impl Strays {
    /// Refuse more where there are too many.
    fn check(&self) -> Result<(), FleetError> {
        if self.count < MAX_STRAYS && self.bytes < MAX_STRAY_BYTES {
            return Ok(());
        }
        Err(FleetError::Busy(format!(
            "{} blobs of {} bytes are of no version, which is the most beside tenants' versions;              they go within ten minutes: come again",
            self.count, self.bytes
        )))
    }
}

/// All that was pushed. What cannot be read was put there by somebody else's hand.
pub(crate) async fn read(archive: &dyn Archive) -> Result<Fleet, QueueError> {
    // Activations first: a version that one names is then among the versions.
    let activations = archive.documents(DocumentKind::Activation).await?;
    let canaries = archive.documents(DocumentKind::Canary).await?;
    let versions = archive.documents(DocumentKind::Version).await?;
    let activations = activations.iter().filter_map(|(_, document)| parsed(document));
    let canaries = canaries.iter().filter_map(|(_, document)| parsed(document));
    let versions = versions.iter().filter_map(|(_, document)| parsed(document));
    Ok(Fleet::of(versions, activations).with(canaries))
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(document: &Document) -> Option<T> {
    serde_json::from_slice(&document.0).ok()
}

pub(super) fn written(of: &impl serde::Serialize) -> Result<Document, FleetError> {
    let bytes = serde_json::to_vec(of);
    bytes.map(Document).map_err(|e| FleetError::Refused(format!("it cannot be written: {e}")))
}

pub(super) fn key(plugin: &Identity) -> Result<String, FleetError> {
    let id: Option<PluginId> = plugin.id();
    let id = id.ok_or_else(|| FleetError::NotFound(format!("`{plugin}` is no plugin's name")))?;
    Ok(id.stored())
}

pub(super) fn unknown(plugin: &Identity) -> FleetError {
    FleetError::NotFound(format!(
        "no version of `{plugin}` was pushed; `bulkhead plugin push` keeps one"
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use bulkhead_queue::{Broker, Clock, EmbeddedBroker, JournalRange};

    use super::super::{Fleet, KEPT_VERSIONS};
    use super::*;

    /// A broker by a clock that is moved.
    struct Stage {
        broker: EmbeddedBroker,
        now_ms: Arc<AtomicU64>,
    }

    impl Stage {
        fn new() -> Self {
            let now_ms = Arc::new(AtomicU64::new(1_000));
            let read = now_ms.clone();
            let clock = Clock::read_by(move || read.load(Ordering::Relaxed) * 1_000);
            Self { broker: EmbeddedBroker::in_memory_at(clock), now_ms }
        }

        fn shelf(&self) -> Shelf<'_> {
            Shelf::new(self.broker.archive(), "ann")
        }

        fn pass(&self, ms: u64) -> UnixMs {
            self.now_ms.fetch_add(ms, Ordering::Relaxed) + ms
        }

        async fn push(&self, number: u64) -> Pushed {
            self.pass(1);
            let upload = Upload {
                name: "resize".parse().unwrap(),
                owner: None,
                component: number.to_be_bytes().to_vec(),
                version: Some(format!("{number}.0.0")),
                manifest: Some(format!("# {number}")),
                signature: None,
            };
            let now = self.now_ms.load(Ordering::Relaxed);
            self.shelf().push(upload, None, now).await.unwrap()
        }

        /// Push a component of this text as this plugin of `acme`.
        async fn push_of_acme(
            &self,
            plugin: &str,
            text: &str,
            room: &Room,
        ) -> Result<Pushed, FleetError> {
            let now = self.pass(1);
            let manifest = Some(format!("# {now}"));
            let upload = Upload {
                name: plugin.parse().unwrap(),
                owner: Some("acme".parse().unwrap()),
                component: text.as_bytes().to_vec(),
                version: None,
                manifest,
                signature: None,
            };
            self.shelf().push(upload, Some(room), now).await
        }

        async fn blobs(&self) -> usize {
            self.broker.archive().blobs().await.unwrap().len()
        }

        async fn kept(&self) -> Vec<String> {
            let fleet: Fleet = self.shelf().read().await.unwrap();
            let versions = fleet.versions_of(&"resize".into()).iter();
            versions.filter_map(|version| version.version.clone()).collect()
        }
    }

    #[tokio::test]
    async fn old_versions_and_blobs_that_nothing_names_go() {
        let stage = Stage::new();
        let plugin = Identity::from("resize");
        assert!(!stage.push(1).await.was_known);
        stage.shelf().activate(&plugin, "1.0.0", 5).await.unwrap();
        assert!(stage.push(1).await.was_known, "pushing one again is no error");
        for number in 2..=KEPT_VERSIONS as u64 + 1 {
            assert!(stage.push(number).await.forgotten.is_empty());
        }
        let forgotten = stage.push(20).await.forgotten;
        assert_eq!(forgotten[0].version.as_deref(), Some("2.0.0"), "1.0.0 is active");
        let kept = stage.kept().await;
        assert_eq!((kept.len(), kept[0].as_str()), (KEPT_VERSIONS + 1, "1.0.0"));
        assert_eq!(stage.blobs().await, 2 * (KEPT_VERSIONS + 1), "its blobs go with a version");
        let archive = stage.broker.archive();
        archive.put_blob(b"stray").await.unwrap();
        stage.push(20).await;
        assert_eq!(stage.blobs().await, 2 * (KEPT_VERSIONS + 1) + 1, "it may yet be named");
        stage.pass(2 * STRAY_KEPT_MS);
        stage.push(20).await;
        assert_eq!(stage.blobs().await, 2 * (KEPT_VERSIONS + 1));
        assert_eq!(stage.shelf().remove(&plugin, 9).await.unwrap(), KEPT_VERSIONS + 1);
        assert_eq!(stage.blobs().await, 0);
        assert!(stage.kept().await.is_empty());
        let gone = stage.shelf().remove(&plugin, 9).await.unwrap_err();
        assert!(matches!(gone, FleetError::NotFound(_)), "{gone}");
    }

    #[tokio::test]
    async fn a_tenant_that_pushes_on_and_on_takes_no_more_than_its_room() {
        let stage = Stage::new();
        let room = Room { plugins: 2, versions: 4, bytes: 1_000 };
        for number in 0..50 {
            stage.push_of_acme("a", &format!("a{number}"), &room).await.unwrap();
            stage.push_of_acme("b", "b", &room).await.unwrap();
            assert!(stage.blobs().await <= 2 * 4, "{number}");
        }
        let third = stage.push_of_acme("c", "c", &room).await.unwrap_err();
        assert!(matches!(&third, FleetError::Refused(why) if why.contains("2 plugins")), "{third}");
        let large = stage.push_of_acme("b", &"b".repeat(1_001), &room).await.unwrap_err();
        assert!(matches!(large, FleetError::Refused(_)), "{large}");
        assert_eq!(stage.blobs().await, 2 * 4, "what is refused is not stored");
    }

    #[tokio::test]
    async fn what_nobody_names_stops_tenants_and_not_the_operator() {
        let stage = Stage::new();
        for number in 0..MAX_STRAYS {
            stage.broker.archive().put_blob(&number.to_be_bytes()).await.unwrap();
        }
        let busy = stage.push_of_acme("a", "a", &Room::MOST).await.unwrap_err();
        assert!(matches!(busy, FleetError::Busy(_)), "{busy}");
        stage.push(1).await;
        stage.pass(2 * STRAY_KEPT_MS);
        stage.push_of_acme("a", "a", &Room::MOST).await.unwrap();
        assert_eq!(stage.blobs().await, 4, "it swept before it stored");
    }

    #[tokio::test]
    async fn of_two_who_activate_at_once_both_are_in_the_history() {
        let stage = Stage::new();
        let plugin = Identity::from("resize");
        stage.push(1).await;
        stage.push(2).await;
        let shelf = stage.shelf();
        let (one, two) =
            tokio::join!(shelf.activate(&plugin, "1.0.0", 5), shelf.activate(&plugin, "2.0.0", 6));
        let (one, two) = (one.unwrap(), two.unwrap());
        let fleet = shelf.read().await.unwrap();
        let steps = &fleet.activations[&plugin].steps;
        let mut activated = vec![one.version.digest, two.version.digest];
        activated.sort_by_key(|digest| *digest != steps[0].digest);
        assert_eq!(steps.iter().map(|step| step.digest).collect::<Vec<_>>(), activated);
        let back = shelf.roll_back(&plugin, 7).await.unwrap();
        assert_eq!((back.version.digest, back.before), (activated[0], Some(activated[1])));
        let lines = stage.broker.archive().journal_entries(&JournalRange::newest(1)).await.unwrap();
        let line = &lines[0].line;
        assert_eq!((&*line.actor, &*line.action), ("ann", "plugin.rollback"));
        assert_eq!((&*line.object, &line.detail), ("resize", &activated[0].to_string()));
    }
}
