//! The load benchmark of other task queues: how fast each drains a prefilled
//! queue of no-op tasks on a given Redis.
//!
//! The load (number of tasks, payload) enters as arguments, so that the host's own
//! benchmark can be run on the same server with the same load. Each run starts from
//! an empty server, ends within a bound, checks that the work was really done and
//! prints one JSON object. Nothing here knows Bulkhead.

mod apalis;
mod rust_task_queue;
mod server;
mod tally;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use serde::Serialize;

/// Drains a queue of no-op tasks with another task queue.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    peer: Peer,
    /// The Redis server to use. EVERYTHING on it is deleted first.
    #[arg(long, global = true, required = false, value_name = "URL")]
    redis: Option<String>,
    /// How many tasks to drain.
    #[arg(long, global = true, default_value_t = 100_000)]
    tasks: usize,
    /// Bytes of payload in each task.
    #[arg(long, global = true, default_value_t = 200)]
    payload: usize,
    /// Give up after this many seconds, filling the queue included.
    #[arg(long, global = true, default_value_t = 120, value_name = "SECONDS")]
    within: u64,
}

#[derive(Debug, Subcommand)]
enum Peer {
    /// rust-task-queue 0.1.5: one blocking pop per task, no acknowledgement.
    RustTaskQueue {
        /// Workers in this process.
        #[arg(long, default_value_t = 16)]
        workers: usize,
        /// Tasks that each worker runs at a time.
        #[arg(long, default_value_t = 10)]
        concurrency: usize,
    },
    /// apalis-redis 1.0: fetch and acknowledgement in batches.
    Apalis {
        /// Tasks per fetch and per acknowledgement.
        #[arg(long, default_value_t = 1_000)]
        batch: usize,
    },
}

/// What every peer has to drain.
#[derive(Debug, Clone, Copy)]
struct Load {
    tasks: usize,
    payload_bytes: usize,
}

impl Load {
    /// The payload of one task: text, which no peer's encoding blows up.
    fn payload(self) -> String {
        "x".repeat(self.payload_bytes)
    }

    /// Sizes of the batches in which the queue is filled.
    fn batches(self) -> impl Iterator<Item = usize> {
        const TASKS_PER_BATCH: usize = 1_000;
        (0..self.tasks)
            .step_by(TASKS_PER_BATCH)
            .map(move |sent| TASKS_PER_BATCH.min(self.tasks - sent))
    }

    fn per_second(self, elapsed: Duration) -> f64 {
        self.tasks as f64 / elapsed.as_secs_f64()
    }
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Measurement {
    bench: &'static str,
    value: f64,
    unit: &'static str,
}

// Two threads: the machine that is compared on has two cores.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let url = arguments.redis.context("`--redis URL` is missing: name a server to be erased")?;
    ensure!(arguments.tasks > 0, "`--tasks` must be at least 1");
    let load = Load { tasks: arguments.tasks, payload_bytes: arguments.payload };

    let drain = async {
        server::erase(&url).await?;
        match arguments.peer {
            Peer::RustTaskQueue { workers, concurrency } => {
                let elapsed = rust_task_queue::drain(&url, load, workers, concurrency).await?;
                Ok(("drain_rust_task_queue", elapsed))
            }
            Peer::Apalis { batch } => {
                let elapsed = apalis::drain(&url, load, batch).await?;
                Ok::<_, anyhow::Error>(("drain_apalis", elapsed))
            }
        }
    };
    let (bench, elapsed) = tokio::time::timeout(Duration::from_secs(arguments.within), drain)
        .await
        .with_context(|| format!("the queue was not drained within {} s", arguments.within))??;

    let value = load.per_second(elapsed).round();
    println!("{}", serde_json::to_string(&Measurement { bench, value, unit: "tasks/s" })?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn batches_add_up_to_the_load() {
        let batches = |tasks| Load { tasks, payload_bytes: 0 }.batches().collect::<Vec<_>>();
        assert_eq!(batches(2_500), [1_000, 1_000, 500]);
        assert_eq!(batches(1_000), [1_000]);
        assert_eq!(batches(1), [1]);
    }

    #[test]
    fn the_rate_is_tasks_by_seconds() {
        let load = Load { tasks: 100_000, payload_bytes: 200 };
        assert_eq!(load.payload().len(), 200);
        assert!((load.per_second(Duration::from_millis(2_500)) - 40_000.0).abs() < 1e-6);
    }
}
