//! What only a host's own process knows, for those who ask it by HTTP.

use bulkhead_api::{Local, Phase};
use tokio::sync::watch;

use crate::metrics::Metrics;

/// Tells where a host is in its life. Give it to the host that is built, and keep what it tells.
#[derive(Debug)]
pub struct Phases(watch::Sender<Phase>);

/// What a host tells of itself. Cheap to clone.
#[derive(Clone)]
pub struct HostFacts {
    phase: watch::Receiver<Phase>,
    metrics: Metrics,
}

impl Phases {
    /// Those of one host.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }

    /// What the host tells that these are given to, and that counts in these figures.
    #[must_use]
    pub fn facts(&self, metrics: Metrics) -> HostFacts {
        HostFacts { phase: self.0.subscribe(), metrics }
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
}
