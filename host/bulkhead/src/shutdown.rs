//! Stopping a host. Signals belong to the caller; here stopping is a value.

use tokio::sync::watch;

/// How far stopping has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Draining,
    Forced,
}

/// The caller's end: says when to stop.
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<Phase>);

impl Trigger {
    /// Stop claiming and let attempts finish within the grace period.
    pub fn drain(&self) {
        self.0.send_if_modified(|phase| {
            let first = *phase == Phase::Running;
            *phase = (*phase).max(Phase::Draining);
            first
        });
    }

    /// Interrupt what still runs and give it back.
    pub fn force(&self) {
        self.0.send_replace(Phase::Forced);
    }
}

/// The host's end: learns when to stop. If the trigger is dropped, the host drains.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<Phase>);

impl Shutdown {
    /// A trigger and what it triggers.
    #[must_use]
    pub fn new() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (Trigger(sender), Self(receiver))
    }

    /// Whether stopping was asked for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow() >= Phase::Draining || self.0.has_changed().is_err()
    }

    /// Wait until stopping is asked for.
    pub async fn drained(&mut self) {
        // An error means that the trigger is gone, which also stops the host.
        let _ = self.0.wait_for(|phase| *phase >= Phase::Draining).await;
    }

    /// Wait until stopping at once is asked for; for ever if the trigger is gone.
    pub async fn forced(&mut self) {
        if self.0.wait_for(|phase| *phase == Phase::Forced).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
