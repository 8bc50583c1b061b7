//! The door to this crate: one engine, shared by every plugin of a host.

use std::sync::Arc;

use bulkhead_core::Limits;
use wasmtime::Engine;

use crate::cache::Cache;
use crate::engine::CodeSettings;
use crate::load::Refusals;
use crate::plugin::Plugin;
use crate::turns::Turnstile;
use crate::worker::{Elsewhere, Hello, Isolation, Layer, Shape, WorkerProcesses, Workers};
use crate::{Attempt, BatchEnd, SandboxConfig, SandboxError, Unavailable, engine};

/// Files that an attempt may have open at least, and at most.
const FEWEST_OPEN_FILES: u32 = 8;
const MOST_OPEN_FILES: u32 = 128;

/// Loads plugins. Clones share one engine and one pool of compartments.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

/// Places for instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStatus {
    /// All.
    pub slots: u64,
    /// Those that are taken.
    pub used: u64,
}

struct Shared {
    engine: Engine,
    code: CodeSettings,
    config: SandboxConfig,
    compiles: Turnstile,
    loads: Turnstile,
    open_files: u32,
    cache: Option<Arc<Cache>>,
    refusals: Refusals,
    /// Where guests run, unless here.
    workers: Option<Arc<Workers>>,
}

impl Sandbox {
    /// A sandbox with its own engine and pool. One is enough for a host.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        if config.concurrency == 0 || config.concurrent_loads == 0 {
            return Err(SandboxError::Config(
                "`concurrency` and `concurrent_loads` must be at least 1".to_owned(),
            ));
        }
        let (engine, code) = engine::build(&config)?;
        let places = config.concurrent_loads as usize;
        let turns = || Turnstile::new(places, places.saturating_sub(1));
        let (compiles, loads) = (turns(), turns());
        let cache = config.cache.as_ref().and_then(|place| {
            let opened = Cache::open(place, &engine::compatibility(&engine));
            opened
                .map(Arc::new)
                .map_err(|reason| {
                    tracing::warn!(folder = %place.folder.display(), reason,
                    "compiled plugins are not kept; each start compiles them anew");
                })
                .ok()
        });
        let refusals = Refusals::default();
        let open_files = open_files(config.concurrency);
        let workers = match &config.isolation {
            Isolation::Thread => None,
            Isolation::Process(processes) => {
                let hello = hello(&engine, &code, &config, processes, open_files);
                Some(Workers::new(processes.clone(), hello)?)
            }
        };
        let shared =
            Shared { engine, code, config, compiles, loads, open_files, cache, refusals, workers };
        Ok(Self(Arc::new(shared)))
    }

    /// A sandbox inside a worker process, around an engine that is there.
    pub(crate) fn of_worker(
        engine: Engine,
        code: CodeSettings,
        config: SandboxConfig,
        open_files: u32,
    ) -> Self {
        let places = config.concurrent_loads as usize;
        let turns = || Turnstile::new(places, places);
        let (compiles, loads, refusals) = (turns(), turns(), Refusals::default());
        let (cache, workers) = (None, None);
        let shared =
            Shared { engine, code, config, compiles, loads, open_files, cache, refusals, workers };
        Self(Arc::new(shared))
    }

    /// Which layers of protection worker processes have here; none where guests run on threads.
    /// An error if they cannot be started, or lack a layer that was demanded.
    pub async fn layers(&self) -> Result<Option<Vec<Layer>>, SandboxError> {
        match &self.0.workers {
            None => Ok(None),
            Some(workers) => workers.probe().await.map(Some),
        }
    }

    /// The places for instances; none where guests run in worker processes.
    #[must_use]
    pub fn pool(&self) -> PoolStatus {
        let used = self.0.engine.pooling_allocator_metrics().map(|m| m.component_instances());
        match (&self.0.workers, used) {
            (None, Some(used)) => PoolStatus { slots: engine::slots(&self.0.config).into(), used },
            _ => PoolStatus::default(),
        }
    }

    /// The worker processes that there are now.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.0.workers.as_ref().map(|workers| workers.pids()).unwrap_or_default()
    }

    /// Where guests run, unless here.
    pub(crate) fn workers(&self) -> Option<&Arc<Workers>> {
        self.0.workers.as_ref()
    }

    /// Run attempts at a plugin in its tenant's worker process.
    pub(crate) async fn run_elsewhere(
        &self,
        plugin: &Plugin,
        elsewhere: &Arc<Elsewhere>,
        attempts: Vec<Attempt<'_>>,
    ) -> Result<BatchEnd, Unavailable> {
        match &self.0.workers {
            Some(workers) => workers.run(plugin, elsewhere, attempts).await,
            None => Err(Unavailable::Broken("there are no worker processes".to_owned())),
        }
    }

    /// What the host decided.
    #[must_use]
    pub fn config(&self) -> &SandboxConfig {
        &self.0.config
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Files and folders that one attempt may have open.
    pub(crate) fn open_files(&self) -> u32 {
        self.0.open_files
    }

    /// What machine code for this engine depends on.
    pub(crate) fn code(&self) -> &CodeSettings {
        &self.0.code
    }

    /// Where compiled plugins are kept.
    pub(crate) fn cache(&self) -> Option<&Arc<Cache>> {
        self.0.cache.as_ref()
    }

    /// Files that the compiler refused.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// Turns at compiling. A plugin that is compiled on a thread of this process holds
    /// one even after its budget has passed, so that hostile files cannot take every core.
    pub(crate) fn compiles(&self) -> &Turnstile {
        &self.0.compiles
    }

    /// Turns at running a plugin that is being loaded: the pool has room for as many.
    pub(crate) fn loads(&self) -> &Turnstile {
        &self.0.loads
    }

    /// `limits`, none above the host's ceiling.
    pub(crate) fn within_ceilings(&self, limits: Limits) -> Limits {
        let ceilings = &self.0.config.ceilings;
        Limits {
            fuel: limits.fuel.min(ceilings.fuel),
            memory_bytes: limits.memory_bytes.min(ceilings.memory_bytes),
            wall_ms: limits.wall_ms.min(ceilings.wall_ms),
            result_bytes: limits.result_bytes.min(ceilings.result_bytes),
            log_bytes: limits.log_bytes.min(ceilings.log_bytes),
            hostcall_bytes: limits.hostcall_bytes.min(ceilings.hostcall_bytes),
            handles: limits.handles.min(ceilings.handles),
            instances: limits.instances.min(ceilings.instances),
        }
    }
}

/// What worker processes of this sandbox are told first.
fn hello(
    engine: &Engine,
    code: &CodeSettings,
    config: &SandboxConfig,
    processes: &WorkerProcesses,
    open_files: u32,
) -> Hello {
    Hello {
        code: code.clone(),
        compatibility: engine::compatibility(engine),
        shape: Shape {
            concurrency: config.concurrency,
            ceilings: config.ceilings,
            describe_limits: config.describe_limits,
            epoch_tick: config.epoch_tick,
            stack_bytes: config.stack_bytes,
            keep_resident_bytes: config.keep_resident_bytes,
            table_elements: config.table_elements,
            memories: config.memories,
            tables: config.tables,
            random_bytes: config.random_bytes,
            open_files,
            offers: config.offers,
            children: config.children,
        },
        threads: processes.threads,
        reach: Vec::new(),
        file_bytes: None,
        strict: processes.strict,
    }
}

/// What each of so many attempts may have open: all together no more than half of what the
/// process may, so that guests cannot keep the host from its own files and connections.
fn open_files(concurrency: u32) -> u32 {
    let process = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let all = process.map_or(u64::from(u32::MAX), |most| most / 2);
    let each = all / u64::from(concurrency.max(1));
    u32::try_from(each).unwrap_or(u32::MAX).clamp(FEWEST_OPEN_FILES, MOST_OPEN_FILES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_attempts_share_what_the_process_may_open() {
        assert_eq!(open_files(u32::MAX), FEWEST_OPEN_FILES);
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        assert!(u64::from(open_files(1)) <= most.unwrap_or(u64::MAX));
        assert!(open_files(1) <= MOST_OPEN_FILES);
    }
}
