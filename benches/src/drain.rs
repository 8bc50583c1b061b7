//! `drain_noop`, `submit_bulk` and `host_rss`: a prefilled queue of no-op tasks.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use bulkhead_core::{Payload, QueueName, TaskType};
use bulkhead_queue::NewTask;

use crate::stage::Stage;

const PAYLOAD_BYTES: usize = 200;

pub(crate) struct Drained {
    pub(crate) per_second: f64,
    pub(crate) submitted_per_second: f64,
    pub(crate) host_cpu_seconds_per_10k: f64,
    pub(crate) redis_cpu_seconds_per_10k: f64,
    pub(crate) host_peak_rss_mb: f64,
    /// Of the largest worker process, where there is one.
    pub(crate) worker_rss_mb: f64,
}

/// Fill a paused queue, let the host load its plugins, open the queue, and time it until
/// every result is stored.
pub(crate) async fn run(host: &Path, tasks: usize, concurrency: u32) -> Result<Drained> {
    run_in(host, tasks, concurrency, "thread").await
}

/// The same by a host whose guests run on threads or in worker processes.
pub(crate) async fn run_in(
    host: &Path,
    tasks: usize,
    concurrency: u32,
    isolation: &str,
) -> Result<Drained> {
    let mut stage = Stage::with_plugins()?;
    let client = stage.client().await;
    let queue = QueueName::default();
    client.broker().pause(&queue, None).await?;

    let noop = TaskType::new("noop")?;
    let task = || NewTask::new(noop.clone(), Payload::new(Payload::BINARY, vec![7; PAYLOAD_BYTES]));
    let all: Vec<NewTask> = (0..tasks).map(|_| task()).collect();
    let began = Instant::now();
    client.submit_many(all).await?;
    let submitted_per_second = tasks as f64 / began.elapsed().as_secs_f64();

    stage.start_host(host, &client, concurrency, isolation).await?;
    let (host_before, _) = stage.host_usage()?;
    let redis_before = stage.server_cpu()?;
    let began = Instant::now();
    client.broker().resume(&queue, None).await?;
    stage.completed(&client, tasks as u64).await?;
    let seconds = began.elapsed().as_secs_f64();
    let (host_after, host_peak_rss_mb) = stage.host_usage()?;
    let worker_rss_mb = stage.worker_rss_mb()?;
    let redis_after = stage.server_cpu()?;
    let per_10k = 10_000.0 / tasks as f64;
    Ok(Drained {
        per_second: tasks as f64 / seconds,
        submitted_per_second,
        host_cpu_seconds_per_10k: (host_after - host_before) * per_10k,
        redis_cpu_seconds_per_10k: (redis_after - redis_before) * per_10k,
        host_peak_rss_mb,
        worker_rss_mb,
    })
}
