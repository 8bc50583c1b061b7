//! Counting executed tasks, and telling when the last one was.
//!
//! Handlers call it on their hot path, so it costs one atomic addition.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// How many of the expected tasks were executed.
#[derive(Debug)]
pub(crate) struct Tally {
    expected: usize,
    executed: AtomicUsize,
    finished: watch::Sender<bool>,
}

impl Tally {
    /// Nothing executed yet of `expected` tasks.
    pub(crate) fn new(expected: usize) -> Self {
        Self { expected, executed: AtomicUsize::new(0), finished: watch::Sender::new(false) }
    }

    /// Counts one execution.
    pub(crate) fn count(&self) {
        if self.executed.fetch_add(1, Ordering::Relaxed) + 1 == self.expected {
            self.finished.send_replace(true);
        }
    }

    /// How many executions were counted.
    pub(crate) fn executed(&self) -> usize {
        self.executed.load(Ordering::Relaxed)
    }

    /// Waits for the last expected execution.
    pub(crate) async fn finished(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.finished.subscribe().wait_for(|finished| *finished).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_finishes_with_the_last_task_and_not_before() {
        let tally = Tally::new(2);
        tally.count();
        let early = tokio::time::timeout(std::time::Duration::ZERO, tally.finished());
        assert!(early.await.is_err());
        tally.count();
        tally.finished().await;
        assert_eq!(tally.executed(), 2);
    }
}
