//! The host: plugins, queues and the two runtimes put together.
//!
//! The caller's runtime is the control side: it talks to the broker, renews leases and
//! keeps time. Guests run on threads of their own, so a busy guest delays neither.

mod admission;
mod announce;
mod canaries;
mod lines;
mod phase;
mod sample;
mod scaling;
mod vitals;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::Phase;
use bulkhead_queue::{Broker, QueueError};
use bulkhead_sandbox::{
    Budget, Isolation, Layer, Sandbox, SandboxConfig, SandboxError, WorkerProcesses,
};

use self::lines::Lines;
pub use self::phase::{HostFacts, Phases};
pub use self::vitals::{VitalCounts, Vitals};
use crate::alerts::Alerts;
use crate::metrics::{Metrics, Sources};
use crate::options::{AutoscaleOptions, HostOptions, IsolationOptions};
use crate::plugins::{Folders, Keeper, Registry};
use crate::scheduler;
use crate::shutdown::Shutdown;
use crate::traces::Traces;

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
    phases: Phases,
    alerts: Alerts,
    metrics: Option<Metrics>,
    traces: Option<Traces>,
}

impl HostBuilder {
    /// Where it is to tell in which phase it is.
    #[must_use]
    pub fn phases(self, phases: Phases) -> Self {
        Self { phases, ..self }
    }

    /// Where it is to tell how its alerts stand.
    #[must_use]
    pub fn alerts(self, alerts: Alerts) -> Self {
        Self { alerts, ..self }
    }

    /// Count in these figures, which may be in a registry of the caller's already.
    #[must_use]
    pub fn metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Trace attempts. Whoever made it flushes it, after the host has ended.
    #[must_use]
    pub fn traces(self, traces: Traces) -> Self {
        Self { traces: Some(traces), ..self }
    }

    /// Check the options, start the engine, open the plugin folder. No task is claimed
    /// before [`Host::run`].
    pub fn build(self) -> Result<Host, HostError> {
        let options = self.options.clone();
        let bad = |reason: &str| Err(HostError::Options(reason.into()));
        if options.queues.is_empty() {
            return bad("no queue is named; name at least one");
        }
        if options.concurrency == 0 || options.guest_threads == 0 || options.settlement_buffer == 0
        {
            return bad("concurrency, guest threads and the settlement buffer must be at least 1");
        }
        if let Some(autoscale) = &options.autoscale
            && (autoscale.interval < AutoscaleOptions::LEAST_INTERVAL
                || !(1..=options.concurrency).contains(&autoscale.min)
                || autoscale.max.is_some_and(|max| max < autoscale.min))
        {
            return bad(
                "the autoscaler's bounds must be from 1 to the concurrency, the lower one \
                        first, and its interval at least 100 ms",
            );
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
        let division = options.division().map_err(|least| {
            let least = least.div_ceil(1 << 20);
            HostError::Options(format!(
                "`memory_bytes` leaves nothing for attempts; the host needs {least} MiB for itself"
            ))
        })?;
        let budget = division.map_or_else(Budget::unbounded, |parts| Budget::of(parts.budget));
        let sandbox = Sandbox::new(SandboxConfig {
            concurrency: options.concurrency,
            budget: budget.clone(),
            keep_resident_bytes: options.keep_resident_bytes(),
            isolation: isolation(&options)?,
            ..options.sandbox(compiler)
        })?;
        let metrics =
            self.metrics.clone().unwrap_or_else(|| Metrics::new(options.tenant_classes.clone()));
        let registry = Arc::new(Registry::new(options.settings.clone(), metrics.clone()));
        let folders = Folders {
            operators: options.plugin_dir.clone(),
            tenants: options.tenants_dir.clone(),
            rescan_every: options.rescan_every,
            max_plugin_bytes: options.max_plugin_bytes,
            broker: self.broker.clone(),
            fleet: options.fleet,
        };
        let settings = options.settings.clone();
        let keeper = Keeper::new(registry.clone(), sandbox.clone(), folders, settings).map_err(
            |(folder, source)| {
                let folder = folder.display().to_string();
                HostError::Plugins { folder, source }
            },
        )?;
        let Self { broker, traces, phases, alerts, .. } = self;
        phases.have(&registry);
        let vitals = Vitals::default();
        let telemetry = Telemetry { metrics, traces };
        Ok(Host {
            broker,
            options,
            registry,
            keeper,
            sandbox,
            budget,
            telemetry,
            alerts,
            vitals,
            phases,
        })
    }
}

/// Where a host tells what it does.
pub(crate) struct Telemetry {
    pub(crate) metrics: Metrics,
    pub(crate) traces: Option<Traces>,
}

/// A process that runs handlers.
pub struct Host {
    broker: Arc<dyn Broker>,
    options: HostOptions,
    registry: Arc<Registry>,
    keeper: Keeper,
    sandbox: Sandbox,
    budget: Budget,
    phases: Phases,
    telemetry: Telemetry,
    alerts: Alerts,
    vitals: Vitals,
}

impl Host {
    /// Start building a host that takes its tasks from `broker`.
    #[must_use]
    pub fn builder(broker: Arc<dyn Broker>, options: HostOptions) -> HostBuilder {
        HostBuilder {
            broker,
            options,
            metrics: None,
            traces: None,
            phases: Phases::new(),
            alerts: Alerts::default(),
        }
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.telemetry.metrics
    }

    /// What it warns of.
    #[must_use]
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// A look at it while it runs.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        self.vitals.clone()
    }

    /// Load the plugins and serve until `shutdown`. Returns when every attempt has been
    /// settled or given back.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), HostError> {
        let Self {
            broker,
            options,
            registry,
            mut keeper,
            sandbox,
            budget,
            telemetry,
            alerts,
            vitals,
            phases,
        } = self;
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
        let within = (sandbox, budget);
        let metrics = telemetry.metrics.clone();
        let lines = Lines::new(&broker, &options, registry, within, telemetry, layers, vitals)?;
        let shared = lines.shared.clone();
        metrics.follow(Sources::of(&shared, &lines.lines, options.memory_bytes.is_some()));
        let guests = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.guest_threads)
            .thread_name("guests")
            .enable_time()
            // What `http` sends goes out from these threads.
            .enable_io()
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
        lines.warn_of_little_memory();
        tracing::info!(host = %options.name, queues = lines.lines.len(),
            concurrency = shared.permits.total(), "host serves");
        phases.enter(Phase::Serving);
        let draining = async {
            stopping.drained().await;
            phases.enter(Phase::Draining);
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            outcome = lines.run(keeper, guests.handle().clone(), shutdown, alerts) => outcome,
            () = draining => Ok(()),
        };
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
pub(crate) fn isolation(options: &HostOptions) -> Result<Isolation, HostError> {
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
