//! Keeps the registry true to the plugin folder: file events, a periodic look, and
//! looks on request. Loading goes through the sandbox's gates.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::Digest;
use bulkhead_queue::RejectedVersion;
use bulkhead_sandbox::{Plugin, PluginSource, Sandbox};
use notify::{RecursiveMode, Watcher};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use super::folder::{AT_REST, Folder};
use super::{LiveSettings, Registry, TASK_TYPE_TAKEN};
use crate::clock::unix_ms;
use crate::manifest::{self, Remembering, Said};
use crate::shutdown::Shutdown;

/// Looks at the start: a second of waiting for files to come to rest.
const FIRST_LOOKS: u32 = 25;

/// Watches one folder for one host.
pub(crate) struct Keeper {
    registry: Arc<Registry>,
    sandbox: Sandbox,
    folder: Folder,
    path: PathBuf,
    rescan_every: Duration,
    max_bytes: u64,
    settings: LiveSettings,
    /// Somebody asked for a look, which then reads every file again.
    pub(crate) requests: Arc<Notify>,
}

/// Why a file does not serve: the gate's name and the reason.
type Refusal = (String, String);

impl Keeper {
    pub(crate) fn new(
        registry: Arc<Registry>,
        sandbox: Sandbox,
        path: PathBuf,
        rescan_every: Duration,
        max_bytes: u64,
        settings: LiveSettings,
    ) -> io::Result<Self> {
        let folder = Folder::open(&path)?;
        let requests = Arc::new(Notify::new());
        Ok(Self { registry, sandbox, folder, path, rescan_every, max_bytes, settings, requests })
    }

    /// Load what is in the folder, and return when every file that rests has been
    /// through the gates. A file that goes on changing is left to [`Keeper::run`].
    pub(crate) async fn load_all(&mut self) {
        for _ in 0..FIRST_LOOKS {
            if !self.look().await {
                return;
            }
            tokio::time::sleep(AT_REST).await;
        }
    }

    /// Follow the folder until shutdown.
    pub(crate) async fn run(mut self, mut shutdown: Shutdown) {
        let events = Arc::new(Notify::new());
        let watcher = self.watch(events.clone());
        if let Err(error) = &watcher {
            tracing::warn!(folder = %self.path.display(), %error,
                "file events are not available; relying on the periodic look");
        }
        let mut restless = true;
        let mut requested = false;
        loop {
            if restless {
                tokio::select! {
                    () = shutdown.drained() => return,
                    () = tokio::time::sleep(AT_REST) => {}
                }
            } else {
                if std::mem::take(&mut requested) {
                    self.registry.rescanned();
                }
                tokio::select! {
                    () = shutdown.drained() => return,
                    () = events.notified() => {}
                    () = self.requests.notified() => {
                        self.folder.forget();
                        requested = true;
                    }
                    // What is granted may be more now, or less.
                    () = self.settings.changed() => self.folder.forget(),
                    () = tokio::time::sleep(self.rescan_every) => {}
                }
            }
            restless = self.look().await;
        }
    }

    fn watch(&self, events: Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
        // Looking opens and reads files, which is an event too: only changes count.
        let changes = |event: &notify::Event| !event.kind.is_access() || is_close_write(event);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<_>| {
            if event.as_ref().map_or(true, changes) {
                events.notify_one();
            }
        })?;
        watcher.watch(&self.path, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }

    /// Look once; whether a file is still changing.
    async fn look(&mut self) -> bool {
        let look = match self.folder.look(Instant::now()) {
            Ok(look) => look,
            Err(error) => {
                tracing::error!(folder = %self.path.display(), %error,
                    "cannot read the plugin folder; the loaded plugins go on serving");
                return false;
            }
        };
        let mut restless = look.restless;
        for name in look.gone {
            if self.registry.remove(&name) {
                tracing::info!(plugin = %name, "plugin removed; its tasks wait");
                // Its types are free for a plugin that was refused for their sake.
                for heir in self.registry.wanting_a_type() {
                    self.folder.doubt(&heir, Instant::now());
                    restless = true;
                }
            }
        }
        for name in look.changed {
            restless |= self.load(&name).await;
        }
        restless
    }

    /// Take one plugin through the gates; whether its file changed meanwhile.
    async fn load(&mut self, name: &str) -> bool {
        let began = Instant::now();
        let bytes = match self.folder.read(name, self.max_bytes) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.refuse(name, Digest::default(), ("read".into(), error.to_string()));
                return false;
            }
        };
        let digest = Digest(Sha256::digest(&bytes).into());
        match self.pass_gates(name, bytes, digest).await {
            Ok(None) => self.registry.accept(name),
            // What was read may be half of what is being written.
            _ if !self.folder.unchanged(name) => {
                self.folder.doubt(name, Instant::now());
                return true;
            }
            Ok(Some((plugin, remembering))) => {
                let compile_ms = plugin.load_times().compile.as_millis();
                match self.registry.serve(plugin, remembering, unix_ms()) {
                    Ok(()) => tracing::info!(plugin = name, digest = %digest.short(), compile_ms,
                        total_ms = began.elapsed().as_millis(), "plugin serves"),
                    Err(reason) => self.refuse(name, digest, (TASK_TYPE_TAKEN.into(), reason)),
                }
            }
            Err(refusal) => self.refuse(name, digest, refusal),
        }
        false
    }

    /// The plugin, or nothing if this very version serves already.
    async fn pass_gates(
        &self,
        name: &str,
        bytes: Vec<u8>,
        digest: Digest,
    ) -> Result<Option<(Plugin, Remembering)>, Refusal> {
        let file = format!("{name}.toml");
        let unusable = |reason: String| ("manifest".to_owned(), reason);
        let said = match self.folder.manifest(name) {
            Ok(None) => Said::default(),
            Ok(Some(text)) => {
                manifest::parse_whole(&file, &text).map_err(|e| unusable(e.to_string()))?
            }
            Err(error) => return Err(unusable(format!("`{file}` cannot be read: {error}"))),
        };
        let (manifest, remembering) = said.of(name, &self.settings.now());
        if let Some(serving) = self.registry.serving(name)
            && serving.plugin.digest() == digest
            && *serving.plugin.manifest() == manifest
            && serving.remembering == remembering
        {
            return Ok(None);
        }
        let source = PluginSource { name: name.to_owned(), bytes, manifest };
        let loaded = self.sandbox.load(source).await;
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

    fn refuse(&self, name: &str, digest: Digest, (gate, reason): Refusal) {
        let keeps = self.registry.serving(name).map(|old| old.plugin.digest().short());
        tracing::warn!(
            plugin = %name.escape_debug(), gate, reason = %reason.escape_debug(),
            serving = keeps.as_deref().unwrap_or("none"),
            "plugin file refused"
        );
        let rejected = RejectedVersion { digest, gate, reason, at: unix_ms() };
        self.registry.reject(name, rejected);
    }
}

fn is_close_write(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}
