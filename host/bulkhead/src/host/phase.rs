//! What only a host's own process knows, for those who ask it by HTTP.

use bulkhead_api::{Alert, Local, Phase};
use bulkhead_core::{AlertState, Bound};
use tokio::sync::watch;

use crate::alerts::{AlertStatus, Alerts};
use crate::log_control::LogControl;
use crate::metrics::Metrics;

/// Tells where a host is in its life. Give it to the host that is built, and keep what it tells.
#[derive(Debug)]
pub struct Phases(watch::Sender<Phase>);

/// What a host tells of itself. Cheap to clone.
#[derive(Clone)]
pub struct HostFacts {
    phase: watch::Receiver<Phase>,
    metrics: Metrics,
    alerts: Alerts,
    log: LogControl,
}

impl Phases {
    /// Those of one host.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }

    /// What the host tells that these are given to, that counts in these figures, warns by these
    /// alerts and logs by this control.
    #[must_use]
    pub fn facts(&self, metrics: Metrics, alerts: Alerts, log: LogControl) -> HostFacts {
        HostFacts { phase: self.0.subscribe(), metrics, alerts, log }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.0.send_replace(phase);
    }
}

impl Default for Phases {
    fn default() -> Self {
        Self::new()
    }
}

impl Local for HostFacts {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn alerts(&self) -> Vec<Alert> {
        self.alerts.status().into_iter().map(alert).collect()
    }

    fn log_level(&self) -> String {
        self.log.get()
    }

    fn set_log_level(&self, directives: &str) -> Result<bool, String> {
        self.log.set(directives)
    }
}

fn alert(status: AlertStatus) -> Alert {
    let (above, below) = match status.bound {
        Bound::Above(bound) => (Some(bound), None),
        Bound::Below(bound) => (None, Some(bound)),
    };
    let (state, since) = match status.state {
        AlertState::Quiet => ("quiet", None),
        AlertState::Pending { since } => ("pending", Some(since)),
        AlertState::Firing { since } => ("firing", Some(since)),
    };
    Alert {
        alert: status.alert,
        queue: status.queue.to_string(),
        signal: status.signal.as_str().to_owned(),
        above,
        below,
        clear: status.clear,
        value: status.value,
        state: state.to_owned(),
        since,
        looked_at: status.looked_at,
    }
}
