//! What a host's own process knows and no broker does, as the API shows it.
//!
//! [`Local`] is implemented where the host is; here are the questions and the documents of their
//! answers. What is here is of one host: the one that is asked.

use std::time::Duration;

use bulkhead_core::{UnixMs, quantile};
use serde::Serialize;
use utoipa::ToSchema;

/// What a host's own process knows and no broker does.
pub trait Local: Send + Sync {
    /// What it is.
    fn about(&self) -> About;

    /// Where it is in its life.
    fn phase(&self) -> Phase;

    /// What it counts, as OpenMetrics text.
    fn metrics(&self) -> String;

    /// How its alerts stand.
    fn alerts(&self) -> Vec<Alert>;

    /// What it logs: a level, or directives.
    fn log_level(&self) -> String;

    /// Let it log by others from now on; whether they are others, or why they make no sense.
    fn set_log_level(&self, directives: &str) -> Result<bool, String>;

    /// How fast and how well tasks went lately, as far as so long ago.
    fn recent(&self, over: Duration) -> Recent;

    /// The task types that it serves, and under which limits.
    fn types(&self) -> Vec<LocalType>;

    /// The settings in effect, without secrets.
    fn settings(&self) -> Vec<SettingDocument>;

    /// Warnings and errors that it logged lately, the oldest first.
    fn complaints(&self) -> Vec<Complaint>;
}

/// A host.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct About {
    /// Its name.
    pub host: String,
    /// The version of Bulkhead.
    pub version: String,
    /// The engine that runs its guests.
    pub engine: String,
    /// Its process.
    pub pid: u32,
    /// When that began, in Unix milliseconds.
    pub started_at: UnixMs,
}

/// Where a host is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It loads its plugins.
    Starting,
    /// It takes tasks.
    Serving,
    /// It takes no more tasks; those that run may end.
    Draining,
}

/// How one alert stands for one queue.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Alert {
    /// Its name.
    pub alert: String,
    /// The queue.
    pub queue: String,
    /// What is watched, as `depth` or `oldest_age`.
    pub signal: String,
    /// Too much is more than this; nothing if too little is what is bad.
    pub above: Option<f64>,
    /// Too little is less than this.
    pub below: Option<f64>,
    /// What it has to come back to.
    pub clear: f64,
    /// Its last value: tasks, seconds or a share; nothing if there was nothing to judge.
    pub value: Option<f64>,
    /// `quiet`, `pending` or `firing`.
    pub state: String,
    /// Since when it is pending or fires, in Unix milliseconds.
    pub since: Option<u64>,
    /// When it was looked at last, in Unix milliseconds.
    pub looked_at: u64,
}

/// How times were spread: what 50, 95 and 99 of 100 kept to, in milliseconds. They are estimated
/// from the buckets of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Percentiles {
    /// Half of them.
    pub p50_ms: f64,
    /// 95 of 100.
    pub p95_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
}

impl Percentiles {
    /// Of what was counted in buckets of these upper bounds and one beyond, `per_ms` of whose unit
    /// make a millisecond; nothing if nothing was counted.
    #[must_use]
    pub fn of(bounds: &[u64], counts: &[u64], per_ms: f64) -> Option<Self> {
        let at = |share| quantile(bounds, counts, share).map(|value| value / per_ms);
        Some(Self { p50_ms: at(0.5)?, p95_ms: at(0.95)?, p99_ms: at(0.99)? })
    }
}

/// How fast and how well tasks went lately on one host.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Recent {
    /// How long this looks back, in milliseconds.
    pub over_ms: u64,
    /// By queue.
    pub queues: Vec<RecentQueue>,
}

/// The same of one queue.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct RecentQueue {
    /// Its name.
    pub queue: String,
    /// Attempts that came to what their handlers meant.
    pub done: u64,
    /// Attempts that failed; who was cancelled has not.
    pub failed: u64,
    /// The share that did not fail; nothing if none ended.
    pub success_rate: Option<f64>,
    /// From when a task could begin to when its first attempt did.
    pub wait: Option<Percentiles>,
    /// From when a task could begin to its completion, retries included.
    pub latency: Option<Percentiles>,
    /// How long attempts ran.
    pub run: Option<Percentiles>,
    /// By task type.
    pub types: Vec<RecentType>,
}

/// The same of one type in one queue.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct RecentType {
    /// The task type; `other` for all beyond the first 100.
    #[serde(rename = "type")]
    pub task_type: String,
    /// Attempts that came to what their handlers meant.
    pub done: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// The share that did not fail; nothing if none ended.
    pub success_rate: Option<f64>,
    /// How long attempts ran.
    pub run: Option<Percentiles>,
}

/// A task type that a host serves.
#[derive(Debug, Clone)]
pub struct LocalType {
    /// The task type.
    pub task_type: String,
    /// The plugin, as `NAME` or `OWNER/NAME`.
    pub plugin: String,
    /// What it does, in the handler's words.
    pub description: String,
    /// The limits that hold for a task that asks for none.
    pub limits: TypeLimits,
    /// How many tasks one call takes.
    pub max_batch: u32,
}

/// The limits of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct TypeLimits {
    /// Instructions, in fuel.
    pub fuel: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Wall time, in milliseconds.
    pub wall_ms: u64,
    /// Bytes of a result.
    pub result_bytes: u64,
    /// Bytes of log lines.
    pub log_bytes: u64,
}

/// A setting in effect.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Setting)]
pub struct SettingDocument {
    /// Its key, dots between the parts.
    pub key: String,
    /// Its value; `…` for what may be a secret.
    #[schema(value_type = Value)]
    pub value: serde_json::Value,
    /// Where it came from.
    pub from: String,
}

/// A warning or an error that was logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Complaint {
    /// When, in Unix milliseconds.
    pub at: UnixMs,
    /// `warn` or `error`.
    pub level: String,
    /// The module.
    pub target: String,
    /// What was said, with its fields.
    pub message: String,
}
