//! The token by which somebody outside stops a running attempt.
//!
//! Asking is one atomic load, because the guest's own calls and every epoch tick ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Stops the attempts that hold a clone of it. Cancelling cannot be undone.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Token>);

#[derive(Default)]
struct Token {
    cancelled: AtomicBool,
    waiters: Notify,
}

impl Cancel {
    /// A token that nobody has cancelled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stop every attempt that holds this token.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        self.0.waiters.notify_waiters();
    }

    /// Whether [`Cancel::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Wait until [`Cancel::cancel`] is called.
    pub async fn cancelled(&self) {
        let waiter = self.0.waiters.notified();
        let mut waiter = std::pin::pin!(waiter);
        // Registered before the flag is read, so that no call falls between the two.
        waiter.as_mut().enable();
        if !self.is_cancelled() {
            waiter.await;
        }
    }
}

/// What stops a compartment: its one task's token, or those of all its tasks together.
#[derive(Clone)]
pub(crate) enum Cancels {
    One(Cancel),
    All(Arc<[Cancel]>),
}

impl Cancels {
    pub(crate) fn is_cancelled(&self) -> bool {
        match self {
            Self::One(cancel) => cancel.is_cancelled(),
            Self::All(cancels) => cancels.iter().all(Cancel::is_cancelled),
        }
    }

    /// Wait until the one is cancelled, or all are.
    pub(crate) async fn cancelled(&self) {
        match self {
            Self::One(cancel) => cancel.cancelled().await,
            Self::All(cancels) => {
                for cancel in cancels.iter() {
                    cancel.cancelled().await;
                }
            }
        }
    }
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn several_stop_together_when_the_last_does() {
        let tokens = [Cancel::new(), Cancel::new()];
        let all = Cancels::All(Arc::from(tokens.clone()));
        tokens[1].cancel();
        assert!(!all.is_cancelled());
        tokens[0].cancel();
        all.cancelled().await;
        assert!(all.is_cancelled());
    }

    #[tokio::test]
    async fn waiters_wake_whether_they_came_before_or_after() {
        let cancel = Cancel::new();
        assert!(!cancel.is_cancelled());
        let early = tokio::spawn({
            let cancel = cancel.clone();
            async move { cancel.cancelled().await }
        });
        tokio::task::yield_now().await;
        cancel.cancel();
        early.await.unwrap();
        cancel.cancelled().await;
        assert!(cancel.is_cancelled());
    }
}
