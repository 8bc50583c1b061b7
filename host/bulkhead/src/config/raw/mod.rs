//! The configuration as it is written: every section, every key, every default.
//!
//! This is the one list of keys. Values have the right type here and are not yet known
//! to make sense; `validation` turns them into [`super::Config`].

mod api;
mod layer;
mod load;
mod queue;
mod schedule;
mod secret;
mod telemetry;
mod tenant;

use std::collections::BTreeMap;

use bulkhead_core::Limits;
use bulkhead_queue::SubmitLimits;
use serde::{Deserialize, Serialize};

use super::quantity::{Size, Span};
use crate::options::HostOptions;
use crate::trust::TrustPolicy;

pub(in crate::config) use api::RawApi;
pub(in crate::config) use layer::RawLayer;
pub(in crate::config) use load::{RawAdmission, RawAutoscale};
pub(in crate::config) use queue::{RawBackoff, RawBounds, RawQueue, RawRetry, RawTenant};
pub(in crate::config) use schedule::{RawAskedLimits, RawSchedule};
pub(in crate::config) use secret::{RawSecret, RawSecretsKey};
pub(in crate::config) use telemetry::{RawAlert, RawLog, RawOtlp, RawTelemetry};
pub(in crate::config) use tenant::{RawTenantSection, RawTenantTrust};

/// Most bytes of compiled plugins that are kept.
const DEFAULT_CACHE_BYTES: u64 = 1 << 30;

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct Raw {
    pub(in crate::config) broker: String,
    pub(in crate::config) namespace: String,
    pub(in crate::config) host: RawHost,
    pub(in crate::config) plugins: RawPlugins,
    /// What each plugin is granted; read by the same types as a manifest's.
    pub(in crate::config) grants: BTreeMap<String, serde_json::Value>,
    /// Values by plugin and key.
    pub(in crate::config) config: RawValues,
    /// Where secrets are, by their names.
    pub(in crate::config) secrets: BTreeMap<String, RawSecret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) secrets_key: Option<RawSecretsKey>,
    pub(in crate::config) tenants: BTreeMap<String, RawTenantSection>,
    pub(in crate::config) limits: RawLimits,
    pub(in crate::config) queues: BTreeMap<String, RawQueue>,
    /// Layers that queues name.
    pub(in crate::config) layers: BTreeMap<String, RawLayer>,
    /// A section without an entry says that there are none; without the section nothing is
    /// said.
    pub(in crate::config) schedules: Option<BTreeMap<String, RawSchedule>>,
    pub(in crate::config) submit: RawSubmit,
    pub(in crate::config) log: RawLog,
    pub(in crate::config) api: RawApi,
    pub(in crate::config) telemetry: RawTelemetry,
    pub(in crate::config) alerts: BTreeMap<String, RawAlert>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawHost {
    pub(in crate::config) name: String,
    pub(in crate::config) queues: Vec<String>,
    pub(in crate::config) concurrency: u32,
    pub(in crate::config) guest_threads: usize,
    pub(in crate::config) lease: Span,
    pub(in crate::config) grace: Span,
    pub(in crate::config) settlement_buffer: usize,
    /// Nothing said: a share of what the machine has.
    pub(in crate::config) memory: Option<Size>,
    pub(in crate::config) scratch_dir: String,
    pub(in crate::config) isolation: String,
    pub(in crate::config) isolation_strict: bool,
    pub(in crate::config) workers: u32,
    pub(in crate::config) worker_idle: Span,
    pub(in crate::config) autoscale: RawAutoscale,
    pub(in crate::config) admission: RawAdmission,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawPlugins {
    pub(in crate::config) dir: String,
    /// Nothing said: tenants bring no plugins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) tenants_dir: Option<String>,
    pub(in crate::config) rescan_every: Span,
    pub(in crate::config) fleet: String,
    pub(in crate::config) max_bytes: Size,
    pub(in crate::config) compile_budget: Span,
    pub(in crate::config) compile_cpu: Span,
    pub(in crate::config) compile_memory: Size,
    /// Nothing said: in the user's folder for caches. An empty one: nowhere.
    pub(in crate::config) cache_dir: Option<String>,
    pub(in crate::config) cache_size: Size,
    pub(in crate::config) grants_from: String,
    pub(in crate::config) trust: RawTrust,
}

/// `[plugins.trust]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawTrust {
    pub(in crate::config) policy: String,
    /// A digest or several, by plugin.
    pub(in crate::config) pins: BTreeMap<String, serde_json::Value>,
    /// Public keys by the names of those who sign.
    pub(in crate::config) keys: BTreeMap<String, String>,
}

/// Values by plugin and key.
pub(in crate::config) type RawValues = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawLimits {
    pub(in crate::config) fuel: u64,
    pub(in crate::config) memory: Size,
    pub(in crate::config) wall: Span,
    pub(in crate::config) result: Size,
    pub(in crate::config) log: Size,
    pub(in crate::config) hostcall: Size,
    pub(in crate::config) handles: u32,
    pub(in crate::config) instances: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawSubmit {
    pub(in crate::config) payload_bytes: Size,
    pub(in crate::config) metadata_bytes: Size,
}

impl Raw {
    /// The configuration with one queue and one schedule named `*`, so that every key there
    /// is exists.
    pub(in crate::config) fn with_every_key() -> Self {
        let any = || "*".to_owned();
        let values = || BTreeMap::from([(any(), BTreeMap::from([(any(), String::new())]))]);
        let secrets = || BTreeMap::from([(any(), RawSecret::with_every_key())]);
        let tenant = RawTenantSection {
            config: values(),
            secrets: secrets(),
            ..RawTenantSection::with_every_key()
        };
        Self {
            // Stands for any value whatever.
            grants: BTreeMap::from([(any(), serde_json::Value::Null)]),
            config: values(),
            host: RawHost { memory: Some(Size(0)), ..RawHost::default() },
            plugins: RawPlugins {
                tenants_dir: Some(String::new()),
                cache_dir: Some(String::new()),
                trust: RawTrust {
                    pins: BTreeMap::from([(any(), serde_json::Value::Null)]),
                    keys: BTreeMap::from([(any(), String::new())]),
                    ..RawTrust::default()
                },
                ..RawPlugins::default()
            },
            secrets: secrets(),
            secrets_key: Some(RawSecretsKey::with_every_key()),
            tenants: BTreeMap::from([(any(), tenant)]),
            queues: BTreeMap::from([(any(), RawQueue::with_every_key())]),
            layers: BTreeMap::from([(any(), RawLayer::with_every_key())]),
            schedules: Some(BTreeMap::from([(any(), RawSchedule::with_every_key())])),
            api: RawApi::with_every_key(),
            telemetry: RawTelemetry::with_every_key(),
            alerts: BTreeMap::from([(any(), RawAlert::with_every_key())]),
            ..Self::default()
        }
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            broker: "redis://127.0.0.1:6379".into(),
            namespace: "bulkhead".into(),
            host: RawHost::default(),
            plugins: RawPlugins::default(),
            grants: BTreeMap::new(),
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            secrets_key: None,
            tenants: BTreeMap::new(),
            limits: RawLimits::default(),
            queues: BTreeMap::new(),
            layers: BTreeMap::new(),
            schedules: None,
            submit: RawSubmit::default(),
            log: RawLog::default(),
            api: RawApi::default(),
            telemetry: RawTelemetry::default(),
            alerts: BTreeMap::new(),
        }
    }
}

impl Default for RawHost {
    fn default() -> Self {
        let options = HostOptions::default();
        Self {
            name: default_host_name(),
            queues: Vec::new(),
            concurrency: options.concurrency,
            guest_threads: options.guest_threads,
            lease: Span(options.lease),
            grace: Span(options.grace),
            settlement_buffer: options.settlement_buffer,
            memory: None,
            scratch_dir: options.scratch_dir.display().to_string(),
            isolation: "thread".into(),
            isolation_strict: options.isolation.strict,
            workers: options.isolation.workers,
            worker_idle: Span(options.isolation.worker_idle),
            autoscale: RawAutoscale::default(),
            admission: RawAdmission::default(),
        }
    }
}

/// The machine's name and the process id: in a container the one tells hosts apart, on
/// one machine the other.
fn default_host_name() -> String {
    let system = rustix::system::uname();
    let machine: String = system
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        .take(64)
        .collect();
    let machine = machine.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let machine = if machine.is_empty() { "host" } else { machine };
    format!("{machine}-{}", std::process::id())
}

impl Default for RawPlugins {
    fn default() -> Self {
        let options = HostOptions::default();
        Self {
            dir: options.plugin_dir.display().to_string(),
            tenants_dir: None,
            rescan_every: Span(options.rescan_every),
            fleet: options.fleet.as_str().to_owned(),
            max_bytes: Size(options.max_plugin_bytes),
            compile_budget: Span(options.compile_budget),
            compile_cpu: Span(options.compile_cpu),
            compile_memory: Size(options.compile_memory_bytes),
            cache_dir: None,
            cache_size: Size(DEFAULT_CACHE_BYTES),
            grants_from: "manifest".into(),
            trust: RawTrust::default(),
        }
    }
}

impl Default for RawTrust {
    fn default() -> Self {
        let policy = TrustPolicy::default().as_str().to_owned();
        Self { policy, pins: BTreeMap::new(), keys: BTreeMap::new() }
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            fuel: limits.fuel,
            memory: Size(limits.memory_bytes),
            wall: Span::from_ms(limits.wall_ms),
            result: Size(limits.result_bytes),
            log: Size(limits.log_bytes),
            hostcall: Size(limits.hostcall_bytes),
            handles: limits.handles,
            instances: limits.instances,
        }
    }
}

impl Default for RawSubmit {
    fn default() -> Self {
        let limits = SubmitLimits::default();
        Self {
            payload_bytes: Size(limits.payload_bytes as u64),
            metadata_bytes: Size(limits.metadata_bytes as u64),
        }
    }
}
