//! Several claims in one call, for task types that take batches.
//!
//! What one step claimed of one type and tenant runs together, up to the type's bound;
//! nothing waits for company. Tenants are never mixed in one instance. Only first attempts
//! run together, and a batch that falls as a whole is taken apart: each of its tasks runs
//! again alone, within the same attempt. So no task fails for what another one did.

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_core::{FailureKind, LogLevel, LogLine, Metering, Outcome, TaskType, TenantName};
use bulkhead_queue::{Claim, Settlement};
use bulkhead_sandbox::{AttemptEnd, Hold, SETTLING_COPIES};

use super::attempt::{Job, admit, alone};
use super::berth::Berth;
use super::conclude::{Ran, conclude, give_back};
use super::line::Line;
use super::room::hold_for_all;
use crate::plugins::{Serving, Table};

/// How much of a fallen batch's failure its tasks' logs repeat.
const MAX_REASON_CHARS: usize = 500;

/// What is given to one call.
#[allow(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and a box would cost each attempt an allocation"
)]
pub(super) enum Load {
    /// One task.
    One(Claim, Berth),
    /// One or more of one type and tenant.
    Many(Vec<(Claim, Berth)>),
}

/// A job in its place.
pub(super) struct Boarded {
    pub(super) job: Job,
    pub(super) berth: Berth,
}

/// Put claims together that may share a call; their order stays, by their first.
pub(super) fn gather(table: &Table, claims: impl Iterator<Item = (Claim, Berth)>) -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::with_capacity(claims.size_hint().0);
    let mut open: HashMap<(TaskType, TenantName), usize> = HashMap::new();
    for (claim, berth) in claims {
        let bound = bound(table, &claim);
        let key = match &claim.task {
            Ok(task) if bound > 1 => (task.task_type.clone(), task.tenant.clone()),
            _ => {
                loads.push(Load::One(claim, berth));
                continue;
            }
        };
        match open.get(&key).and_then(|at| loads.get_mut(*at)) {
            Some(Load::Many(load)) if load.len() < bound => load.push((claim, berth)),
            _ => {
                open.insert(key, loads.len());
                loads.push(Load::Many(vec![(claim, berth)]));
            }
        }
    }
    loads
}

/// With how many others at most this claim may share a call, itself included.
fn bound(table: &Table, claim: &Claim) -> usize {
    let Ok(task) = &claim.task else { return 1 };
    if claim.attempt > 1 || claim.cancelled {
        return 1;
    }
    let serving = table.get(&task.task_type, &task.tenant);
    // What is compared runs alike on both versions.
    let serving = serving.filter(|serving| table.trial(serving).is_none());
    let handler = serving.and_then(|serving| serving.plugin.handler(&task.task_type));
    handler.map_or(1, |handler| handler.max_batch as usize)
}

/// Run claims of one type and tenant together and enter their ends in the ledger.
pub(super) async fn run(line: Arc<Line>, claims: Vec<(Claim, Berth)>) {
    let mut jobs: Vec<Boarded> = Vec::with_capacity(claims.len());
    for (claim, mut berth) in claims {
        berth.hold_tally(&claim);
        match admit(&line, claim, &berth) {
            Ok(job) => jobs.push(Boarded { job, berth }),
            Err(settlement) => berth.leave(settlement),
        }
    }
    let Some(serving) = jobs.first().and_then(|boarded| boarded.job.serving.clone()) else {
        return;
    };
    // The plugin may have been swapped on the way; one call is one version's.
    let same =
        |boarded: &Boarded| boarded.job.serving.as_ref().is_some_and(|s| Arc::ptr_eq(s, &serving));
    let (mut jobs, others): (Vec<Boarded>, Vec<Boarded>) = jobs.into_iter().partition(same);
    others.into_iter().for_each(|boarded| spawn(&line, boarded, None));
    match jobs.pop() {
        Some(Boarded { job, berth }) if jobs.is_empty() => alone(line, job, berth, None).await,
        last => {
            jobs.extend(last);
            match hold_for_all(&line, &jobs).await {
                Some(hold) => call(&line, &serving, jobs, hold).await,
                None => jobs.into_iter().for_each(|boarded| spawn(&line, boarded, None)),
            }
        }
    }
}

async fn call(line: &Arc<Line>, serving: &Serving, boarded: Vec<Boarded>, mut hold: Hold) {
    let mut jobs = Vec::with_capacity(boarded.len());
    for mut boarded in boarded {
        boarded.job.begin(line);
        match boarded.job.recall(line).await {
            Some(output) => {
                let Boarded { job, mut berth } = boarded;
                let settlement = job.recalled(line, output);
                berth.hold = settlement.as_ref().map(|ended| share(&mut hold, ended));
                berth.settle(settlement).await;
            }
            None => jobs.push(boarded),
        }
    }
    let attempts = jobs.iter().map(|boarded| boarded.job.attempt(line, serving));
    let batch = match serving.run_together(attempts.collect()).await {
        Ok(batch) => batch,
        Err(unavailable) => {
            line.stumble(&unavailable);
            for Boarded { job, berth } in jobs {
                let settlement = give_back(line, job.token, &job.task);
                berth.leave(Some(settlement));
            }
            return;
        }
    };
    if batch.fell {
        tracing::info!(queue = %line.queue.name, tasks = jobs.len(),
            "a batch fell as a whole; its tasks run again one by one");
    }
    let ran = Ran { plugin: serving.plugin.digest(), cached: false };
    for (boarded, end) in jobs.into_iter().zip(batch.ends) {
        if batch.fell && !is_cancelled(&end) {
            // What it logged in the batch is not told; it need not be kept meanwhile.
            spawn(line, boarded, Some(AttemptEnd { logs: Vec::new(), ..end }));
            continue;
        }
        let Boarded { job, mut berth } = boarded;
        job.remember(line, &end).await;
        let settlement = conclude(line, job, end, ran);
        berth.hold = settlement.as_ref().map(|ended| share(&mut hold, ended));
        berth.settle(settlement).await;
    }
}

/// What one of a batch goes on holding until the broker knows of its end.
fn share(hold: &mut Hold, ended: &Settlement) -> Hold {
    hold.split(ended.bytes().saturating_mul(SETTLING_COPIES))
}

fn is_cancelled(end: &AttemptEnd) -> bool {
    matches!(&end.outcome, Outcome::Failed(failure) if failure.kind == FailureKind::Cancelled)
}

fn spawn(line: &Arc<Line>, boarded: Boarded, fallen: Option<AttemptEnd>) {
    let Boarded { job, berth } = boarded;
    tokio::spawn(alone(line.clone(), job, berth, fallen));
}

/// Why a task of a batch ran a second time.
pub(super) const FELL: &str = "ran alone, since the batch that it began in fell";

/// The end of an attempt that ran a second time: what both used, and a line that says why.
pub(super) fn after(fallen: AttemptEnd, mut end: AttemptEnd, why: &str) -> AttemptEnd {
    let (a, b) = (fallen.metering, end.metering);
    let metering = Metering {
        fuel: a.fuel.saturating_add(b.fuel),
        peak_memory_bytes: a.peak_memory_bytes.max(b.peak_memory_bytes),
        cpu_us: a.cpu_us.saturating_add(b.cpu_us),
        wall_us: a.wall_us.saturating_add(b.wall_us),
        instantiate_us: a.instantiate_us.saturating_add(b.instantiate_us),
        log_bytes: a.log_bytes.saturating_add(b.log_bytes),
        log_lines_dropped: a.log_lines_dropped.saturating_add(b.log_lines_dropped),
        host_calls: a.host_calls.saturating_add(b.host_calls),
        bytes_in: a.bytes_in.saturating_add(b.bytes_in),
        bytes_out: a.bytes_out.saturating_add(b.bytes_out),
    };
    let mut logs = std::mem::take(&mut end.logs);
    if let Outcome::Failed(failure) = fallen.outcome {
        let what: String = failure.message.chars().take(MAX_REASON_CHARS).collect();
        let message = format!("{why}: {what}");
        let kind = ("outcome".to_owned(), failure.kind.to_string());
        logs.insert(0, LogLine { at_ms: 0, level: LogLevel::Warn, message, fields: vec![kind] });
    }
    AttemptEnd { metering, logs, ..end }
}
