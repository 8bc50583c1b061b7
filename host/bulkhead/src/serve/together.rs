//! Several claims in one call, for task types that take batches.
//!
//! What one step claimed of one type and tenant runs together, up to the type's bound;
//! nothing waits for company. Tenants are never mixed in one instance. Only first attempts
//! run together, and a batch that falls as a whole is taken apart: each of its tasks runs
//! again alone, within the same attempt. So no task fails for what another one did.

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_core::{FailureKind, LogLevel, LogLine, Metering, Outcome, TaskType, TenantName};
use bulkhead_queue::Claim;
use bulkhead_sandbox::{Attempt, AttemptEnd};

use super::attempt::{Job, admit, attempt, finish};
use super::conclude::{Ran, conclude, give_back};
use super::ledger::Handle;
use super::line::Line;
use crate::plugins::{Serving, Table};

/// How much of a fallen batch's failure its tasks' logs repeat.
const MAX_REASON_CHARS: usize = 500;

/// What is given to one call.
pub(super) enum Load {
    /// One task.
    One(Claim, Handle),
    /// One or more of one type and tenant.
    Many(Vec<(Claim, Handle)>),
}

/// Put claims together that may share a call; their order stays, by their first.
pub(super) fn gather(table: &Table, claims: impl Iterator<Item = (Claim, Handle)>) -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::with_capacity(claims.size_hint().0);
    let mut open: HashMap<(TaskType, TenantName), usize> = HashMap::new();
    for (claim, handle) in claims {
        let bound = bound(table, &claim);
        let key = match &claim.task {
            Ok(task) if bound > 1 => (task.task_type.clone(), task.tenant.clone()),
            _ => {
                loads.push(Load::One(claim, handle));
                continue;
            }
        };
        match open.get(&key).and_then(|at| loads.get_mut(*at)) {
            Some(Load::Many(load)) if load.len() < bound => load.push((claim, handle)),
            _ => {
                open.insert(key, loads.len());
                loads.push(Load::Many(vec![(claim, handle)]));
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
    let handler =
        table.get(&task.task_type, &task.tenant).and_then(|s| s.plugin.handler(&task.task_type));
    handler.map_or(1, |handler| handler.max_batch as usize)
}

/// Run claims of one type and tenant together and enter their ends in the ledger.
pub(super) async fn run(line: Arc<Line>, claims: Vec<(Claim, Handle)>) {
    let mut jobs: Vec<Job> = Vec::with_capacity(claims.len());
    for (claim, handle) in claims {
        let id = claim.id;
        match admit(&line, claim, handle).await {
            Ok(job) => jobs.push(job),
            Err(settlement) => finish(&line, id, settlement),
        }
    }
    let Some(serving) = jobs.first().and_then(|job| job.serving.clone()) else { return };
    // The plugin may have been swapped on the way; one call is one version's.
    let same = |job: &Job| job.serving.as_ref().is_some_and(|s| Arc::ptr_eq(s, &serving));
    let (mut jobs, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(same);
    others.into_iter().for_each(|job| spawn(&line, job, None));
    match jobs.pop() {
        Some(job) if jobs.is_empty() => alone(line, job, None).await,
        last => {
            jobs.extend(last);
            call(&line, &serving, jobs).await;
        }
    }
}

async fn call(line: &Arc<Line>, serving: &Serving, jobs: Vec<Job>) {
    let counted: Vec<_> = jobs.iter().map(|_| serving.begin()).collect();
    let attempts: Vec<Attempt<'_>> = jobs.iter().map(|job| job.attempt(line, serving)).collect();
    let ended = serving.plugin.attempt_batch(attempts).await;
    drop(counted);
    let batch = match ended {
        Ok(batch) => batch,
        Err(unavailable) => {
            line.stumble(&unavailable);
            for job in jobs {
                let (id, settlement) = (job.task.id, give_back(line, job.token, &job.task));
                finish(line, id, Some(settlement));
            }
            return;
        }
    };
    if batch.fell {
        tracing::info!(queue = %line.queue.name, tasks = jobs.len(),
            "a batch fell as a whole; its tasks run again one by one");
    }
    let ran = Ran { plugin: serving.plugin.digest(), cached: false };
    for (job, end) in jobs.into_iter().zip(batch.ends) {
        if batch.fell && !is_cancelled(&end) {
            spawn(line, job, Some(end));
            continue;
        }
        job.remember(line, &end).await;
        let (id, settlement) = (job.task.id, conclude(line, job, end, ran));
        finish(line, id, settlement);
    }
}

fn is_cancelled(end: &AttemptEnd) -> bool {
    matches!(&end.outcome, Outcome::Failed(failure) if failure.kind == FailureKind::Cancelled)
}

fn spawn(line: &Arc<Line>, job: Job, fallen: Option<AttemptEnd>) {
    tokio::spawn(alone(line.clone(), job, fallen));
}

/// Run a job by itself; `fallen` is its share of a batch that fell.
async fn alone(line: Arc<Line>, job: Job, fallen: Option<AttemptEnd>) {
    let id = job.task.id;
    let settlement = attempt(&line, job, fallen).await;
    finish(&line, id, settlement);
}

/// The end of an attempt that ran alone after the batch that it began in fell: what both
/// used, and a line that says so.
pub(super) fn after(fallen: AttemptEnd, mut end: AttemptEnd) -> AttemptEnd {
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
        let message = format!("ran alone, since the batch that it began in fell: {what}");
        let kind = ("outcome".to_owned(), failure.kind.to_string());
        logs.insert(0, LogLine { at_ms: 0, level: LogLevel::Warn, message, fields: vec![kind] });
    }
    AttemptEnd { metering, logs, ..end }
}
