//! Which tenant has which worker.
//!
//! A worker is started when a tenant has work, kept while it has, and ended when it was idle for
//! long or another tenant needs its place. Whoever finds no place waits in order; a tenant that
//! had its turn gives way to those who wait, as soon as what it runs has ended. A worker may
//! reach the folders of its tenant's plugins and no others, so one whose plugins were granted
//! something else is replaced.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bulkhead_core::TenantName;
use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;

use super::hand::Backoffs;
use super::process::{Start, Worker};
use super::ware::Elsewhere;
use crate::capability::open_granted;
use crate::grants::Grants;
use crate::scratch::ScratchHome;
use crate::worker::WorkerProcesses;
use crate::worker::child::most_up;
use crate::worker::harden::Layer;
use crate::worker::wire::{Hello, Ware};
use crate::{SandboxError, Unavailable};

/// How long a tenant keeps its place while others wait for one.
const TURN: Duration = Duration::from_secs(1);

/// Tenants that are remembered before those without work are forgotten.
const TENANTS_KEPT: usize = 1_024;

/// How often idle workers are looked for, at most and at least.
const LOOKS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// The workers of a host.
pub(crate) struct Workers {
    pub(super) config: WorkerProcesses,
    hello: Hello,
    /// Their sockets and ends. Dropping it kills them.
    runtime: Option<Runtime>,
    pub(super) handle: Handle,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    seats: Mutex<HashMap<TenantName, Arc<Seat>>>,
    live: Mutex<Vec<Arc<Worker>>>,
    pub(super) backoffs: Backoffs,
    next_plugin: AtomicU64,
    layers: OnceLock<Vec<Layer>>,
}

/// The folders that a worker may reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reach {
    /// The most bytes of a scratch folder, if any plugin has one.
    scratch: Option<u64>,
    /// Folders of the host, and whether they may be written to.
    dirs: BTreeMap<PathBuf, bool>,
}

/// A tenant's place at a worker.
#[derive(Default)]
struct Seat {
    worker: tokio::sync::Mutex<Option<(Arc<Worker>, Instant)>>,
    /// The plugins that the tenant has used.
    plugins: Mutex<Vec<(Weak<Elsewhere>, Reach)>>,
}

impl Reach {
    /// What a plugin with these grants reaches.
    pub(super) fn of(grants: &Grants, uses_fs: bool) -> Self {
        let Some(fs) = grants.fs.as_ref().filter(|_| uses_fs) else { return Self::default() };
        let mut reach =
            Self { scratch: fs.scratch.map(|quota| quota.bytes), dirs: BTreeMap::new() };
        for dir in &fs.dirs {
            *reach.dirs.entry(dir.host.clone()).or_default() |= dir.write.is_some();
        }
        reach
    }

    fn add(&mut self, other: &Self) {
        self.scratch = self.scratch.max(other.scratch);
        for (dir, write) in &other.dirs {
            *self.dirs.entry(dir.clone()).or_default() |= write;
        }
    }

    /// Largest file that may be written. In a folder of the host's there may be any already.
    fn file_bytes(&self) -> Option<u64> {
        let writes = self.dirs.values().any(|write| *write);
        (!writes).then(|| self.scratch.unwrap_or(0))
    }
}

impl Seat {
    /// What the tenant's worker is to reach, now that it uses this plugin too.
    fn reach(&self, plugin: &Arc<Elsewhere>, reach: Reach) -> Reach {
        let mut plugins = self.plugins.lock();
        let mut known = false;
        plugins.retain(|(used, _)| {
            known |= std::ptr::eq(used.as_ptr(), Arc::as_ptr(plugin));
            used.strong_count() > 0
        });
        if !known {
            plugins.push((Arc::downgrade(plugin), reach));
        }
        let mut all = Reach::default();
        plugins.iter().for_each(|(_, reach)| all.add(reach));
        all
    }
}

impl Workers {
    /// No worker is started before there is work.
    pub(crate) fn new(config: WorkerProcesses, hello: Hello) -> Result<Arc<Self>, SandboxError> {
        if config.most == 0 || config.threads == 0 {
            let why = "`workers` and the threads of each must be at least 1";
            return Err(SandboxError::Config(why.to_owned()));
        }
        // One thread, so that what was written to a worker is known before it can answer.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("workers")
            .enable_all()
            .build()
            .map_err(|error| SandboxError::Workers(error.to_string()))?;
        let handle = runtime.handle().clone();
        let look_every = (config.idle / 4).clamp(LOOKS[0], LOOKS[1]);
        let workers = Arc::new(Self {
            places: Arc::new(Semaphore::new(config.most as usize)),
            config,
            hello,
            runtime: Some(runtime),
            handle,
            waiting: AtomicUsize::new(0),
            seats: Mutex::default(),
            live: Mutex::default(),
            backoffs: Backoffs::default(),
            next_plugin: AtomicU64::new(0),
            layers: OnceLock::new(),
        });
        let watched = Arc::downgrade(&workers);
        workers.handle.spawn(async move {
            loop {
                tokio::time::sleep(look_every).await;
                let Some(workers) = watched.upgrade() else { return };
                workers.look();
            }
        });
        Ok(workers)
    }

    /// A plugin for workers.
    pub(crate) fn ware(self: &Arc<Self>, ware: Ware, code: &[u8]) -> io::Result<Elsewhere> {
        let id = self.next_plugin.fetch_add(1, Ordering::Relaxed);
        Elsewhere::new(Arc::downgrade(self), id, ware, code)
    }

    /// Start a worker for nothing, to see that it can be done and which layers there are.
    pub(crate) async fn probe(self: &Arc<Self>) -> Result<Vec<Layer>, SandboxError> {
        if let Some(layers) = self.layers.get() {
            return Ok(layers.clone());
        }
        let worker = self.single().await.map_err(SandboxError::Workers)?;
        worker.kill("it was started to see that it can be");
        Ok(self.layers.get_or_init(|| worker.layers.clone()).clone())
    }

    /// A worker of nobody's, for one plugin that describes itself.
    pub(super) async fn single(self: &Arc<Self>) -> Result<Arc<Worker>, String> {
        let mut hello = self.hello.clone();
        hello.shape.concurrency = 1;
        hello.threads = 1;
        let reach = Reach::default();
        hello.file_bytes = reach.file_bytes();
        self.launch(hello, reach, Vec::new(), None, None).await
    }

    /// The worker of a tenant, with room for one attempt more at a plugin. To be given back by
    /// [`Workers::done`].
    pub(super) async fn lease(
        self: &Arc<Self>,
        tenant: &TenantName,
        plugin: &Arc<Elsewhere>,
        reach: Reach,
        scratch: Option<&ScratchHome>,
    ) -> Result<Arc<Worker>, Unavailable> {
        let seat = self.seat(tenant);
        let reach = seat.reach(plugin, reach);
        let mut sitting = seat.worker.lock().await;
        if let Some((worker, since)) = &*sitting {
            let over = self.waiting.load(Ordering::Acquire) > 0 && since.elapsed() >= TURN;
            if worker.reach == reach && !over && worker.begin() {
                return Ok(worker.clone());
            }
            worker.retire();
        }
        *sitting = None;
        let worker = self.start(reach, scratch).await.map_err(Unavailable::Broken)?;
        if !worker.begin() {
            return Err(Unavailable::Broken("a guest worker ended as it began".to_owned()));
        }
        *sitting = Some((worker.clone(), Instant::now()));
        Ok(worker)
    }

    /// An attempt at a worker is over.
    pub(super) fn done(&self, worker: &Worker) {
        worker.finish();
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.make_room();
        }
    }

    /// No attempt will be at a plugin any more.
    pub(super) fn forget(&self, plugin: u64) {
        self.live.lock().iter().for_each(|worker| worker.forget(plugin));
    }

    fn seat(&self, tenant: &TenantName) -> Arc<Seat> {
        let mut seats = self.seats.lock();
        if let Some(seat) = seats.get(tenant) {
            return seat.clone();
        }
        if seats.len() >= TENANTS_KEPT {
            seats.retain(|_, seat| {
                let busy = |sitting: &Option<(Arc<Worker>, Instant)>| {
                    sitting.as_ref().is_some_and(|(worker, _)| worker.takes())
                };
                Arc::strong_count(seat) > 1
                    || seat.worker.try_lock().map_or(true, |sitting| busy(&sitting))
            });
        }
        seats.entry(tenant.clone()).or_default().clone()
    }

    async fn start(
        self: &Arc<Self>,
        reach: Reach,
        scratch: Option<&ScratchHome>,
    ) -> Result<Arc<Worker>, String> {
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _waits = Waits::new(&self.waiting);
                self.make_room();
                let permit = Arc::clone(&self.places).acquire_owned().await;
                permit.map_err(|error| error.to_string())?
            }
        };
        let mut hello = self.hello.clone();
        hello.file_bytes = reach.file_bytes();
        let home = scratch.filter(|_| reach.scratch.is_some()).cloned();
        let dirs = reach.dirs.clone();
        let opening = self.handle.spawn_blocking(move || {
            let room = home.map(|home| home.room()).transpose().map_err(|e| e.to_string())?;
            let mut folders: Vec<(OwnedFd, bool)> = Vec::with_capacity(dirs.len() + 1);
            if let Some(room) = &room {
                folders.push((room.open().map_err(|error| error.to_string())?.into(), true));
            }
            for (dir, write) in dirs {
                // A folder that cannot be opened now fails the attempts that need it.
                if let Ok(folder) = open_granted(&dir) {
                    folders.push((folder.into(), write));
                }
            }
            Ok::<_, String>((room, folders))
        });
        let (room, folders) = opening.await.map_err(|error| error.to_string())??;
        let (folders, writes): (Vec<OwnedFd>, Vec<bool>) = folders.into_iter().unzip();
        hello.reach = writes;
        self.launch(hello, reach, folders, room.map(Arc::new), Some(permit)).await
    }

    async fn launch(
        self: &Arc<Self>,
        hello: Hello,
        reach: Reach,
        folders: Vec<OwnedFd>,
        room: Option<Arc<crate::scratch::Room>>,
        permit: Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> Result<Arc<Worker>, String> {
        let (workers, program) = (Arc::downgrade(self), self.config.program.clone());
        let most_up = most_up(hello.shape.ceilings);
        let starting = self.handle.spawn(async move {
            let of = workers.clone();
            let on_end: Box<dyn FnOnce() + Send> = Box::new(move || {
                if let Some(workers) = of.upgrade() {
                    workers.live.lock().retain(|worker| !worker.is_gone());
                }
            });
            let program = &program;
            let start = Start { program, hello, reach, folders, room, permit, most_up, on_end };
            let worker = Worker::start(start).await?;
            if let Some(workers) = workers.upgrade() {
                let mut live = workers.live.lock();
                live.push(worker.clone());
                live.retain(|worker| !worker.is_gone());
            }
            Ok(worker)
        });
        starting.await.map_err(|error| error.to_string())?
    }

    /// End the worker that has been idle for longest, for one who waits.
    fn make_room(&self) {
        let live = self.live.lock();
        let idle = live.iter().filter_map(|worker| Some((worker.idle_since()?, worker)));
        if let Some((_, worker)) = idle.min_by_key(|(since, _)| *since) {
            worker.retire();
        }
    }

    /// End the workers that have been idle for long, and those that keep what they were lent.
    fn look(&self) {
        let live = self.live.lock().clone();
        for worker in live {
            if worker.idle_since().is_some_and(|since| since.elapsed() >= self.config.idle) {
                worker.retire();
            }
            if worker.lendings.overdue() {
                tracing::warn!(pid = worker.pid, "a guest worker keeps a folder; it is killed");
                worker.kill("it kept a folder of an attempt that was over, and was killed");
            }
        }
    }

    /// The processes that there are.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.live.lock().iter().filter(|worker| worker.takes()).map(|worker| worker.pid).collect()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Its tasks have the processes, which are killed with them.
            runtime.shutdown_background();
        }
    }
}

/// One who waits for a place.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::AcqRel);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
