//! `pickup_p50` and `pickup_p99`: from the call to submit until the handler's first
//! statement, at 200 tasks a second. The handler answers with its own clock.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bulkhead_core::{Outcome, Payload, QueueName, TaskType};
use bulkhead_queue::NewTask;

use crate::stage::Stage;

const TASKS: usize = 1_000;
const WARM_UP: usize = 50;
const EVERY: Duration = Duration::from_millis(5);

pub(crate) struct Picked {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

pub(crate) async fn run(host: &Path) -> Result<Picked> {
    let mut stage = Stage::with_plugins()?;
    let client = stage.client().await;
    stage.start_host(host, &client, 64, "thread").await?;
    let clock = TaskType::new("clock")?;
    let mut submitted = Vec::with_capacity(TASKS);
    let mut ticks = tokio::time::interval(EVERY);
    for _ in 0..TASKS + WARM_UP {
        ticks.tick().await;
        let at = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let task = NewTask::new(clock.clone(), Payload::new(Payload::BINARY, vec![7; 200]));
        submitted.push((client.submit(task).await?.id, at));
    }
    stage.completed(&client, (TASKS + WARM_UP) as u64).await?;
    let mut waits_ms = Vec::with_capacity(TASKS);
    for (id, at) in submitted.split_off(WARM_UP) {
        let views = client.broker().inspect(&QueueName::default(), &[id]).await?;
        let view = views.into_iter().flatten().next().context("a kept task")?;
        let report = view.last_report().context("a report")?;
        let Outcome::Done(output) = &report.outcome else { anyhow::bail!("{:?}", report.outcome) };
        let began: u64 = std::str::from_utf8(&output.data)?.parse()?;
        waits_ms.push(Duration::from_nanos(began).saturating_sub(at).as_secs_f64() * 1_000.0);
    }
    waits_ms.sort_by(f64::total_cmp);
    let at = |share: f64| waits_ms[((waits_ms.len() - 1) as f64 * share) as usize];
    Ok(Picked { p50_ms: at(0.5), p99_ms: at(0.99) })
}
