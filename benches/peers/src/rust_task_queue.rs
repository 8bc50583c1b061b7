//! Draining with the crate `rust-task-queue`.
//!
//! It pops each task with a command of its own and acknowledges nothing. The
//! clock runs from the start of the workers to the last execution; what the crate
//! itself counted as processed is checked afterwards.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use async_trait::async_trait;
use redis::AsyncCommands;
use rust_task_queue::queue_names::DEFAULT;
use rust_task_queue::{RedisBroker, Task, TaskRegistry, TaskResult, TaskScheduler, Worker};
use serde::{Deserialize, Serialize};

use crate::tally::Tally;
use crate::{Load, server};

/// The crate builds a task from its bytes alone, so the tally cannot travel with it.
static TALLY: OnceLock<Tally> = OnceLock::new();

const TASK_TYPE: &str = "noop";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Noop {
    payload: String,
}

#[async_trait]
impl Task for Noop {
    async fn execute(&self) -> TaskResult {
        if let Some(tally) = TALLY.get() {
            tally.count();
        }
        Ok(Vec::new())
    }

    fn name(&self) -> &str {
        TASK_TYPE
    }
}

/// Fills the queue, drains it and returns how long the draining took.
pub(crate) async fn drain(
    url: &str,
    load: Load,
    workers: usize,
    concurrency: usize,
) -> Result<Duration> {
    let tally = TALLY.get_or_init(|| Tally::new(load.tasks));
    // No worker's blocking pop ever waits for a connection; more are no faster.
    let connections = workers * 4;
    let broker = RedisBroker::new_with_config(url, Some(connections)).await?;
    let broker = Arc::new(broker);
    fill(&broker, load).await?;

    let registry = TaskRegistry::new();
    registry.register_with_name::<Noop>(TASK_TYPE).map_err(|error| anyhow!(error))?;
    let registry = Arc::new(registry);
    let scheduler = Arc::new(TaskScheduler::new(broker.clone()));

    let start = Instant::now();
    let mut started = Vec::with_capacity(workers);
    for number in 0..workers {
        let worker = Worker::new(format!("worker-{number}"), broker.clone(), scheduler.clone())
            .with_task_registry(registry.clone())
            .with_max_concurrent_tasks(concurrency);
        started.push(worker.start().await?);
    }
    tally.finished().await;
    let elapsed = start.elapsed();

    for worker in started {
        worker.stop().await;
    }
    check(url, load, tally).await?;
    Ok(elapsed)
}

async fn fill(broker: &RedisBroker, load: Load) -> Result<()> {
    let task = Noop { payload: load.payload() };
    for tasks in load.batches() {
        let batch = vec![(task.clone(), DEFAULT); tasks];
        broker.enqueue_tasks_batch(batch).await?;
    }
    Ok(())
}

async fn check(url: &str, load: Load, tally: &Tally) -> Result<()> {
    let mut connection = server::connect(url).await?;
    let processed: usize = connection
        .get(format!("queue:{DEFAULT}:processed"))
        .await
        .context("cannot read how many tasks were processed")?;
    let executed = tally.executed();
    ensure!(
        processed == load.tasks && executed == load.tasks,
        "of {} tasks {executed} were executed and {processed} marked as processed",
        load.tasks
    );
    Ok(())
}
