//! Load that goes on while plugins change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bulkhead_core::TaskId;
use bulkhead_queue::Client;
use tokio::task::JoinHandle;

use crate::task;

/// A producer that submits tasks for the guest `unruly` until it is told to end. Of each task it
/// notes how many changes had been reported when it was submitted.
pub struct Load {
    reported: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    producer: JoinHandle<Vec<(TaskId, usize)>>,
}

impl Load {
    /// Begin: three short tasks each time that so long has passed.
    ///
    /// # Panics
    /// In its task, if the broker refuses one.
    #[must_use]
    pub fn begin(client: &Client, every: Duration) -> Self {
        let (reported, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let producer = tokio::spawn({
            let (client, reported, is_over) = (client.clone(), reported.clone(), is_over.clone());
            async move {
                let mut submitted = Vec::new();
                while !is_over.load(Ordering::Acquire) {
                    let after = reported.load(Ordering::Acquire);
                    let batch = vec![task("noop", ""), task("burn", "20000"), task("echo", "x")];
                    let tasks = client.submit_many(batch).await.expect("submitted");
                    submitted.extend(tasks.into_iter().map(|one| (one.id, after)));
                    tokio::time::sleep(every).await;
                }
                submitted
            }
        });
        Self { reported, is_over, producer }
    }

    /// So many changes have been reported by now.
    pub fn report(&self, changes: usize) {
        self.reported.store(changes, Ordering::Release);
    }

    /// Submit no more; the tasks, each with the changes that had been reported before it.
    ///
    /// # Panics
    /// If the broker refused a task.
    pub async fn end(self) -> Vec<(TaskId, usize)> {
        self.is_over.store(true, Ordering::Release);
        self.producer.await.expect("the producer")
    }
}
