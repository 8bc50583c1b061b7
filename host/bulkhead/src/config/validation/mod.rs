//! From values of the right type to values that make sense.
//!
//! Every problem is collected before anything is refused, so that one run of
//! `bulkhead config check` shows all of them.

mod api;
mod layer;
mod load;
mod plugin;
mod queue;
mod retry;
mod schedule;
mod secret;
mod telemetry;
mod tenant;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bulkhead_core::{Limits, QueueName, check_name};
use bulkhead_queue::SubmitLimits;

use super::api::ApiSettings;
use super::error::Problem;
use super::quantity::{Size, Span};
use super::raw::{Raw, RawHost, RawLimits, RawPlugins};
use super::{BrokerPlace, BrokerUrl, LogOptions, Origin, Origins};
use crate::layers::Metrics;
use crate::options::{FleetPolicy, HostOptions, IsolationOptions, QueueOptions};
use crate::plugins::LiveSettings;
use crate::traces::OtlpOptions;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What validation gives.
pub(in crate::config) struct Valid {
    pub(in crate::config) broker: BrokerUrl,
    pub(in crate::config) namespace: String,
    pub(in crate::config) host: HostOptions,
    pub(in crate::config) queues: BTreeMap<QueueName, QueueOptions>,
    pub(in crate::config) submit: SubmitLimits,
    pub(in crate::config) log: LogOptions,
    pub(in crate::config) api: ApiSettings,
    pub(in crate::config) otlp: Option<OtlpOptions>,
}

/// Check `raw`; the problems if there are any.
pub(in crate::config) fn validate(
    raw: &Raw,
    origins: &Origins,
    env: &[(String, String)],
) -> Result<Valid, Vec<Problem>> {
    let mut check = Check { origins, problems: Vec::new() };
    let broker = check.parsed::<BrokerUrl>(&["broker"], &raw.broker);
    check.name(&["namespace"], "namespace", &raw.namespace);
    let metrics = Metrics::default();
    let layers = check.layers(&raw.layers, &metrics);
    let queues = check.queues(&raw.queues, &layers);
    let ceilings = check.limits(&raw.limits);
    let mut host = check.host(&raw.host, &raw.plugins, ceilings, &queues);
    let submit = SubmitLimits {
        payload_bytes: check.bytes(&["submit", "payload_bytes"], raw.submit.payload_bytes),
        metadata_bytes: check.bytes(&["submit", "metadata_bytes"], raw.submit.metadata_bytes),
        ..SubmitLimits::default()
    };
    host.submit = submit;
    host.attempt_metrics = metrics;
    check.memory(&host);
    if let Some(BrokerPlace::Embedded(folder)) = broker.as_ref().map(BrokerUrl::place) {
        host.admission.folders.push(folder);
    }
    let mut settings = check.plugin_settings(raw);
    settings.secrets = check.secrets(raw, env).into();
    host.settings = LiveSettings::fixed(settings);
    host.schedules = raw.schedules.as_ref().map(|raw| check.schedules(raw, &submit));
    let log = check.log(&raw.log);
    let api = check.api(&raw.api);
    host.log_payloads = raw.log.payloads;
    host.tenant_classes = check.tenant_classes(raw);
    let every = ["telemetry", "sample_every"];
    host.sample_every = check.span(&every, raw.telemetry.sample_every, SECOND..=HOUR);
    host.alerts = check.alerts(&raw.alerts);
    let otlp = check.otlp(&raw.telemetry.otlp, env);
    match (broker, log) {
        (Some(broker), Some(log)) if check.problems.is_empty() => {
            let namespace = raw.namespace.clone();
            Ok(Valid { broker, namespace, host, queues, submit, log, api, otlp })
        }
        _ => Err(check.problems),
    }
}

struct Check<'a> {
    origins: &'a Origins,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, path: &[&str], message: impl Display) {
        self.problems.push(Problem {
            key: Some(path.join(".")),
            origin: self.origins.of(path),
            message: message.to_string(),
        });
    }

    fn within<T: PartialOrd + Display>(&mut self, path: &[&str], value: T, to: RangeInclusive<T>) {
        if !to.contains(&value) {
            let message = format!("{value} is not from {} to {}", to.start(), to.end());
            self.problem(path, message);
        }
    }

    fn span(&mut self, path: &[&str], span: Span, to: RangeInclusive<Duration>) -> Duration {
        self.within(path, span, Span(*to.start())..=Span(*to.end()));
        span.0
    }

    fn size(&mut self, path: &[&str], size: Size, to: RangeInclusive<u64>) -> u64 {
        self.within(path, size, Size(*to.start())..=Size(*to.end()));
        size.0
    }

    /// A size of what is submitted; the server refuses strings over 512 MiB and the
    /// record holds more than the payload.
    fn bytes(&mut self, path: &[&str], size: Size) -> usize {
        usize::try_from(self.size(path, size, 0..=192 * MIB)).unwrap_or(usize::MAX)
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, path: &[&str], text: &str) -> Option<T> {
        text.parse().map_err(|error: T::Err| self.problem(path, error)).ok()
    }

    fn name(&mut self, path: &[&str], what: &'static str, name: &str) {
        if let Err(error) = check_name(what, name) {
            self.problem(path, error);
        }
    }

    fn host(
        &mut self,
        host: &RawHost,
        plugins: &RawPlugins,
        ceilings: Limits,
        queues: &BTreeMap<QueueName, QueueOptions>,
    ) -> HostOptions {
        self.name(&["host", "name"], "host name", &host.name);
        self.within(&["host", "concurrency"], host.concurrency, 1..=10_000);
        self.within(&["host", "guest_threads"], host.guest_threads, 1..=1_024);
        self.within(&["host", "settlement_buffer"], host.settlement_buffer, 1..=10_000_000);
        if host.scratch_dir.is_empty() {
            self.problem(&["host", "scratch_dir"], "it is empty; name a folder");
        }
        if plugins.dir.is_empty() {
            self.problem(&["plugins", "dir"], "it is empty; name the folder of plugin files");
        }
        if plugins.tenants_dir.as_deref() == Some("") {
            self.problem(&["plugins", "tenants_dir"], "it is empty; name a folder or leave it out");
        }
        HostOptions {
            name: host.name.clone(),
            queues: self.served(host, queues),
            plugin_dir: self.path(&["plugins", "dir"], &plugins.dir),
            tenants_dir: plugins
                .tenants_dir
                .as_ref()
                .map(|dir| self.path(&["plugins", "tenants_dir"], dir)),
            rescan_every: self.span(
                &["plugins", "rescan_every"],
                plugins.rescan_every,
                SECOND / 10..=HOUR,
            ),
            fleet: self
                .parsed::<FleetPolicy>(&["plugins", "fleet"], &plugins.fleet)
                .unwrap_or_default(),
            concurrency: host.concurrency,
            autoscale: self.autoscale(host),
            admission: self.admission(&host.admission),
            attempt_metrics: Metrics::default(),
            machine: HostOptions::default().machine,
            guest_threads: host.guest_threads,
            lease: self.span(&["host", "lease"], host.lease, Duration::from_millis(300)..=HOUR),
            grace: self.span(&["host", "grace"], host.grace, Duration::ZERO..=DAY),
            ceilings,
            max_plugin_bytes: self.size(&["plugins", "max_bytes"], plugins.max_bytes, KIB..=GIB),
            compile_budget: self.span(
                &["plugins", "compile_budget"],
                plugins.compile_budget,
                SECOND / 10..=HOUR,
            ),
            // Only a program knows whether it can be a worker.
            compiler: None,
            compile_cpu: self.span(&["plugins", "compile_cpu"], plugins.compile_cpu, SECOND..=HOUR),
            compile_memory_bytes: self.size(
                &["plugins", "compile_memory"],
                plugins.compile_memory,
                64 * MIB..=64 * GIB,
            ),
            cache: self.cache(plugins),
            settlement_buffer: host.settlement_buffer,
            memory_bytes: host
                .memory
                .map(|size| self.size(&["host", "memory"], size, MIB..=4_095 * GIB)),
            scratch_dir: self.path(&["host", "scratch_dir"], &host.scratch_dir),
            isolation: self.isolation(host),
            ..HostOptions::default()
        }
    }

    /// What the host's memory leaves for attempts.
    fn memory(&mut self, host: &HostOptions) {
        if let (Some(bytes), Err(least)) = (host.memory_bytes, host.division()) {
            let least = least.div_ceil(MIB);
            let message = format!(
                "{} leave nothing for attempts: with {} attempts at once the host needs {least} \
                 MiB for itself; raise it, or lower `host.concurrency` or `submit.payload_bytes`",
                Size(bytes),
                host.concurrency
            );
            self.problem(&["host", "memory"], message);
        }
    }

    fn isolation(&mut self, host: &RawHost) -> IsolationOptions {
        if !["thread", "process"].contains(&host.isolation.as_str()) {
            let message = format!(
                "`{}` is no isolation; write `thread` or `process`",
                host.isolation.escape_debug()
            );
            self.problem(&["host", "isolation"], message);
        }
        self.within(&["host", "workers"], host.workers, 1..=1_000);
        IsolationOptions {
            process: host.isolation == "process",
            workers: host.workers,
            worker_idle: self.span(&["host", "worker_idle"], host.worker_idle, SECOND / 10..=HOUR),
            strict: host.isolation_strict,
            // Only a program knows whether it can be a worker.
            program: None,
        }
    }

    /// The queues that a host serves: the named ones, else all that have a section, else
    /// the default one.
    fn served(
        &mut self,
        host: &RawHost,
        queues: &BTreeMap<QueueName, QueueOptions>,
    ) -> Vec<QueueOptions> {
        let mut names: Vec<QueueName> = Vec::new();
        for name in &host.queues {
            match self.parsed::<QueueName>(&["host", "queues"], name) {
                Some(name) if !names.contains(&name) => names.push(name),
                _ => {}
            }
        }
        if names.is_empty() && !queues.is_empty() {
            return queues.values().cloned().collect();
        }
        if names.is_empty() {
            names.push(QueueName::default());
        }
        names
            .into_iter()
            .map(|name| queues.get(&name).cloned().unwrap_or_else(|| QueueOptions::new(name)))
            .collect()
    }

    /// A path in a file is meant from where the file is.
    fn path(&self, key: &[&str], path: &str) -> PathBuf {
        match self.origins.of(key) {
            Origin::File(file) => file.parent().map_or_else(|| path.into(), |base| base.join(path)),
            _ => path.into(),
        }
    }

    fn limits(&mut self, raw: &RawLimits) -> Limits {
        self.within(&["limits", "fuel"], raw.fuel, 1_000..=u64::MAX / 2);
        self.within(&["limits", "handles"], raw.handles, 1..=1_000_000);
        self.within(&["limits", "instances"], raw.instances, 1..=1_000);
        let wall = self.span(&["limits", "wall"], raw.wall, Duration::from_millis(1)..=DAY);
        Limits {
            fuel: raw.fuel,
            memory_bytes: self.size(&["limits", "memory"], raw.memory, 64 * KIB..=4 * GIB),
            wall_ms: Span(wall).as_ms(),
            result_bytes: self.size(&["limits", "result"], raw.result, 1..=192 * MIB),
            log_bytes: self.size(&["limits", "log"], raw.log, 0..=16 * MIB),
            hostcall_bytes: self.size(&["limits", "hostcall"], raw.hostcall, KIB..=GIB),
            handles: raw.handles,
            instances: raw.instances,
        }
    }
}
