//! `hosts_*`: one to eight hosts on one server.
//!
//! No-op tasks show what the machine can do: its cores are filled by one host already, so
//! that more of them show what their being many costs. Tasks that wait show what a host more
//! brings while there is CPU time left, and the idle hosts what they ask of the server.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::drain::{self, Drain};
use crate::report::Report;
use crate::stage::Stage;

/// Hosts at once.
const HOSTS: [usize; 4] = [1, 2, 4, 8];
/// Attempts at once of each host.
const CONCURRENCY: u32 = 64;
/// What a task waits; a host runs at most `CONCURRENCY / WAIT` tasks a second.
const WAIT_MS: u32 = 50;
/// How long each measurement of waiting tasks takes at least.
const WAITING_SECONDS: usize = 5;
/// How long idle hosts are looked at.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) async fn run(host: &Path, tasks: usize, report: &mut Report) -> Result<()> {
    for hosts in HOSTS {
        let noop = Drain { hosts, ..Drain::noop(host, tasks, CONCURRENCY) };
        let drained = drain::run(noop).await?;
        report.add(&format!("hosts_{hosts}_noop"), drained.per_second, "tasks/s");
        let cpu = drained.host_cpu_seconds_per_10k;
        report.add(&format!("hosts_{hosts}_noop_host_cpu"), cpu, "s/10k tasks");
        let cpu = drained.redis_cpu_seconds_per_10k;
        report.add(&format!("hosts_{hosts}_noop_redis_cpu"), cpu, "s/10k tasks");
    }
    for hosts in HOSTS {
        let bound = (CONCURRENCY * 1_000 / WAIT_MS) as usize * hosts;
        let tasks = bound * WAITING_SECONDS;
        let waiting =
            Drain { hosts, waits_ms: Some(WAIT_MS), ..Drain::noop(host, tasks, CONCURRENCY) };
        let drained = drain::run(waiting).await?;
        report.add(&format!("hosts_{hosts}_wait"), drained.per_second, "tasks/s");
        let share = drained.per_second / bound as f64;
        report.add(&format!("hosts_{hosts}_wait_share"), share, "of what its slots allow");
        let cpu = drained.redis_cpu_seconds_per_10k;
        report.add(&format!("hosts_{hosts}_wait_redis_cpu"), cpu, "s/10k tasks");
    }
    report.add("hosts_8_idle_redis", idle(host, 8).await?, "% of a CPU");
    Ok(())
}

/// What `hosts` without work ask of the server, in percent of a CPU.
async fn idle(host: &Path, hosts: usize) -> Result<f64> {
    let mut stage = Stage::with_plugins()?;
    let client = stage.client().await;
    for _ in 0..hosts {
        stage.start_host(host, &client, CONCURRENCY, "thread").await?;
    }
    let before = stage.server_cpu()?;
    tokio::time::sleep(IDLE).await;
    Ok((stage.server_cpu()? - before) / IDLE.as_secs_f64() * 100.0)
}
