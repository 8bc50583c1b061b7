//! The plugins that serve tasks now, and how they change while the host runs.
//!
//! A lookup is one atomic load; an attempt holds the version it started with. A version
//! that fails a gate never replaces one that works.

mod folder;
mod keeper;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;
use bulkhead_core::{TaskType, UnixMs};
use bulkhead_queue::{PluginInfo, RejectedVersion, ServingVersion};
use bulkhead_sandbox::Plugin;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::manifest::Remembering;

pub(crate) use keeper::Keeper;
pub use settings::{GrantsFrom, LiveSettings, PluginSettings, SettingsWriter, Values};

/// The interface by which guests report progress.
const PROGRESS: &str = "bulkhead:handler/progress@";

/// The gate between two plugins that want one task type.
const TASK_TYPE_TAKEN: &str = "task_type_taken";

/// A plugin version that serves tasks.
pub(crate) struct Serving {
    pub(crate) plugin: Plugin,
    pub(crate) loaded_at: UnixMs,
    /// Whether its guests can report progress.
    pub(crate) reports_progress: bool,
    /// What the operator said of remembered results.
    remembering: Remembering,
    /// Attempts that run on any version of this plugin.
    in_flight: Arc<AtomicU32>,
}

impl Serving {
    /// How many more attempts of this plugin may start; `None` if there is no bound.
    pub(crate) fn room(&self) -> Option<u32> {
        let bound = self.plugin.manifest().instances?;
        Some(bound.saturating_sub(self.in_flight.load(Ordering::Acquire)))
    }

    /// For how long results of this type are remembered, if they are.
    pub(crate) fn remembers_ms(&self, task_type: &TaskType) -> Option<u64> {
        self.remembering.of(task_type)
    }

    /// Count an attempt while the guard lives.
    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.in_flight.clone())
    }
}

/// One attempt, counted.
pub(crate) struct InFlight(Arc<AtomicU32>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Which plugin serves which type, at one moment.
#[derive(Default)]
pub(crate) struct Table {
    by_type: HashMap<TaskType, Arc<Serving>>,
    types: Vec<TaskType>,
    takes_batches: bool,
    most_bytes: u64,
}

impl Table {
    pub(crate) fn get(&self, task_type: &TaskType) -> Option<&Arc<Serving>> {
        self.by_type.get(task_type)
    }

    /// Whether any type is handled several tasks at a time.
    pub(crate) fn takes_batches(&self) -> bool {
        self.takes_batches
    }

    /// The most that one attempt of any type can come to, in bytes.
    pub(crate) fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// All types, sorted.
    pub(crate) fn types(&self) -> &[TaskType] {
        &self.types
    }
}

/// The plugins of a host.
pub(crate) struct Registry {
    table: ArcSwap<Table>,
    state: Mutex<BTreeMap<String, Known>>,
    changes: watch::Sender<u64>,
    rescans: watch::Sender<u64>,
}

#[derive(Default)]
struct Known {
    serving: Option<Arc<Serving>>,
    rejected: Option<RejectedVersion>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            table: ArcSwap::default(),
            state: Mutex::default(),
            changes: watch::channel(0).0,
            rescans: watch::channel(0).0,
        }
    }

    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// Learn of changes: to the table, and to what is said of files that do not serve.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Learn of completed looks through the folder.
    pub(crate) fn rescans(&self) -> watch::Receiver<u64> {
        self.rescans.subscribe()
    }

    /// What each plugin is doing.
    pub(crate) fn info(&self) -> Vec<PluginInfo> {
        let state = self.state.lock();
        let describe = |serving: &Arc<Serving>| {
            let plugin = &serving.plugin;
            let handlers = &plugin.description().handlers;
            ServingVersion {
                version: plugin.description().version.clone(),
                digest: plugin.digest(),
                kind: plugin.kind().to_string(),
                task_types: handlers.iter().map(|h| h.task_type.to_string()).collect(),
                loaded_at: serving.loaded_at,
            }
        };
        let info = |(name, known): (&String, &Known)| PluginInfo {
            name: name.clone(),
            serving: known.serving.as_ref().map(describe),
            rejected: known.rejected.clone(),
        };
        state.iter().map(info).collect()
    }

    /// Let a new version serve. If another plugin serves one of its types already, the
    /// version is rejected.
    fn serve(&self, plugin: Plugin, remembering: Remembering, now: UnixMs) -> Result<(), String> {
        let mut state = self.state.lock();
        let name = plugin.name().to_owned();
        for handler in &plugin.description().handlers {
            let holder =
                self.table.load().get(&handler.task_type).map(|s| s.plugin.name().to_owned());
            if let Some(holder) = holder.filter(|holder| *holder != name) {
                return Err(format!(
                    "the task type `{}` is served by the plugin `{holder}` already; rename it \
                     with `task_types` in `{name}.toml` or remove one of the two",
                    handler.task_type
                ));
            }
        }
        let known = state.entry(name).or_default();
        let in_flight = known.serving.as_ref().map(|old| old.in_flight.clone()).unwrap_or_default();
        let reports_progress = plugin.asked().iter().any(|import| import.starts_with(PROGRESS));
        known.serving = Some(Arc::new(Serving {
            plugin,
            loaded_at: now,
            reports_progress,
            remembering,
            in_flight,
        }));
        known.rejected = None;
        self.publish(&state);
        Ok(())
    }

    fn reject(&self, name: &str, rejected: RejectedVersion) {
        self.state.lock().entry(name.to_owned()).or_default().rejected = Some(rejected);
        self.changes.send_modify(|n| *n += 1);
    }

    /// A version that served serves no more, because its file is refused as it is.
    fn withdraw(&self, name: &str) {
        let mut state = self.state.lock();
        if state.get_mut(name).and_then(|known| known.serving.take()).is_some() {
            self.publish(&state);
        }
    }

    /// The newest file is the version that serves.
    fn accept(&self, name: &str) {
        let mut state = self.state.lock();
        if state.get_mut(name).and_then(|known| known.rejected.take()).is_some() {
            self.changes.send_modify(|n| *n += 1);
        }
    }

    fn remove(&self, name: &str) -> bool {
        let mut state = self.state.lock();
        let removed = state.remove(name).is_some();
        if removed {
            self.publish(&state);
        }
        removed
    }

    /// The plugins that want a task type which another one had.
    fn wanting_a_type(&self) -> Vec<String> {
        let state = self.state.lock();
        let wants = |known: &Known| {
            known.rejected.as_ref().is_some_and(|rejected| rejected.gate == TASK_TYPE_TAKEN)
        };
        state.iter().filter(|(_, known)| wants(known)).map(|(name, _)| name.clone()).collect()
    }

    fn serving(&self, name: &str) -> Option<Arc<Serving>> {
        self.state.lock().get(name)?.serving.clone()
    }

    fn publish(&self, state: &BTreeMap<String, Known>) {
        let mut table = Table::default();
        for serving in state.values().filter_map(|known| known.serving.as_ref()) {
            table.most_bytes = table.most_bytes.max(serving.plugin.most_bytes());
            for handler in &serving.plugin.description().handlers {
                table.by_type.insert(handler.task_type.clone(), serving.clone());
                table.takes_batches |= handler.max_batch > 1;
            }
        }
        table.types = table.by_type.keys().cloned().collect();
        table.types.sort();
        self.table.store(Arc::new(table));
        self.changes.send_modify(|n| *n += 1);
    }

    fn rescanned(&self) {
        self.rescans.send_modify(|n| *n += 1);
    }
}
