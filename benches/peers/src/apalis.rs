//! Draining with the crate `apalis-redis`.
//!
//! Tuned as far as its options go: large batches, no task locks, no events. Its
//! acknowledgements travel with the results, so results stay on. The clock runs
//! from the start of the worker until it has acknowledged its last task and
//! stopped; the set of done tasks is checked afterwards. One worker is as fast as
//! several here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use apalis_core::backend::TaskSink;
use apalis_core::backend::ext::BackendExt;
use apalis_core::backend::ext::poll_strategy::{IntervalStrategy, PollWith};
use apalis_core::error::WorkerError;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_redis::{Config, RedisStorage};
use redis::AsyncCommands;
use redis::aio::ConnectionManager;

use crate::tally::Tally;
use crate::{Load, server};

type Backend = PollWith<RedisStorage<String>, IntervalStrategy>;

const QUEUE: &str = "peers";
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Fills the queue, drains it and returns how long the draining took.
pub(crate) async fn drain(url: &str, load: Load, batch: usize) -> Result<Duration> {
    let config =
        Config::default().queue(QUEUE).batch_size(batch).lock_tasks(false).emit_events(false);
    let mut connection = server::connect(url).await?;
    fill(&connection, &config, load).await?;
    promote(&mut connection, &config).await?;

    let tally = Arc::new(Tally::new(load.tasks));
    let backend = RedisStorage::<String>::new(server::connect(url).await?)
        .with_config(config.clone())
        .poll_with_interval(POLL_INTERVAL);
    let start = Instant::now();
    work(backend, tally.clone()).await.context("the worker failed")?;
    let elapsed = start.elapsed();

    check(&mut connection, &config, load, &tally).await?;
    Ok(elapsed)
}

/// Runs a worker until the last task was executed and is acknowledged.
async fn work(backend: Backend, tally: Arc<Tally>) -> Result<(), WorkerError> {
    let counted = tally.clone();
    let noop = move |_payload: String| {
        counted.count();
        std::future::ready(())
    };
    let worker = WorkerBuilder::new("worker").backend(backend).build(noop);
    let finished = async move {
        tally.finished().await;
        Ok::<(), WorkerError>(())
    };
    worker.run_until(finished).await
}

async fn fill(connection: &ConnectionManager, config: &Config, load: Load) -> Result<()> {
    let mut storage = RedisStorage::<String>::new(connection.clone()).with_config(config.clone());
    let payload = load.payload();
    for tasks in load.batches() {
        storage.push_bulk(vec![payload.clone(); tasks]).await.context("cannot push tasks")?;
    }
    Ok(())
}

/// Makes every scheduled task active. The crate schedules all tasks and promotes
/// all that are due in its next fetch, with one argument per task, which fails
/// beyond some 8,000 of them: so that is done here, in parts.
async fn promote(connection: &mut ConnectionManager, config: &Config) -> Result<()> {
    const TASKS_PER_PART: isize = 1_000;
    let (scheduled, active) = (config.scheduled_jobs_set(), config.active_jobs_list());
    loop {
        let ids: Vec<String> = connection.zrange(&scheduled, 0, TASKS_PER_PART - 1).await?;
        if ids.is_empty() {
            return Ok(());
        }
        redis::pipe()
            .atomic()
            .rpush(&active, &ids)
            .zrem(&scheduled, &ids)
            .exec_async(connection)
            .await?;
    }
}

async fn check(
    connection: &mut ConnectionManager,
    config: &Config,
    load: Load,
    tally: &Tally,
) -> Result<()> {
    let acknowledged: usize = connection.scard(config.done_jobs_set()).await?;
    let executed = tally.executed();
    ensure!(
        acknowledged == load.tasks && executed == load.tasks,
        "of {} tasks {executed} were executed and {acknowledged} acknowledged",
        load.tasks
    );
    Ok(())
}
