//! `reload`: from the moment a new plugin file stands in the folder until the first
//! task has been completed by it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bulkhead_core::{Payload, QueueName, TaskType};
use bulkhead_queue::NewTask;
use bulkhead_tests::install_version;

use crate::stage::Stage;

const BOUND: Duration = Duration::from_secs(20);
/// The pause between probes: probing without one takes a core from the compiler.
const PROBE_EVERY: Duration = Duration::from_millis(5);

pub(crate) async fn run(host: &Path) -> Result<f64> {
    let mut stage = Stage::with_plugins()?;
    let client = stage.client().await;
    stage.start_host(host, &client, 64, "thread").await?;
    let queue = QueueName::default();
    let noop = TaskType::new("noop")?;
    let began = Instant::now();
    let digest = install_version(stage.plugins.path(), "unruly", 1);
    loop {
        let task = NewTask::new(noop.clone(), Payload::default());
        let id = client.submit(task).await?.id;
        let view = client.wait(&queue, id, BOUND).await?.context("an end")?;
        if view.last_report().context("a report")?.digest == digest {
            return Ok(began.elapsed().as_secs_f64() * 1_000.0);
        }
        ensure!(began.elapsed() < BOUND, "the new version does not serve");
        tokio::time::sleep(PROBE_EVERY).await;
    }
}
