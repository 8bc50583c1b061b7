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

/// What is drained, and by whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drain<'a> {
    /// The `bulkhead` binary.
    pub(crate) host: &'a Path,
    pub(crate) hosts: usize,
    pub(crate) tasks: usize,
    /// Attempts at once of each host.
    pub(crate) concurrency: u32,
    /// Whether guests run on threads or in worker processes.
    pub(crate) isolation: &'a str,
    /// What an attempt waits before it answers; nothing for a no-op.
    pub(crate) waits_ms: Option<u32>,
}

impl<'a> Drain<'a> {
    /// No-op tasks by one host with guests on threads.
    pub(crate) fn noop(host: &'a Path, tasks: usize, concurrency: u32) -> Self {
        Self { host, hosts: 1, tasks, concurrency, isolation: "thread", waits_ms: None }
    }

    fn task(&self) -> Result<NewTask> {
        let (name, payload) = match self.waits_ms {
            None => ("noop", Payload::new(Payload::BINARY, vec![7; PAYLOAD_BYTES])),
            Some(ms) => ("sleep", Payload::new(Payload::TEXT, ms.to_string().into_bytes())),
        };
        Ok(NewTask::new(TaskType::new(name)?, payload))
    }
}

/// Fill a paused queue, let the hosts load their plugins, open the queue, and time it until
/// every result is stored.
pub(crate) async fn run(drain: Drain<'_>) -> Result<Drained> {
    let mut stage = Stage::with_plugins()?;
    let client = stage.client().await;
    let queue = QueueName::default();
    client.broker().pause(&queue, None).await?;

    let task = drain.task()?;
    let all = vec![task; drain.tasks];
    let began = Instant::now();
    client.submit_many(all).await?;
    let submitted_per_second = drain.tasks as f64 / began.elapsed().as_secs_f64();

    for _ in 0..drain.hosts {
        stage.start_host(drain.host, &client, drain.concurrency, drain.isolation).await?;
    }
    let (host_before, _) = stage.host_usage()?;
    let redis_before = stage.server_cpu()?;
    let began = Instant::now();
    client.broker().resume(&queue, None).await?;
    stage.completed(&client, drain.tasks as u64).await?;
    let seconds = began.elapsed().as_secs_f64();
    let (host_after, host_peak_rss_mb) = stage.host_usage()?;
    let worker_rss_mb = stage.worker_rss_mb()?;
    let redis_after = stage.server_cpu()?;
    let per_10k = 10_000.0 / drain.tasks as f64;
    Ok(Drained {
        per_second: drain.tasks as f64 / seconds,
        submitted_per_second,
        host_cpu_seconds_per_10k: (host_after - host_before) * per_10k,
        redis_cpu_seconds_per_10k: (redis_after - redis_before) * per_10k,
        host_peak_rss_mb,
        worker_rss_mb,
    })
}
