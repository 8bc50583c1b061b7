//! One plugin file on its way through the gates: trust, the manifest, the sandbox's.
//!
//! So many are on their way at one time, and a tenant's take no place from another's.

use std::sync::Arc;
use std::time::Instant;

use bulkhead_core::Digest;
use bulkhead_sandbox::{Account, Hold, Plugin, PluginSource, Sandbox, Turnstile};
use sha2::{Digest as _, Sha256};

use super::folder::PluginFiles;
use super::{Identity, LiveSettings, Registry};
use crate::manifest::{self, Remembering, Said};

/// Plugins of the operator's, and as many of tenants', whose bytes are in memory at one time.
const MAX_LOADS: usize = 8;

/// Plugins of one tenant among them.
const MAX_LOADS_OF_ONE: usize = 2;

/// The gate of trust.
pub(super) const TRUST: &str = "trust";

/// Why a file does not serve: the gate's name and the reason.
pub(super) type Refusal = (String, String);

/// What takes a file through the gates.
pub(super) struct Loader {
    pub(super) registry: Arc<Registry>,
    sandbox: Sandbox,
    max_bytes: u64,
    settings: LiveSettings,
    operators: Turnstile,
    tenants: Turnstile,
}

/// A file to be taken through the gates.
pub(super) struct Candidate {
    pub(super) identity: Identity,
    pub(super) files: Arc<PluginFiles>,
    /// Who pays; nobody for the operator's.
    pub(super) account: Option<Account>,
}

/// What became of a file at the gates.
pub(super) struct Examined {
    pub(super) identity: Identity,
    pub(super) digest: Digest,
    pub(super) began: Instant,
    /// The plugin, or nothing if this very version serves already.
    pub(super) verdict: Result<Option<(Plugin, Remembering)>, Refusal>,
}

/// What lies in a folder of one plugin.
struct Contents {
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
    ) -> Self {
        let operators = Turnstile::new(MAX_LOADS, MAX_LOADS);
        let tenants = Turnstile::new(MAX_LOADS, MAX_LOADS_OF_ONE);
        Self { registry, sandbox, max_bytes, settings, operators, tenants }
    }

    /// Take one plugin through the gates.
    pub(super) async fn examine(self: Arc<Self>, candidate: Candidate) -> Examined {
        let began = Instant::now();
        let Candidate { identity, files, account } = candidate;
        let turns = if identity.owner.is_some() { &self.tenants } else { &self.operators };
        let _turn = turns.turn(identity.owner.as_ref()).await;
        // Files are read when there is memory for them and for what is made of them.
        let (name, length_of) = (identity.name.clone(), files.clone());
        let length = tokio::task::spawn_blocking(move || length_of.length(&name));
        let length = length.await.ok().and_then(Result::ok).unwrap_or(0).min(self.max_bytes);
        let room = self.sandbox.room_to_load(usize::try_from(length).unwrap_or(usize::MAX)).await;
        let room = match room {
            Ok(room) => room,
            Err(refused) => {
                let verdict = Err((refused.gate.as_str().into(), refused.message));
                return Examined { identity, digest: Digest::default(), began, verdict };
            }
        };
        let name = identity.name.clone();
        let reading = tokio::task::spawn_blocking(move || Contents::read(&files, &name, length));
        let (digest, verdict) = match reading.await {
            Ok(Ok(contents)) => {
                (contents.digest, self.pass_gates(&identity, contents, account, room).await)
            }
            Ok(Err(error)) => (Digest::default(), Err(("read".into(), error.to_string()))),
            Err(error) => (Digest::default(), Err(("read".into(), error.to_string()))),
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
        let Contents { bytes, digest, signature, manifest } = contents;
        let settings = self.settings.now();
        let distrusted = |reason: String| (TRUST.to_owned(), reason);
        let signature = signature
            .map_err(|error| distrusted(format!("`{name}.wasm.sig` cannot be read: {error}")))?;
        let trust = settings.trust(identity.owner.as_ref());
        trust.judge(name, digest, signature.as_deref()).map_err(distrusted)?;
        let file = format!("{name}.toml");
        let unusable = |reason: String| ("manifest".to_owned(), reason);
        let said = match manifest {
            Ok(None) => Said::default(),
            Ok(Some(text)) => {
                manifest::parse_whole(&file, &text).map_err(|e| unusable(e.to_string()))?
            }
            Err(error) => return Err(unusable(format!("`{file}` cannot be read: {error}"))),
        };
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

impl Contents {
    /// Read all there is. It blocks.
    fn read(files: &PluginFiles, name: &str, max_bytes: u64) -> std::io::Result<Self> {
        let bytes = files.read(name, max_bytes)?;
        let digest = Digest(Sha256::digest(&bytes).into());
        let signature = files.signature(name).map_err(|error| error.to_string());
        let manifest = files.manifest(name).map_err(|error| error.to_string());
        Ok(Self { bytes, digest, signature, manifest })
    }
}
