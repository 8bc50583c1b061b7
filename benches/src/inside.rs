//! `drain_embedded_*` and `drain_cluster`: a host in this process, on brokers that the
//! stage of `drain_noop` does not have.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bulkhead::{Compiler, Host, HostOptions, QueueOptions, Shutdown};
use bulkhead_core::{Payload, QueueName, TaskType};
use bulkhead_queue::{Broker, Client, EmbeddedBroker, NewTask, SubmitLimits};
use bulkhead_stage::{Persistence, RedisCluster};
use bulkhead_tests::install;

const PAYLOAD_BYTES: usize = 200;
const PATIENCE: Duration = Duration::from_secs(120);

/// Tasks a second with everything in memory.
pub(crate) async fn in_memory(tasks: usize, concurrency: u32) -> Result<f64> {
    drain(Arc::new(EmbeddedBroker::in_memory()), 1, tasks, concurrency).await
}

/// Tasks a second with every edge on disk before it is answered.
pub(crate) async fn durable(tasks: usize, concurrency: u32) -> Result<f64> {
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))?;
    let broker = EmbeddedBroker::open(folder.path())?;
    drain(Arc::new(broker), 1, tasks, concurrency).await
}

/// Tasks a second of three queues in a Cluster of three primaries.
pub(crate) async fn cluster(tasks: usize, concurrency: u32) -> Result<f64> {
    let cluster = RedisCluster::start(3, 0, Persistence::None);
    drain(Arc::new(cluster.broker().await), 3, tasks, concurrency).await
}

/// Fill paused queues, let the host load its plugins, open the queues, and time it until
/// every result is stored.
async fn drain(
    broker: Arc<dyn Broker>,
    queues: usize,
    tasks: usize,
    concurrency: u32,
) -> Result<f64> {
    let plugins = tempfile::tempdir()?;
    install(plugins.path(), "unruly");
    let client = Client::new(broker.clone(), SubmitLimits::default());
    let queues: Vec<QueueName> =
        (0..queues).map(|at| QueueName::new(&format!("bench-{at}"))).collect::<Result<_, _>>()?;
    let noop = TaskType::new("noop")?;
    let task = |queue: &QueueName| NewTask {
        queue: queue.clone(),
        ..NewTask::new(noop.clone(), Payload::new(Payload::BINARY, vec![7; PAYLOAD_BYTES]))
    };
    let share = tasks / queues.len();
    for queue in &queues {
        broker.pause(queue, None).await?;
        client.submit_many((0..share).map(|_| task(queue)).collect()).await?;
    }

    let options = HostOptions {
        queues: queues.iter().cloned().map(QueueOptions::new).collect(),
        plugin_dir: plugins.path().into(),
        concurrency,
        compiler: Some(Compiler::InProcess),
        ..HostOptions::default()
    };
    let (trigger, shutdown) = Shutdown::new();
    let host = Host::builder(broker.clone(), options).build()?;
    let serving = tokio::spawn(host.run(shutdown));
    let deadline = Instant::now() + PATIENCE;
    while !broker.hosts().await?.iter().any(|h| h.plugins.iter().any(|p| p.serving.is_some())) {
        ensure!(Instant::now() < deadline, "the host does not serve");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    for queue in &queues {
        broker.resume(queue, None).await?;
    }
    for queue in &queues {
        loop {
            let stats = broker.stats(queue).await?;
            if stats.totals.get("completed").is_some_and(|done| *done >= share as u64) {
                break;
            }
            ensure!(Instant::now() < deadline, "not drained: {stats:?}");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    trigger.drain();
    serving.await.context("the host panicked")??;
    Ok((share * queues.len()) as f64 / seconds)
}
