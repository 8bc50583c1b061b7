//! The load benchmarks: real binary, real Redis, real components.
//!
//! Each figure is the median of several runs. Where `--peers` names the peers' binary,
//! it runs in the same rounds on the same server, and ratios are taken within a round,
//! because absolute figures on a shared machine say little. `docs/performance.md`
//! explains the names.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program talks on the terminal"
)]

mod depth;
mod drain;
mod hosts;
mod inside;
mod peers;
mod pickup;
mod reload;
mod report;
mod stage;
mod start;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use drain::Drain;
use report::Report;
use stage::Stage;

/// The allocator of the real binary: `inside` runs the host in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure Bulkhead under load.
#[derive(Debug, Parser)]
struct Arguments {
    /// The `bulkhead` binary, built in release.
    #[arg(long)]
    host: PathBuf,
    /// The peers' binary, to measure them in the same rounds.
    #[arg(long)]
    peers: Option<PathBuf>,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Tasks of one drain.
    #[arg(long, default_value_t = 100_000)]
    tasks: usize,
    /// Attempts at once while draining.
    #[arg(long, default_value_t = 128)]
    concurrency: u32,
    /// Run only benches whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<()> {
    let mut report = Report::default();
    let wanted =
        |name: &str| arguments.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let noop = |tasks, concurrency| Drain::noop(&arguments.host, tasks, concurrency);
    for round in 0..arguments.runs.max(1) {
        eprintln!("round {} of {}", round + 1, arguments.runs.max(1));
        if wanted("drain_noop") {
            let drained = drain::run(noop(arguments.tasks, arguments.concurrency)).await?;
            report.add("drain_noop", drained.per_second, "tasks/s");
            report.add("submit_bulk", drained.submitted_per_second, "tasks/s");
            report.add("host_cpu", drained.host_cpu_seconds_per_10k, "s/10k tasks");
            report.add("redis_cpu", drained.redis_cpu_seconds_per_10k, "s/10k tasks");
            if let Some(peers) = &arguments.peers {
                let stage = Stage::bare()?;
                let native = peers::drain(peers, "rust-task-queue", &stage, arguments.tasks)?;
                report.add("drain_rust_task_queue", native, "tasks/s");
                report.add("ratio_rust_task_queue", drained.per_second / native, "ratio");
                let native = peers::drain(peers, "apalis", &stage, arguments.tasks)?;
                report.add("drain_apalis", native, "tasks/s");
                report.add("ratio_apalis", drained.per_second / native, "ratio");
            }
        }
        if wanted("drain_embedded") {
            let (tasks, concurrency) = (arguments.tasks, arguments.concurrency);
            let memory = inside::in_memory(tasks, concurrency).await?;
            report.add("drain_embedded_memory", memory, "tasks/s");
            let durable = inside::durable(tasks, concurrency).await?;
            report.add("drain_embedded_durable", durable, "tasks/s");
        }
        if wanted("drain_cluster") {
            let cluster = inside::cluster(arguments.tasks, arguments.concurrency).await?;
            report.add("drain_cluster", cluster, "tasks/s");
        }
        if wanted("depth") {
            let depth = depth::run().await?;
            report.add("depth_claim_share", depth.claim_share, "ratio");
            report.add("depth_bytes_per_pending", depth.bytes_per_pending, "bytes");
            report.add("depth_longest_deep", depth.longest_deep_ms, "ms");
            report.add("depth_longest_due", depth.longest_due_ms, "ms");
            report.add("depth_longest_in_flight", depth.longest_in_flight_ms, "ms");
        }
        if wanted("host_rss") {
            let drained = drain::run(noop(arguments.tasks, 64)).await?;
            report.add("host_rss", drained.host_peak_rss_mb, "MB");
            report.add("drain_noop_64", drained.per_second, "tasks/s");
        }
        if wanted("isolation") {
            let threads = noop(arguments.tasks, arguments.concurrency);
            let processes = drain::run(Drain { isolation: "process", ..threads }).await?;
            let threads = drain::run(threads).await?;
            let ratio = processes.per_second / threads.per_second;
            report.add("isolation_drain_noop", processes.per_second, "tasks/s");
            report.add("isolation_drain_ratio", ratio, "ratio");
            report.add("isolation_worker_rss", processes.worker_rss_mb, "MB");
            // One at a time, so that what an attempt takes longer is not hidden behind others.
            let threads = noop((arguments.tasks / 20).max(1), 1);
            let processes = drain::run(Drain { isolation: "process", ..threads }).await?;
            let threads = drain::run(threads).await?;
            let added = 1e6 / processes.per_second - 1e6 / threads.per_second;
            report.add("isolation_added", added, "µs");
        }
        if wanted("hosts") {
            hosts::run(&arguments.host, arguments.tasks, &mut report).await?;
        }
        if wanted("pickup") {
            let picked = pickup::run(&arguments.host).await?;
            report.add("pickup_p50", picked.p50_ms, "ms");
            report.add("pickup_p99", picked.p99_ms, "ms");
        }
        if wanted("reload") {
            report.add("reload", reload::run(&arguments.host).await?, "ms");
        }
        if wanted("start_cached") {
            let started = start::run(&arguments.host).await?;
            report.add("start_compiling", started.compiling_ms, "ms");
            report.add("start_cached", started.cached_ms, "ms");
        }
    }
    report.print(arguments.json);
    Ok(())
}
