//! `depth_*`: what a deep queue costs Redis. No host runs: the figures are the scripts'.
//!
//! Every scenario talks to the broker as hosts do, one step a tick, and reads the longest
//! script from the server's own slow log.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bulkhead_core::{
    AttemptReport, Digest, Metering, Outcome, Payload, QueueName, TaskType, UnixMs,
};
use bulkhead_queue::{Claim, ClaimToken, Client, End, NewTask, Serves, Settlement, Step, Stepped};

use crate::stage::Stage;

/// Pending tasks of the deep queue.
const DEEP: usize = 1_000_000;
/// Pending tasks of the one it is compared with.
const SHALLOW: usize = 1_000;
/// Tasks that become due at one moment.
const DUE: usize = 100_000;
/// Attempts in flight at once.
const IN_FLIGHT: usize = 10_000;
/// Claims of one step, as hosts of usual size take them.
const BATCH: usize = 64;
/// Claims and settlements of one step at most, as a host sends them.
const MOST: usize = 250;
/// How long a server keeps what ended in those steps, and for how long it works before it is
/// measured.
const KEPT_MS: u64 = 500;
const WARM: Duration = Duration::from_secs(3);
/// Turns that each depth takes, and steps of one turn.
const TURNS: usize = 10;
const STEPS: usize = 40;
const PAYLOAD_BYTES: usize = 200;
const DAY_MS: u64 = 86_400_000;

pub(crate) struct Depth {
    /// Claims a second at a depth of a million over those at a thousand.
    pub(crate) claim_share: f64,
    /// Redis memory of one pending task, in bytes.
    pub(crate) bytes_per_pending: f64,
    /// The longest script of each scenario, in milliseconds.
    pub(crate) longest_deep_ms: f64,
    pub(crate) longest_due_ms: f64,
    pub(crate) longest_in_flight_ms: f64,
}

pub(crate) async fn run() -> Result<Depth> {
    // Each depth on a server of its own. With the tasks that ended, the deep one's keys stay
    // below 2^20: there Redis would double its table while it is measured, and move it by a
    // little with every command.
    let shallow_stage = Stage::bare()?;
    let shallow = Line::new(shallow_stage.client().await)?;
    shallow.fill(SHALLOW, None).await?;
    let stage = Stage::bare()?;
    let deep = Line::new(stage.client().await)?;
    let before = used_memory(&stage)?;
    deep.fill(DEEP, None).await?;
    let bytes_per_pending = (used_memory(&stage)? - before) / DEEP as f64;
    reset_slow_log(&stage)?;
    // In turns, so that what else the machine does slows both. Those of the first seconds do not
    // count: in a server that has been in service, new tasks take the memory of forgotten ones.
    let (mut shallow_steps, mut deep_steps) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < WARM {
        shallow.churn(&mut Vec::new()).await?;
        deep.churn(&mut Vec::new()).await?;
    }
    for _ in 0..TURNS {
        shallow.churn(&mut shallow_steps).await?;
        deep.churn(&mut deep_steps).await?;
    }
    let claim_share = median(shallow_steps)?.as_secs_f64() / median(deep_steps)?.as_secs_f64();
    let longest_deep_ms = longest_script_ms(&stage)?;

    let stage = Stage::bare()?;
    let line = Line::new(stage.client().await)?;
    let at = unix_ms()? + 15_000;
    line.fill(DUE, Some(at)).await?;
    while unix_ms()? <= at {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    reset_slow_log(&stage)?;
    let mut left = DUE;
    while left > 0 {
        let stepped = line.step(&[], &[], MOST).await?;
        left -= stepped.claims.len();
        let settle = settlements(stepped.claims);
        line.step(&settle, &[], 0).await?;
    }
    let longest_due_ms = longest_script_ms(&stage)?;

    let stage = Stage::bare()?;
    let line = Line::new(stage.client().await)?;
    line.fill(IN_FLIGHT, None).await?;
    reset_slow_log(&stage)?;
    let mut claims = Vec::new();
    while claims.len() < IN_FLIGHT {
        claims.extend(line.step(&[], &[], MOST).await?.claims);
    }
    let tokens: Vec<ClaimToken> = claims.iter().map(|claim| claim.token.clone()).collect();
    for renewed in tokens.chunks(2_000) {
        line.step(&[], renewed, 0).await?;
    }
    for ended in settlements(claims).chunks(MOST) {
        line.step(ended, &[], 0).await?;
    }
    let longest_in_flight_ms = longest_script_ms(&stage)?;
    Ok(Depth {
        claim_share,
        bytes_per_pending,
        longest_deep_ms,
        longest_due_ms,
        longest_in_flight_ms,
    })
}

/// One queue and one type, as a host would serve it.
struct Line {
    client: Client,
    queue: QueueName,
    types: [Serves; 1],
}

impl Line {
    fn new(client: Client) -> Result<Self> {
        Ok(Self { client, queue: QueueName::default(), types: [TaskType::new("noop")?.into()] })
    }

    fn task(&self, not_before: Option<UnixMs>) -> NewTask {
        let payload = Payload::new(Payload::BINARY, vec![7; PAYLOAD_BYTES]);
        let mut task = NewTask::new(self.types[0].task_type.clone(), payload);
        task.terms.not_before = not_before;
        task
    }

    async fn fill(&self, tasks: usize, not_before: Option<UnixMs>) -> Result<()> {
        let mut left = tasks;
        while left > 0 {
            let now = left.min(10_000);
            self.client.submit_many((0..now).map(|_| self.task(not_before)).collect()).await?;
            left -= now;
        }
        Ok(())
    }

    async fn step(
        &self,
        settle: &[Settlement],
        renew: &[ClaimToken],
        want: usize,
    ) -> Result<Stepped> {
        let step = Step {
            host: "bench-host-with-a-name-of-usual-length-1",
            settle,
            renew,
            progress: &[],
            want: u32::try_from(want)?,
            claim_bytes: u64::MAX,
            serves: &self.types,
            lease: Duration::from_secs(600),
            reclaim: true,
            dead_retention_ms: DAY_MS,
            apart: false,
        };
        Ok(self.client.broker().step(&self.queue, step).await?)
    }

    /// Claim, settle and refill at the depth there is, and add how long each step took.
    async fn churn(&self, steps: &mut Vec<Duration>) -> Result<()> {
        let mut settle = Vec::new();
        for _ in 0..STEPS {
            let began = Instant::now();
            let stepped = self.step(&settle, &[], BATCH).await?;
            steps.push(began.elapsed());
            anyhow::ensure!(stepped.claims.len() == BATCH, "a step claimed too few");
            settle = settlements(stepped.claims);
            self.client.submit_many((0..BATCH).map(|_| self.task(None)).collect()).await?;
        }
        self.step(&settle, &[], 0).await?;
        Ok(())
    }
}

/// A few steps fall behind other work of the machine; the median did not.
fn median(mut steps: Vec<Duration>) -> Result<Duration> {
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().context("no step was taken")
}

fn settlements(claims: Vec<Claim>) -> Vec<Settlement> {
    let end = |claim: &Claim| End::Complete {
        report: AttemptReport {
            attempt: claim.attempt,
            started_at: 0,
            host: "bench-host-with-a-name-of-usual-length-1".into(),
            plugin: None,
            digest: Digest::default(),
            metering: Metering::default(),
            logs: Vec::new(),
            outcome: Outcome::Done(Payload::new(Payload::BINARY, vec![7; 8])),
            cached: false,
        },
        retention_ms: KEPT_MS,
        children: Vec::new(),
    };
    claims
        .iter()
        .map(|claim| Settlement { token: claim.token.clone(), end: end(claim), plugin: None })
        .collect()
}

fn unix_ms() -> Result<UnixMs> {
    Ok(u64::try_from(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis(),
    )?)
}

fn used_memory(stage: &Stage) -> Result<f64> {
    let info: String = redis::cmd("INFO").arg("memory").query(&mut stage.server.connection())?;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(line.context("no used_memory in INFO")?.trim().parse()?)
}

/// Keep every command over 200 µs from now on.
fn reset_slow_log(stage: &Stage) -> Result<()> {
    let mut redis = stage.server.connection();
    for setting in [["slowlog-log-slower-than", "200"], ["slowlog-max-len", "10000"]] {
        redis::cmd("CONFIG").arg("SET").arg(&setting).query::<()>(&mut redis)?;
    }
    redis::cmd("SLOWLOG").arg("RESET").query::<()>(&mut redis)?;
    Ok(())
}

/// The longest script since then; 0.2 stands for everything below.
fn longest_script_ms(stage: &Stage) -> Result<f64> {
    let mut redis = stage.server.connection();
    let entries: Vec<Vec<redis::Value>> =
        redis::cmd("SLOWLOG").arg("GET").arg(10_000).query(&mut redis)?;
    let mut longest_us = 200;
    for entry in entries {
        if let [_, _, redis::Value::Int(us), redis::Value::Array(command), ..] = &entry[..]
            && matches!(command.first(), Some(redis::Value::BulkString(name)) if name.starts_with(b"EVAL"))
        {
            longest_us = longest_us.max(*us);
        }
    }
    Ok(longest_us as f64 / 1_000.0)
}
