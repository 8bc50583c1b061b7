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

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
