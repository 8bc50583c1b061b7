//! The configuration as it is written: every section, every key, every default.
//!
//! This is the one list of keys. Values have the right type here and are not yet known
//! to make sense; `validation` turns them into [`super::Config`].

use std::collections::BTreeMap;

use bulkhead_core::{Backoff, Limits, QueueName, RetryPolicy};
use bulkhead_queue::SubmitLimits;
use serde::{Deserialize, Serialize};

use super::quantity::{Size, Span};
use crate::options::{HostOptions, QueueOptions};

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    pub(super) broker: String,
    pub(super) namespace: String,
    pub(super) host: RawHost,
    pub(super) plugins: RawPlugins,
    pub(super) limits: RawLimits,
    pub(super) queues: BTreeMap<String, RawQueue>,
    pub(super) submit: RawSubmit,
    pub(super) log: RawLog,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawHost {
    pub(super) name: String,
    pub(super) queues: Vec<String>,
    pub(super) concurrency: u32,
    pub(super) guest_threads: usize,
    pub(super) lease: Span,
    pub(super) grace: Span,
    pub(super) settlement_buffer: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawPlugins {
    pub(super) dir: String,
    pub(super) rescan_every: Span,
    pub(super) max_bytes: Size,
    pub(super) compile_budget: Span,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawLimits {
    pub(super) fuel: u64,
    pub(super) memory: Size,
    pub(super) wall: Span,
    pub(super) result: Size,
    pub(super) log: Size,
    pub(super) hostcall: Size,
    pub(super) handles: u32,
    pub(super) instances: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawQueue {
    pub(super) retention: Span,
    pub(super) dead_retention: Span,
    pub(super) concurrency: Option<u32>,
    pub(super) retry: RawRetry,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawRetry {
    pub(super) max_attempts: u32,
    pub(super) backoff: RawBackoff,
    pub(super) jitter: f64,
    pub(super) retry_on: Vec<String>,
}

/// Which keys belong together depends on `kind`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawBackoff {
    pub(super) kind: Option<String>,
    pub(super) delay: Option<Span>,
    pub(super) initial: Option<Span>,
    pub(super) step: Option<Span>,
    pub(super) multiplier: Option<f64>,
    pub(super) max: Option<Span>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawSubmit {
    pub(super) payload_bytes: Size,
    pub(super) metadata_bytes: Size,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RawLog {
    pub(super) level: String,
    pub(super) format: String,
}

impl Raw {
    /// The configuration with one queue named `*`, so that every key there is exists.
    pub(super) fn with_every_key() -> Self {
        Self { queues: BTreeMap::from([("*".to_owned(), RawQueue::default())]), ..Self::default() }
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            broker: "redis://127.0.0.1:6379".into(),
            namespace: "bulkhead".into(),
            host: RawHost::default(),
            plugins: RawPlugins::default(),
            limits: RawLimits::default(),
            queues: BTreeMap::new(),
            submit: RawSubmit::default(),
            log: RawLog::default(),
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
            rescan_every: Span(options.rescan_every),
            max_bytes: Size(options.max_plugin_bytes),
            compile_budget: Span(options.compile_budget),
        }
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

impl Default for RawQueue {
    fn default() -> Self {
        Self::from(&QueueOptions::new(QueueName::default()))
    }
}

impl From<&QueueOptions> for RawQueue {
    fn from(options: &QueueOptions) -> Self {
        Self {
            retention: Span::from_ms(options.retention_ms),
            dead_retention: Span::from_ms(options.dead_retention_ms),
            concurrency: options.policy.as_ref().and_then(|policy| policy.concurrency),
            retry: RawRetry {
                backoff: RawBackoff::from(options.retry.backoff.clone()),
                ..RawRetry::from(&options.retry)
            },
        }
    }
}

impl Default for RawRetry {
    fn default() -> Self {
        Self::from(&RetryPolicy::default())
    }
}

impl From<&RetryPolicy> for RawRetry {
    fn from(policy: &RetryPolicy) -> Self {
        Self {
            max_attempts: policy.max_attempts,
            backoff: RawBackoff::default(),
            jitter: policy.jitter,
            retry_on: policy.retry_on.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<Backoff> for RawBackoff {
    fn from(backoff: Backoff) -> Self {
        let kind = |name: &str| Some(name.to_owned());
        let span = |ms| Some(Span::from_ms(ms));
        match backoff {
            Backoff::Delays { .. } => Self { kind: kind("delays"), ..Self::default() },
            Backoff::Fixed { delay_ms } => {
                Self { kind: kind("fixed"), delay: span(delay_ms), ..Self::default() }
            }
            Backoff::Linear { initial_ms, step_ms, max_ms } => Self {
                kind: kind("linear"),
                initial: span(initial_ms),
                step: span(step_ms),
                max: span(max_ms),
                ..Self::default()
            },
            Backoff::Exponential { initial_ms, multiplier, max_ms } => Self {
                kind: kind("exponential"),
                initial: span(initial_ms),
                multiplier: Some(multiplier),
                max: span(max_ms),
                ..Self::default()
            },
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

impl Default for RawLog {
    fn default() -> Self {
        Self { level: "info".into(), format: "pretty".into() }
    }
}
