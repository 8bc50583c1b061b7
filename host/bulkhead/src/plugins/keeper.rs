//! Keeps the registry true to the plugin folder: file events, a periodic look, and
//! looks on request. Loading goes through the gate of trust and the sandbox's gates.
//!
//! Plugins load beside one another, and are taken up in the order of their names, so that all
//! hosts decide alike who has a task type that two want. One that takes long is waited for
//! only briefly: a file that burns the compiler's budget delays no other for longer.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::Digest;
use bulkhead_queue::RejectedVersion;
use bulkhead_sandbox::{Hold, Plugin, PluginSource, Sandbox};
use notify::{RecursiveMode, Watcher};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};

use super::folder::{AT_REST, Folder, PluginFiles};
use super::{LiveSettings, Registry, TASK_TYPE_TAKEN};
use crate::clock::unix_ms;
use crate::manifest::{self, Remembering, Said};
use crate::shutdown::Shutdown;

/// Looks at the start: a second of waiting for files to come to rest.
const FIRST_LOOKS: u32 = 25;

/// How long a start waits for plugins that take long; they are taken up later.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// How long a loaded plugin waits for those before it.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often those that wait are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Plugins whose bytes are in memory at one time.
const MAX_LOADS: usize = 16;

/// The gate of trust.
const TRUST: &str = "trust";

/// Watches one folder for one host.
pub(crate) struct Keeper {
    loader: Arc<Loader>,
    folder: Folder,
    path: PathBuf,
    rescan_every: Duration,
    settings: LiveSettings,
    loads: JoinSet<Examined>,
    /// Plugins that load, or wait to be taken up.
    loading: BTreeMap<String, Loading>,
    /// Somebody asked for a look, which then reads every file again.
    pub(crate) requests: Arc<Notify>,
}

/// What takes a file through the gates.
struct Loader {
    registry: Arc<Registry>,
    sandbox: Sandbox,
    files: Arc<PluginFiles>,
    max_bytes: u64,
    settings: LiveSettings,
    permits: Semaphore,
}

/// A plugin on its way.
struct Loading {
    since: Instant,
    task: AbortHandle,
    examined: Option<Examined>,
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What became of a file at the gates.
struct Examined {
    name: String,
    digest: Digest,
    began: Instant,
    /// The plugin, or nothing if this very version serves already.
    verdict: Result<Option<(Plugin, Remembering)>, Refusal>,
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
        let (files, live) = (folder.files(), settings.clone());
        let permits = Semaphore::new(MAX_LOADS);
        let loader = Loader { registry, sandbox, files, max_bytes, settings: live, permits };
        let (loader, loads, loading) = (Arc::new(loader), JoinSet::new(), BTreeMap::new());
        Ok(Self { loader, folder, path, rescan_every, settings, loads, loading, requests })
    }

    /// Load what is in the folder, and return when every file that rests has been
    /// through the gates, or has had its time. What goes on changing or takes longer is left
    /// to [`Keeper::run`].
    pub(crate) async fn load_all(&mut self) {
        let began = Instant::now();
        for _ in 0..FIRST_LOOKS {
            let mut restless = self.look();
            while !self.loading.is_empty() && began.elapsed() < START_PATIENCE {
                tokio::select! {
                    Some(joined) = self.loads.join_next(), if !self.loads.is_empty() => {
                        self.note(joined);
                    }
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                }
                restless |= self.take_up();
            }
            if !restless {
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
            if !restless && self.loading.is_empty() && std::mem::take(&mut requested) {
                self.loader.registry.rescanned();
            }
            let wait = match (restless, self.loading.is_empty()) {
                (true, _) => AT_REST,
                (false, false) => LOOK_AGAIN,
                (false, true) => self.rescan_every,
            };
            tokio::select! {
                () = shutdown.drained() => return,
                Some(joined) = self.loads.join_next(), if !self.loads.is_empty() => {
                    self.note(joined);
                    restless |= self.take_up();
                    continue;
                }
                () = events.notified(), if !restless => {}
                () = self.requests.notified(), if !restless => {
                    // What is on its way need not begin again.
                    self.folder.forget(|name| !self.loading.contains_key(name));
                    requested = true;
                }
                // What is granted or trusted may be more now, or less.
                () = self.settings.changed(), if !restless => self.folder.forget(|_| true),
                () = tokio::time::sleep(wait) => {}
            }
            restless = self.look();
            restless |= self.take_up();
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

    /// Look once, and begin to load what changed; whether a file is still changing.
    fn look(&mut self) -> bool {
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
            self.loading.remove(&name);
            if self.loader.registry.remove(&name) {
                tracing::info!(plugin = %name, "plugin removed; its tasks wait");
                // Its types are free for a plugin that was refused for their sake.
                for heir in self.loader.registry.wanting_a_type() {
                    self.folder.doubt(&heir, Instant::now());
                    restless = true;
                }
            }
        }
        for name in look.changed {
            // What is on its way is of a file that is no more; dropping it ends its worker.
            self.loading.remove(&name);
            let (since, loader) = (Instant::now(), self.loader.clone());
            let task = self.loads.spawn(loader.examine(name.clone()));
            self.loading.insert(name, Loading { since, task, examined: None });
        }
        restless
    }

    /// Remember what a load came to.
    fn note(&mut self, joined: Result<Examined, tokio::task::JoinError>) {
        let examined = match joined {
            Ok(examined) => examined,
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                tracing::error!(%error, "loading a plugin ended unexpectedly");
                // Whose it was is not said: it is the one whose task is over without a word.
                let over =
                    |loading: &Loading| loading.examined.is_none() && loading.task.is_finished();
                self.loading.retain(|_, loading| !over(loading));
                return;
            }
        };
        if let Some(loading) = self.loading.get_mut(&examined.name)
            && loading.since <= examined.began
        {
            loading.examined = Some(examined);
        }
    }

    /// Let loaded plugins serve, in the order of their names, as far as none before them is
    /// worth waiting for; whether one has to be looked at again.
    fn take_up(&mut self) -> bool {
        let mut ready = Vec::new();
        for (name, loading) in &self.loading {
            if loading.examined.is_some() {
                ready.push(name.clone());
            } else if loading.since.elapsed() < PATIENCE {
                break;
            }
        }
        let mut restless = false;
        for name in ready {
            let examined = self.loading.remove(&name).and_then(|mut l| l.examined.take());
            restless |= examined.is_some_and(|examined| self.conclude(examined));
        }
        restless
    }

    /// Act on what a file came to; whether it changed meanwhile.
    fn conclude(&mut self, examined: Examined) -> bool {
        let Examined { name, digest, began, verdict } = examined;
        let registry = &self.loader.registry;
        match verdict {
            Ok(None) => registry.accept(&name),
            // What was read may be half of what is being written.
            _ if !self.folder.unchanged(&name) => {
                self.folder.doubt(&name, Instant::now());
                return true;
            }
            Ok(Some((plugin, remembering))) => {
                let compile_ms = plugin.load_times().compile.as_millis();
                let cached = plugin.load_times().cached;
                match registry.serve(plugin, remembering, unix_ms()) {
                    Ok(()) => tracing::info!(plugin = name, digest = %digest.short(), compile_ms,
                        cached, total_ms = began.elapsed().as_millis(), "plugin serves"),
                    Err(reason) => self.refuse(&name, digest, (TASK_TYPE_TAKEN.into(), reason)),
                }
            }
            Err(refusal) => {
                let serving = registry.serving(&name);
                let is_this = serving.is_some_and(|serving| serving.plugin.digest() == digest);
                if refusal.0 == TRUST && is_this {
                    registry.withdraw(&name);
                }
                self.refuse(&name, digest, refusal);
            }
        }
        false
    }

    fn refuse(&self, name: &str, digest: Digest, (gate, reason): Refusal) {
        let registry = &self.loader.registry;
        let keeps = registry.serving(name).map(|old| old.plugin.digest().short());
        tracing::warn!(
            plugin = %name.escape_debug(), gate, reason = %reason.escape_debug(),
            serving = keeps.as_deref().unwrap_or("none"),
            "plugin file refused"
        );
        let rejected = RejectedVersion { digest, gate, reason, at: unix_ms() };
        registry.reject(name, rejected);
    }
}

impl Loader {
    /// Take one plugin through the gates.
    async fn examine(self: Arc<Self>, name: String) -> Examined {
        let began = Instant::now();
        let _permit = self.permits.acquire().await;
        // Files are read when there is memory for them and for what is made of them.
        let length = self.files.length(&name).unwrap_or(0).min(self.max_bytes);
        let room = self.sandbox.room_to_load(usize::try_from(length).unwrap_or(usize::MAX)).await;
        let room = match room {
            Ok(room) => room,
            Err(refused) => {
                let verdict = Err((refused.gate.as_str().into(), refused.message));
                return Examined { name, digest: Digest::default(), began, verdict };
            }
        };
        let (digest, verdict) = match self.files.read(&name, length) {
            Ok(bytes) => {
                let digest = Digest(Sha256::digest(&bytes).into());
                (digest, self.pass_gates(&name, bytes, digest, room).await)
            }
            Err(error) => (Digest::default(), Err(("read".into(), error.to_string()))),
        };
        Examined { name, digest, began, verdict }
    }

    /// The plugin, or nothing if this very version serves already.
    async fn pass_gates(
        &self,
        name: &str,
        bytes: Vec<u8>,
        digest: Digest,
        room: Hold,
    ) -> Result<Option<(Plugin, Remembering)>, Refusal> {
        let settings = self.settings.now();
        let distrusted = |reason: String| (TRUST.to_owned(), reason);
        let signature = self
            .files
            .signature(name)
            .map_err(|error| distrusted(format!("`{name}.wasm.sig` cannot be read: {error}")))?;
        settings.trust.judge(name, digest, signature.as_deref()).map_err(distrusted)?;
        let file = format!("{name}.toml");
        let unusable = |reason: String| ("manifest".to_owned(), reason);
        let said = match self.files.manifest(name) {
            Ok(None) => Said::default(),
            Ok(Some(text)) => {
                manifest::parse_whole(&file, &text).map_err(|e| unusable(e.to_string()))?
            }
            Err(error) => return Err(unusable(format!("`{file}` cannot be read: {error}"))),
        };
        let (manifest, remembering) = said.of(name, &settings);
        if let Some(serving) = self.registry.serving(name)
            && serving.plugin.digest() == digest
            && *serving.plugin.manifest() == manifest
            && serving.remembering == remembering
        {
            return Ok(None);
        }
        let source = PluginSource { name: name.to_owned(), bytes, manifest };
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

fn is_close_write(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}
