//! One plugin on its way through the gates: trust, the manifest, the sandbox's. It comes from a
//! folder, or was pushed to the broker; of a pushed one less is believed.
//!
//! So many are on their way at one time, and a tenant's take no place from another's.

use std::sync::Arc;
use std::time::Instant;

use bulkhead_core::Digest;
use bulkhead_queue::{Archive, Broker, QueueError};
use bulkhead_sandbox::{Account, Gate, Hold, Plugin, PluginSource, Sandbox, Turnstile};
use sha2::{Digest as _, Sha256};

use super::folder::PluginFiles;
use super::{Identity, LiveSettings, PluginSettings, Registry};
use crate::config::quantity::Size;
use crate::fleet::Version;
use crate::manifest::{self, MAX_MANIFEST_BYTES, Remembering, Said};
use crate::options::FleetPolicy;
use crate::trust::TrustPolicy;

/// Plugins of the operator's, and as many of tenants', whose bytes are in memory at one time.
const MAX_LOADS: usize = 8;

/// Plugins of one tenant among them.
const MAX_LOADS_OF_ONE: usize = 2;

/// The gate of trust.
pub(crate) const TRUST: &str = "trust";

/// What a pushed plugin fails at that the broker does not give.
pub(super) const FETCH: &str = "fetch";

/// Why a file does not serve: the gate's name and the reason.
pub(super) type Refusal = (String, String);

/// What takes a file through the gates.
pub(super) struct Loader {
    pub(super) registry: Arc<Registry>,
    sandbox: Sandbox,
    max_bytes: u64,
    settings: LiveSettings,
    fleet: FleetPolicy,
    operators: Turnstile,
    tenants: Turnstile,
}

/// A plugin to be taken through the gates.
pub(super) struct Candidate {
    pub(super) identity: Identity,
    pub(super) from: From,
    /// Who pays; nobody for the operator's.
    pub(super) account: Option<Account>,
}

/// Where a plugin's bytes are.
pub(super) enum From {
    /// In a folder.
    Folder(Arc<PluginFiles>),
    /// In the broker.
    Broker(Arc<dyn Broker>, Box<Version>),
}

impl From {
    /// How many bytes the plugin has; none if that cannot be told.
    async fn length(&self, name: &str) -> u64 {
        match self {
            Self::Folder(files) => {
                let (files, name) = (files.clone(), name.to_owned());
                let length = tokio::task::spawn_blocking(move || files.length(&name));
                length.await.ok().and_then(Result::ok).unwrap_or(0)
            }
            Self::Broker(_, version) => version.size_bytes,
        }
    }

    async fn read(self, name: &str, max_bytes: u64) -> Result<Contents, Refusal> {
        match self {
            Self::Folder(files) => {
                let name = name.to_owned();
                let reading =
                    tokio::task::spawn_blocking(move || Contents::read(&files, &name, max_bytes));
                let unread = |error: String| ("read".to_owned(), error);
                let read = reading.await.map_err(|error| unread(error.to_string()))?;
                read.map_err(|error| unread(error.to_string()))
            }
            Self::Broker(broker, version) => {
                Contents::fetch(broker.archive(), &version, max_bytes).await
            }
        }
    }
}

/// What became of a plugin at the gates.
pub(super) struct Examined {
    pub(super) identity: Identity,
    pub(super) digest: Digest,
    pub(super) began: Instant,
    /// The plugin, or nothing if this very version serves already.
    pub(super) verdict: Result<Option<(Plugin, Remembering)>, Refusal>,
}

/// What there is of one plugin.
struct Contents {
    pushed: bool,
    bytes: Vec<u8>,
    digest: Digest,
    signature: Result<Option<String>, String>,
    manifest: Result<Option<String>, String>,
}

impl Loader {
    pub(super) fn new(
        registry: Arc<Registry>,
        sandbox: Sandbox,
        max_bytes: u64,
        settings: LiveSettings,
        fleet: FleetPolicy,
    ) -> Self {
        let operators = Turnstile::new(MAX_LOADS, MAX_LOADS);
        let tenants = Turnstile::new(MAX_LOADS, MAX_LOADS_OF_ONE);
        Self { registry, sandbox, max_bytes, settings, fleet, operators, tenants }
    }

    /// Take one plugin through the gates.
    pub(super) async fn examine(self: Arc<Self>, candidate: Candidate) -> Examined {
        let began = Instant::now();
        let Candidate { identity, from, account } = candidate;
        let turns = if identity.owner.is_some() { &self.tenants } else { &self.operators };
        let _turn = turns.turn(identity.owner.as_ref()).await;
        // Bytes are read when there is memory for them and for what is made of them.
        let length = from.length(&identity.name).await.min(self.max_bytes);
        let room = self.sandbox.room_to_load(usize::try_from(length).unwrap_or(usize::MAX)).await;
        let room = match room {
            Ok(room) => room,
            Err(refused) => {
                let verdict = Err((refused.gate.as_str().into(), refused.message));
                return Examined { identity, digest: Digest::default(), began, verdict };
            }
        };
        let (digest, verdict) = match from.read(&identity.name, length).await {
            Ok(contents) => {
                (contents.digest, self.pass_gates(&identity, contents, account, room).await)
            }
            Err(refusal) => (Digest::default(), Err(refusal)),
        };
        Examined { identity, digest, began, verdict }
    }

    /// The plugin, or nothing if this very version serves already.
    async fn pass_gates(
        &self,
        identity: &Identity,
        contents: Contents,
        account: Option<Account>,
        room: Hold,
    ) -> Result<Option<(Plugin, Remembering)>, Refusal> {
        let name = &identity.name;
        let Contents { pushed, bytes, digest, signature, manifest } = contents;
        let settings = self.settings.now();
        let distrusted = |reason: String| (TRUST.to_owned(), reason);
        let signature = signature
            .map_err(|error| distrusted(format!("`{name}.wasm.sig` cannot be read: {error}")))?;
        let signature = signature.as_deref();
        let trusted = match pushed {
            true => trusts_pushed(&settings, self.fleet, identity, digest, signature),
            false => {
                let trust = settings.trust(identity.owner.as_ref());
                trust.judge(name, digest, signature).map(|_| ())
            }
        };
        trusted.map_err(distrusted)?;
        let file = format!("{name}.toml");
        let unusable = |reason: String| ("manifest".to_owned(), reason);
        let mut said = match manifest {
            Ok(None) => Said::default(),
            Ok(Some(text)) => {
                manifest::parse_whole(&file, &text).map_err(|e| unusable(e.to_string()))?
            }
            Err(error) => return Err(unusable(format!("`{file}` cannot be read: {error}"))),
        };
        if pushed {
            said = said.pushed();
        }
        let (manifest, remembering) =
            said.of(identity, &settings).map_err(|e| unusable(e.to_string()))?;
        if let Some(serving) = self.registry.serving(identity)
            && serving.plugin.digest() == digest
            && *serving.plugin.manifest() == manifest
            && serving.remembering == remembering
        {
            return Ok(None);
        }
        let source = PluginSource { name: name.clone(), bytes, manifest, account };
        let loaded = self.sandbox.load_within(source, room).await;
        let plugin =
            loaded.map_err(|rejection| (rejection.gate.as_str().into(), rejection.message))?;
        if let Some(stray) = remembering.named().find(|named| plugin.handler(named).is_none()) {
            return Err(unusable(format!(
                "`{file}` wants results of `{stray}` remembered (`cache`), which the plugin does \
                 not serve; remove it"
            )));
        }
        Ok(Some((plugin, remembering)))
    }
}

/// Whether a host that takes these pushes trusts a version that was pushed; why not, if not.
pub(crate) fn trusts_pushed(
    settings: &PluginSettings,
    fleet: FleetPolicy,
    plugin: &Identity,
    digest: Digest,
    signature: Option<&str>,
) -> Result<(), String> {
    let (name, trust) = (&plugin.name, settings.trust(plugin.owner.as_ref()));
    if fleet == FleetPolicy::Trusted && trust.policy == TrustPolicy::Any {
        return Err(format!(
            "`{name}` was pushed, and nothing says whose pushes to trust: sign it and set \
             `plugins.trust`, or pin it, or take whatever is pushed with `plugins.fleet = \
             \"any\"`"
        ));
    }
    trust.judge(name, digest, signature).map(|_| ())
}

impl Contents {
    /// Read all there is. It blocks.
    fn read(files: &PluginFiles, name: &str, max_bytes: u64) -> std::io::Result<Self> {
        let bytes = files.read(name, max_bytes)?;
        let digest = Digest(Sha256::digest(&bytes).into());
        let signature = files.signature(name).map_err(|error| error.to_string());
        let manifest = files.manifest(name).map_err(|error| error.to_string());
        Ok(Self { pushed: false, bytes, digest, signature, manifest })
    }

    /// Fetch all there is. What the broker says of sizes is held against its document before so
    /// much is read.
    async fn fetch(
        archive: &dyn Archive,
        version: &Version,
        max_bytes: u64,
    ) -> Result<Self, Refusal> {
        let unfetched = |reason: String| (FETCH.to_owned(), reason);
        if version.size_bytes > max_bytes {
            let (has, most) = (Size(version.size_bytes), Size(max_bytes));
            let reason = format!("it has {has} and `plugins.max_bytes` is {most}");
            return Err((Gate::Size.as_str().to_owned(), reason));
        }
        let blob = async |digest: &Digest, of: &str, most: u64| {
            let failed = |error: QueueError| unfetched(format!("the {of}: {error}"));
            let gone = || unfetched(format!("the {of} is not in the broker; push it again"));
            let info = archive.blob_info(digest).await.map_err(failed)?.ok_or_else(gone)?;
            if info.size_bytes > most {
                let bytes = info.size_bytes;
                return Err(unfetched(format!("the {of} has {bytes} bytes; {most} were said")));
            }
            archive.blob(digest).await.map_err(failed)?.ok_or_else(gone)
        };
        let bytes = blob(&version.digest, "component", version.size_bytes).await?;
        let manifest = match &version.manifest {
            None => Ok(None),
            Some(digest) => {
                let text = blob(digest, "manifest", MAX_MANIFEST_BYTES).await?;
                String::from_utf8(text.into()).map(Some).map_err(|e| e.to_string())
            }
        };
        Ok(Self {
            pushed: true,
            bytes: bytes.into(),
            digest: version.digest,
            signature: Ok(version.signature.clone()),
            manifest,
        })
    }
}
