//! The host: plugins, queues and the two runtimes put together.
//!
//! The caller's runtime is the control side: it talks to the broker, renews leases and
//! keeps time. Guests run on threads of their own, so a busy guest delays neither.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{TaskType, UnixMs};
use bulkhead_queue::{Broker, HostInfo, QueueError, Signal, Topic};
use bulkhead_sandbox::{Isolation, Layer, Sandbox, SandboxConfig, SandboxError, WorkerProcesses};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::clock::unix_ms;
use crate::options::{HostOptions, IsolationOptions, QueueOptions};
use crate::plugins::{Keeper, Registry};
use crate::scheduler::{self, ScheduleBell};
use crate::serve::{
    Backends, Interrupt, Line, Permits, Shared, carry, carry_last, carry_others, listen, offers,
};
use crate::shutdown::Shutdown;

/// How often a host says that it runs.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3);
/// How long it is believed.
const ANNOUNCE_TTL: Duration = Duration::from_secs(15);

/// Why a host could not be built or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The options make no sense.
    #[error("the host's options are not usable: {0}")]
    Options(String),
    /// The sandbox could not be built.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The plugin folder cannot be read.
    #[error("the plugin folder `{folder}` cannot be read: {source}; create it or name another")]
    Plugins {
        /// The folder.
        folder: String,
        /// Why.
        source: io::Error,
    },
    /// The guests' threads could not be started.
    #[error("the guests' threads cannot start: {0}")]
    Threads(io::Error),
    /// The broker refused the host at the start.
    #[error(transparent)]
    Broker(#[from] QueueError),
}

/// Builds a [`Host`].
pub struct HostBuilder {
    broker: Arc<dyn Broker>,
    options: HostOptions,
}

impl HostBuilder {
    /// Check the options, start the engine, open the plugin folder. No task is claimed
    /// before [`Host::run`].
    pub fn build(self) -> Result<Host, HostError> {
        let options = self.options;
        let bad = |reason: &str| Err(HostError::Options(reason.into()));
        if options.queues.is_empty() {
            return bad("no queue is named; name at least one");
        }
        if options.concurrency == 0 || options.guest_threads == 0 || options.settlement_buffer == 0
        {
            return bad("concurrency, guest threads and the settlement buffer must be at least 1");
        }
        if options.lease < Duration::from_millis(300) {
            return bad("the lease is under 300 ms; it must outlast a few round trips");
        }
        if options.name.is_empty()
            || options.name.len() > 128
            || options.name.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return bad("the host's name must be 1 to 128 bytes without spaces");
        }
        let Some(compiler) = options.compiler.clone() else {
            return bad(
                "no compiler is named; name a worker program, or `Compiler::InProcess` for \
                 plugins of your own",
            );
        };
        scheduler::check(options.schedules.as_deref().unwrap_or_default())
            .map_err(HostError::Options)?;
        let sandbox = Sandbox::new(SandboxConfig {
            concurrency: options.concurrency,
            ceilings: options.ceilings,
            max_component_bytes: usize::try_from(options.max_plugin_bytes).unwrap_or(usize::MAX),
            compiler,
            compile_budget: options.compile_budget,
            compile_cpu: options.compile_cpu,
            compile_memory_bytes: options.compile_memory_bytes,
            cache: options.cache.clone(),
            offers: offers(),
            children: options.child_bounds(),
            isolation: isolation(&options)?,
            ..SandboxConfig::default()
        })?;
        let registry = Arc::new(Registry::new());
        let keeper = Keeper::new(
            registry.clone(),
            sandbox.clone(),
            options.plugin_dir.clone(),
            options.rescan_every,
            options.max_plugin_bytes,
            options.settings.clone(),
        )
        .map_err(|source| HostError::Plugins {
            folder: options.plugin_dir.display().to_string(),
            source,
        })?;
        Ok(Host { broker: self.broker, options, registry, keeper, sandbox })
    }
}

/// A process that runs handlers.
pub struct Host {
    broker: Arc<dyn Broker>,
    options: HostOptions,
    registry: Arc<Registry>,
    keeper: Keeper,
    sandbox: Sandbox,
}

impl Host {
    /// Start building a host that takes its tasks from `broker`.
    #[must_use]
    pub fn builder(broker: Arc<dyn Broker>, options: HostOptions) -> HostBuilder {
        HostBuilder { broker, options }
    }

    /// Load the plugins and serve until `shutdown`. Returns when every attempt has been
    /// settled or given back.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), HostError> {
        let Self { broker, options, registry, mut keeper, sandbox } = self;
        let layers = layers(&sandbox).await?;
        for warning in broker.check().await? {
            tracing::warn!("{warning}");
        }
        for queue in &options.queues {
            if let Some(policy) = &queue.policy {
                broker.set_policy(&queue.name, policy).await?;
            }
        }
        if let Some(schedules) = &options.schedules {
            let served = options.queues.iter().map(|queue| &queue.name);
            scheduler::define(broker.as_ref(), schedules, served).await?;
        }
        let lines = Lines::new(&broker, &options, registry, layers)?;
        let shared = lines.shared.clone();
        let guests = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.guest_threads)
            .thread_name("guests")
            .enable_time()
            .build()
            .map_err(HostError::Threads)?;
        let mut stopping = shutdown.clone();
        let getting_ready = async {
            shared.backends.sweep().await;
            keeper.load_all().await;
        };
        tokio::select! {
            () = getting_ready => {}
            () = stopping.drained() => {}
        }
        tracing::info!(host = %options.name, queues = lines.lines.len(),
            concurrency = options.concurrency, "host serves");
        let outcome = lines.run(keeper, guests.handle().clone(), shutdown).await;
        shared.backends.tidied().await;
        // Every attempt has been settled or given back; nothing is left to wait for.
        guests.shutdown_background();
        if let Err(error) = broker.withdraw_host(&options.name).await {
            tracing::debug!(%error, "could not withdraw the host's entry; it expires by itself");
        }
        tracing::info!(host = %options.name, "host stopped");
        outcome
    }
}

/// Where the sandbox is to run guests.
fn isolation(options: &HostOptions) -> Result<Isolation, HostError> {
    let IsolationOptions { process, workers, worker_idle, strict, program } = &options.isolation;
    if !process {
        return Ok(Isolation::Thread);
    }
    let Some(program) = program.clone() else {
        let reason = "no program is named for worker processes; name one, or let guests run on \
                      threads";
        return Err(HostError::Options(reason.into()));
    };
    Ok(Isolation::Process(WorkerProcesses {
        program,
        most: *workers,
        threads: options.guest_threads,
        idle: *worker_idle,
        strict: *strict,
    }))
}

/// The names of the layers that worker processes have, the operator told of those that are
/// missing.
async fn layers(sandbox: &Sandbox) -> Result<Vec<String>, HostError> {
    let Some(layers) = sandbox.layers().await? else { return Ok(Vec::new()) };
    let missing: Vec<&str> =
        Layer::ALL.iter().filter(|layer| !layers.contains(layer)).map(|l| l.as_str()).collect();
    let active: Vec<String> = layers.iter().map(Layer::to_string).collect();
    tracing::info!(layers = active.join(" "), "guests run in worker processes");
    if !missing.is_empty() {
        tracing::warn!(
            missing = missing.join(" "),
            "the kernel lacks layers of protection around worker processes; with \
             `host.isolation_strict` the host would not have started"
        );
    }
    Ok(active)
}

/// A name for leases that only one process, and one host in it, has.
fn holder(name: &str) -> String {
    let life = uuid::Uuid::new_v4().simple().to_string();
    format!("{name}#{}", &life[..8])
}

/// The lines of a host.
struct Lines {
    shared: Arc<Shared>,
    lines: Vec<Arc<Line>>,
    options: HostOptions,
    started_at: UnixMs,
    /// The layers around worker processes; none where guests run on threads.
    layers: Vec<String>,
}

impl Lines {
    fn new(
        broker: &Arc<dyn Broker>,
        options: &HostOptions,
        registry: Arc<Registry>,
        layers: Vec<String>,
    ) -> Result<Self, HostError> {
        let unreadable_type =
            TaskType::new("unreadable").map_err(|e| HostError::Options(e.to_string()))?;
        let shared = Arc::new(Shared {
            host: options.name.as_str().into(),
            holder: holder(&options.name).into(),
            broker: broker.clone(),
            registry,
            backends: Backends::new(options, broker.clone()),
            permits: Permits::new(options.concurrency),
            lease: options.lease,
            settlement_buffer: options.settlement_buffer,
            hunger: Notify::new(),
            unreadable_type,
            control: tokio::runtime::Handle::current(),
        });
        let line = |queue: &QueueOptions| Arc::new(Line::new(shared.clone(), queue.clone()));
        let lines = options.queues.iter().map(line).collect();
        Ok(Self { shared, lines, options: options.clone(), started_at: unix_ms(), layers })
    }

    async fn run(
        self,
        keeper: Keeper,
        guests: tokio::runtime::Handle,
        shutdown: Shutdown,
    ) -> Result<(), HostError> {
        let mut serving = JoinSet::new();
        for line in &self.lines {
            let line = line.clone();
            serving.spawn(line.serve(guests.clone(), shutdown.clone(), self.options.grace));
        }
        let mut beside = JoinSet::new();
        let served = self.lines.iter().map(|line| line.queue.name.clone()).collect();
        beside.spawn(carry_others(self.shared.broker.clone(), served));
        let (broker, bell) = (&self.shared.broker, ScheduleBell::new());
        beside.spawn(follow_requests(broker.clone(), keeper.requests.clone(), bell.clone()));
        beside.spawn(keeper.run(shutdown.clone()));
        beside.spawn(follow_cancels(self.shared.broker.clone(), self.lines.clone()));
        beside.spawn(listen(self.shared.clone(), self.lines.clone(), shutdown.clone()));
        for line in &self.lines {
            beside.spawn(carry(line.clone()));
            beside.spawn(scheduler::follow(
                self.shared.broker.clone(),
                line.queue.name.clone(),
                bell.clone(),
            ));
        }
        let lines = self.lines.clone();
        beside.spawn(self.announce());
        while let Some(ended) = serving.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a queue's loop ended unexpectedly");
            }
        }
        beside.shutdown().await;
        futures::future::join_all(lines.iter().map(|line| carry_last(line))).await;
        Ok(())
    }

    fn in_flight(&self) -> u32 {
        let running: usize = self.lines.iter().map(|line| line.ledger.glance().running).sum();
        u32::try_from(running).unwrap_or(u32::MAX)
    }

    /// Say again and again that the host runs, and at once when its plugins change.
    async fn announce(self) {
        let (mut changes, mut rescans) =
            (self.shared.registry.changes(), self.shared.registry.rescans());
        loop {
            let info = HostInfo {
                name: self.options.name.clone(),
                pid: std::process::id(),
                started_at: self.started_at,
                seen_at: unix_ms(),
                concurrency: self.shared.permits.total(),
                in_flight: self.in_flight(),
                queues: self.lines.iter().map(|line| line.queue.name.to_string()).collect(),
                plugins: self.shared.registry.info(),
                rescans: *rescans.borrow_and_update(),
                isolation: self.layers.clone(),
            };
            if let Err(error) = self.shared.broker.announce_host(&info, ANNOUNCE_TTL).await {
                tracing::debug!(%error, "cannot announce the host");
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = rescans.changed() => {}
                () = tokio::time::sleep(ANNOUNCE_EVERY) => {}
            }
        }
    }
}

/// Pass requests to cancel on to the attempts they are for.
async fn follow_cancels(broker: Arc<dyn Broker>, lines: Vec<Arc<Line>>) {
    let queues = lines.iter().map(|line| line.queue.name.clone()).collect();
    let mut signals = broker.subscribe(Topic::Cancel, queues);
    while let Some(signal) = signals.recv().await {
        if let Signal::Task(queue, id) = signal
            && let Some(line) = lines.iter().find(|line| line.queue.name == queue)
        {
            line.ledger.interrupt(id, Interrupt::Cancelled);
        }
    }
}

/// Pass requests to look again on: at the plugin folder to its keeper, at the schedules to
/// their loops.
async fn follow_requests(broker: Arc<dyn Broker>, rescans: Arc<Notify>, bell: ScheduleBell) {
    let mut signals = broker.subscribe(Topic::Rescan, Vec::new());
    while let Some(signal) = signals.recv().await {
        match signal {
            Signal::Rescan => rescans.notify_one(),
            // What was said until the subscription stood has not been heard.
            Signal::Schedules | Signal::Connected => bell.ring(),
            Signal::Task(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_core::{
        LimitsRequest, Missed, Payload, QueueName, Schedule, Template, Terms, Timing,
    };
    use bulkhead_queue::EmbeddedBroker;

    use super::*;

    #[tokio::test]
    async fn every_change_of_a_schedule_rings_the_bell() {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
        let (queue, bell) = (QueueName::default(), ScheduleBell::new());
        let mut rung = bell.heard();
        let rescans = Arc::new(Notify::new());
        let following = tokio::spawn(follow_requests(broker.clone(), rescans.clone(), bell));
        let mut ring = async || {
            let rung = tokio::time::timeout(Duration::from_secs(20), rung.changed()).await;
            rung.expect("it rings").expect("it is there");
        };
        ring().await;
        let schedule = Schedule {
            name: "s".into(),
            timing: Timing::Every { interval_ms: 1_000, jitter_ms: 0, start: 0 },
            exclusive: false,
            missed: Missed::Once,
            task: Template {
                task_type: TaskType::new("t").unwrap(),
                tenant: Default::default(),
                priority: Default::default(),
                payload: Payload::new(Payload::TEXT, ""),
                metadata: Vec::new(),
                limits: LimitsRequest::default(),
                terms: Terms::default(),
            },
            origin: String::new(),
        };
        assert!(broker.put_schedule(&queue, &schedule, Some(1)).await.unwrap());
        ring().await;
        for paused in [true, false] {
            assert!(broker.pause_schedule(&queue, "s", paused, Some(1)).await.unwrap());
            ring().await;
        }
        assert!(broker.remove_schedule(&queue, "s").await.unwrap());
        ring().await;
        assert_eq!(broker.request_rescan().await.unwrap(), 1);
        rescans.notified().await;
        following.abort();
    }
}
