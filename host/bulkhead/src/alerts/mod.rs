//! What a host warns of: it looks at its own queues' figures again and again, and tells of what
//! changed in the log, in a metric, in [`Alerts::status`] and to webhooks.
//!
//! When an alert fires is decided in `bulkhead-core`, by values alone. Each host warns for
//! itself: of depths and ages over all hosts, of rates and times as it has settled itself.

mod watch;
mod webhook;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{AlertRule, AlertSignal, AlertState, Bound, QueueName, UnixMs};
use parking_lot::Mutex;
use serde::Serialize;

use crate::web::WebAddress;
pub(crate) use watch::watch;

/// An alert.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertOptions {
    /// Its name.
    pub name: String,
    /// The queue; none for each queue that the host serves.
    pub queue: Option<QueueName>,
    /// When it fires.
    pub rule: AlertRule,
    /// Over how long shares and percentiles are taken.
    pub window: Duration,
    /// Who is told, besides the log.
    pub webhook: Option<WebAddress>,
}

/// How one alert stands for one queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertStatus {
    /// The alert's name.
    pub alert: String,
    /// The queue.
    pub queue: QueueName,
    /// What is watched.
    pub signal: AlertSignal,
    /// What is too much or too little of it.
    pub bound: Bound,
    /// What it has to come back to.
    pub clear: f64,
    /// Its last value: tasks, seconds or a share; none if there was nothing to judge.
    pub value: Option<f64>,
    /// How it stands.
    #[serde(flatten)]
    pub state: AlertState,
    /// When it was looked at last.
    pub looked_at: UnixMs,
}

/// The alerts of one host. Clones are the same alerts.
#[derive(Clone, Default)]
pub struct Alerts(Arc<Mutex<Vec<AlertStatus>>>);

impl Alerts {
    /// How each alert stands for each queue, in the order of the configuration; nothing before
    /// the host serves.
    #[must_use]
    pub fn status(&self) -> Vec<AlertStatus> {
        self.0.lock().clone()
    }

    fn tell(&self, status: Vec<AlertStatus>) {
        *self.0.lock() = status;
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alerts").finish()
    }
}
