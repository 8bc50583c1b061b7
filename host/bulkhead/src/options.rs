//! What a host needs to know, already validated. Configuration becomes this; library
//! users may fill it in themselves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::alerts::AlertOptions;
use crate::config::default_scratch_dir;
use crate::layers::{Metrics, NamedLayer};
use crate::machine::{Linux, Machine};
use crate::memory::{self, ClaimBytes, Division, Shape};
use crate::metrics::TenantClasses;
use crate::plugins::LiveSettings;
use crate::serve::offers;
use bulkhead_core::{
    AdmissionMarks, AutoscalePolicy, Limits, Pace, QueueName, QueuePolicy, RetryPolicy, Schedule,
};
use bulkhead_queue::SubmitLimits;
use bulkhead_sandbox::{CacheFolder, ChildBounds, Compiler, SandboxConfig, WorkerProgram};

/// How a [`crate::Host`] runs.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The host's name in leases, logs and reports. People tell hosts apart by it; leases
    /// are told apart even if two hosts have the same.
    pub name: String,
    /// The queues it serves, at least one.
    pub queues: Vec<QueueOptions>,
    /// The folder of plugin files.
    pub plugin_dir: PathBuf,
    /// The folder of tenants' plugin folders, each under its tenant's name, if tenants may
    /// bring plugins.
    pub tenants_dir: Option<PathBuf>,
    /// How often the folders are looked through besides file events.
    pub rescan_every: Duration,
    /// Attempts at once; where these follow the load, the most that there may be.
    pub concurrency: u32,
    /// How attempts at once follow the load, if they do.
    pub autoscale: Option<AutoscaleOptions>,
    /// When the host takes on no more work.
    pub admission: AdmissionOptions,
    /// Who is told of attempts that pass a layer `metrics` of the configuration.
    pub attempt_metrics: Metrics,
    /// Where the host learns how its machine stands.
    pub machine: Arc<dyn Machine>,
    /// Threads that run guests.
    pub guest_threads: usize,
    /// How long a lease lasts; it is renewed after a third of it.
    pub lease: Duration,
    /// How long attempts may go on after a request to stop.
    pub grace: Duration,
    /// The host's ceilings: no attempt gets more.
    pub ceilings: Limits,
    /// Which plugins it takes that were pushed to the broker.
    pub fleet: FleetPolicy,
    /// Largest plugin file, in bytes.
    pub max_plugin_bytes: u64,
    /// Where plugins are compiled. There is no default: name the `bulkhead` program, or one
    /// that calls [`crate::compile_worker`], or say that this process may do it, which is for
    /// plugins of your own.
    pub compiler: Option<Compiler>,
    /// How long compiling one plugin may take.
    pub compile_budget: Duration,
    /// How much CPU time it may take in a worker.
    pub compile_cpu: Duration,
    /// How much memory it may take in a worker, in bytes of address space.
    pub compile_memory_bytes: u64,
    /// Where compiled plugins are kept between starts, if they are.
    pub cache: Option<CacheFolder>,
    /// Settlements kept while the broker is away; at the bound no new attempt starts.
    pub settlement_buffer: usize,
    /// The most memory that the host may have resident, in bytes, whatever guests and producers
    /// do. `None` bounds nothing.
    pub memory_bytes: Option<u64>,
    /// Where attempts have folders of their own, if their plugin was granted one. Hosts of one
    /// user may share it.
    pub scratch_dir: PathBuf,
    /// The schedules that it brings along, in any queues. They are stored at start; those
    /// of origin [`Schedule::FROM_CONFIG`] that are not among them are forgotten in the
    /// queues that are served or named here. `None` leaves the stored ones as they are.
    pub schedules: Option<Vec<QueueSchedule>>,
    /// Bounds on each task that a handler submits.
    pub submit: SubmitLimits,
    /// Where guests run.
    pub isolation: IsolationOptions,
    /// What is said of plugins: grants, and the values that they may ask for. It may change
    /// while the host runs.
    pub settings: LiveSettings,
    /// The classes that tenants are counted in.
    pub tenant_classes: TenantClasses,
    /// How often the broker is asked for the depths of the queues.
    pub sample_every: Duration,
    /// Whether payloads and results are logged, cut and escaped, where the level is `debug`.
    pub log_payloads: bool,
    /// What this host warns of.
    pub alerts: Vec<AlertOptions>,
}

/// Which plugins a host takes that were pushed to the broker. Whoever may write the broker may
/// push, and a pushed plugin has the grants, values and secrets that its name has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FleetPolicy {
    /// None.
    Off,
    /// Those that a pin or a signature makes trusted.
    #[default]
    Trusted,
    /// Those that would be trusted as files.
    Any,
}

impl FleetPolicy {
    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Trusted => "trusted",
            Self::Any => "any",
        }
    }
}

impl std::str::FromStr for FleetPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Off, Self::Trusted, Self::Any];
        all.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| {
            format!("`{}` is none of `off`, `trusted` and `any`", text.escape_debug())
        })
    }
}

/// How a host's concurrency follows its load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoscaleOptions {
    /// Fewest attempts at once. The host begins with so many.
    pub min: u32,
    /// Most attempts at once, within [`HostOptions::concurrency`], by which the memory is
    /// divided; all of that without one.
    pub max: Option<u32>,
    /// Between two looks at the load, at least 100 ms.
    pub interval: Duration,
    /// How it goes up.
    pub up: Pace,
    /// How it goes down.
    pub down: Pace,
    /// 95 of 100 tasks should begin within this time.
    pub pick_up_target: Option<Duration>,
}

impl AutoscaleOptions {
    /// The shortest interval.
    pub const LEAST_INTERVAL: Duration = Duration::from_millis(100);
}

impl Default for AutoscaleOptions {
    fn default() -> Self {
        let policy = AutoscalePolicy::default();
        Self {
            min: policy.min,
            max: None,
            interval: Duration::from_secs(2),
            up: policy.up,
            down: policy.down,
            pick_up_target: None,
        }
    }
}

/// When a host takes on no more work.
#[derive(Debug, Clone, PartialEq)]
pub struct AdmissionOptions {
    /// The marks; with none, it never is.
    pub marks: AdmissionMarks,
    /// Between two looks at the machine.
    pub interval: Duration,
    /// Folders that must have room, besides those for scratch folders and compiled plugins.
    pub folders: Vec<PathBuf>,
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        Self {
            marks: AdmissionMarks::default(),
            interval: Duration::from_secs(1),
            folders: Vec::new(),
        }
    }
}

/// Where guests run: on threads of the host, or in worker processes, those of different tenants
/// in different ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolationOptions {
    /// Whether in processes.
    pub process: bool,
    /// Worker processes at one time; a tenant beyond it waits for its turn.
    pub workers: u32,
    /// How long a worker process without attempts is kept.
    pub worker_idle: Duration,
    /// Whether to refuse to start where the kernel lacks a layer of their protection.
    pub strict: bool,
    /// The `bulkhead` program, or one that calls [`crate::guest_worker`]. Processes need it;
    /// there is no default.
    pub program: Option<WorkerProgram>,
}

impl Default for IsolationOptions {
    fn default() -> Self {
        Self {
            process: false,
            workers: 16,
            worker_idle: Duration::from_secs(60),
            strict: false,
            program: None,
        }
    }
}

/// A schedule and the queue that it submits to.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSchedule {
    /// The queue. It fires while any host serves this queue.
    pub queue: QueueName,
    /// The schedule.
    pub schedule: Schedule,
}

/// How a host serves one queue.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// The queue.
    pub name: QueueName,
    /// The retry policy of tasks that bring none and whose handler suggests none.
    pub retry: RetryPolicy,
    /// How long completed and cancelled tasks are kept that do not say, in milliseconds.
    pub retention_ms: u64,
    /// How long dead letters are kept that do not say, in milliseconds.
    pub dead_retention_ms: u64,
    /// What the queue bounds, for whom: replaces its stored policy at start, for all hosts.
    /// `None` leaves that as it is.
    pub policy: Option<QueuePolicy>,
    /// The layers around each attempt, the outermost first. With any, tasks run one by one.
    pub layers: Vec<NamedLayer>,
}

impl QueueOptions {
    /// The defaults for a queue: kept for a day when completed, a week when dead.
    #[must_use]
    pub fn new(name: QueueName) -> Self {
        Self {
            name,
            retry: RetryPolicy::default(),
            retention_ms: 24 * 3_600_000,
            dead_retention_ms: 7 * 24 * 3_600_000,
            policy: None,
            layers: Vec::new(),
        }
    }
}

impl Default for HostOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            name: format!("host-{}", std::process::id()),
            queues: vec![QueueOptions::new(QueueName::default())],
            plugin_dir: PathBuf::from("plugins"),
            tenants_dir: None,
            rescan_every: Duration::from_secs(5),
            concurrency: 64,
            autoscale: None,
            admission: AdmissionOptions::default(),
            attempt_metrics: Metrics::default(),
            machine: Arc::new(Linux),
            guest_threads: cores,
            lease: Duration::from_secs(10),
            grace: Duration::from_secs(30),
            ceilings: Limits::default(),
            fleet: FleetPolicy::default(),
            max_plugin_bytes: 64 << 20,
            compiler: None,
            compile_budget: Duration::from_secs(60),
            compile_cpu: Duration::from_secs(120),
            compile_memory_bytes: 2 << 30,
            cache: None,
            settlement_buffer: 10_000,
            memory_bytes: None,
            scratch_dir: default_scratch_dir(),
            schedules: None,
            submit: SubmitLimits::default(),
            isolation: IsolationOptions::default(),
            settings: LiveSettings::default(),
            tenant_classes: TenantClasses::default(),
            sample_every: Duration::from_secs(10),
            log_payloads: false,
            alerts: Vec::new(),
        }
    }
}

impl HostOptions {
    /// The folders that the host writes to.
    pub(crate) fn written_folders(&self) -> Vec<PathBuf> {
        let cache = self.cache.as_ref().map(|cache| &cache.folder);
        let folders = self.admission.folders.iter().chain(cache).chain([&self.scratch_dir]);
        folders.cloned().collect()
    }

    /// The settings of the sandbox that the memory depends on.
    fn compartments(&self) -> SandboxConfig {
        SandboxConfig { concurrency: self.concurrency, ..SandboxConfig::default() }
    }

    fn shape(&self) -> Shape {
        let sandbox = self.compartments();
        let slots = u64::from(sandbox.concurrency) + u64::from(sandbox.concurrent_loads);
        Shape {
            guest_threads: self.guest_threads,
            task_bytes: (self.submit.payload_bytes + self.submit.metadata_bytes) as u64,
            memories: slots * u64::from(sandbox.memories),
        }
    }

    /// Bytes of each memory that stay resident between attempts.
    pub(crate) fn keep_resident_bytes(&self) -> usize {
        let wanted = SandboxConfig::default().keep_resident_bytes;
        let kept = |total| memory::keep_resident_bytes(total, wanted as u64, &self.shape());
        let kept = self.memory_bytes.map(kept).and_then(|bytes| usize::try_from(bytes).ok());
        kept.unwrap_or(wanted)
    }

    /// How the memory is divided, if it is bounded; how much is too little.
    pub(crate) fn division(&self) -> Result<Option<Division>, u64> {
        let Some(total) = self.memory_bytes else { return Ok(None) };
        let keep_resident_bytes = self.keep_resident_bytes();
        let pool = SandboxConfig { keep_resident_bytes, ..self.compartments() }.resident_bytes();
        memory::divide(total, pool, &self.shape()).map(Some)
    }

    /// Bounds on the records of claimed tasks.
    pub(crate) fn claim_bytes(&self) -> ClaimBytes {
        memory::claim_bytes(self.memory_bytes.unwrap_or(u64::MAX), &self.shape())
    }

    /// How a sandbox takes plugins to judge and run them as this host does. How many it has at
    /// once, and where they run, is as the sandbox's own defaults say.
    #[must_use]
    pub fn sandbox(&self, compiler: Compiler) -> SandboxConfig {
        SandboxConfig {
            ceilings: self.ceilings,
            max_component_bytes: usize::try_from(self.max_plugin_bytes).unwrap_or(usize::MAX),
            compiler,
            compile_budget: self.compile_budget,
            compile_cpu: self.compile_cpu,
            compile_memory_bytes: self.compile_memory_bytes,
            cache: self.cache.clone(),
            offers: offers(),
            children: ChildBounds {
                payload_bytes: self.submit.payload_bytes as u64,
                metadata_bytes: self.submit.metadata_bytes as u64,
            },
            ..SandboxConfig::default()
        }
    }
}
