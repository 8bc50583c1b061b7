//! Where a host is in its life, for those who ask its process.

use bulkhead_api::{Local, Phase};
use tokio::sync::watch;

/// Tells where a host is in its life. Give it to the host that is built, and keep what it tells.
#[derive(Debug)]
pub struct Phases(watch::Sender<Phase>);

/// Where a host is in its life. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HostPhase(watch::Receiver<Phase>);

impl Phases {
    /// Those of one host, and where they can be read.
    #[must_use]
    pub fn new() -> (Self, HostPhase) {
        let (sender, receiver) = watch::channel(Phase::Starting);
        (Self(sender), HostPhase(receiver))
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.0.send_replace(phase);
    }
}

impl Local for HostPhase {
    fn phase(&self) -> Phase {
        *self.0.borrow()
    }
}
