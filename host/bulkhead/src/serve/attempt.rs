//! From a claim to its settlement: resolve the handler, run the attempt, let policy
//! decide what follows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{
    AttemptReport, Attempted, Digest, Disposition, Failure, FailureKind, Metering, Outcome, Parent,
    Payload, Priority, RetryPolicy, Task, TaskId, TenantName, Terms, UnixMs, dispose,
};
use bulkhead_queue::{Claim, ClaimToken, End, Settlement};
use bulkhead_sandbox::{Attempt, AttemptEnd, ProgressSink, Unavailable};
use parking_lot::Mutex;

use super::ledger::{Handle, Interrupt};
use super::line::Line;
use super::progress::Reporter;
use super::recall::Memory;
use crate::clock::unix_ms;
use crate::plugins::Serving;

/// How long one thread works through a batch before it lets other tasks of the
/// runtime have a turn.
const TURN: Duration = Duration::from_millis(1);

/// Run claims on the guests' threads. Each thread works through the batch; an attempt
/// that does not end in its first poll goes on as a task of its own. Most do end, and
/// so cost no task, no wake-up and no move of their large futures.
pub(super) fn start(
    line: &Arc<Line>,
    guests: &tokio::runtime::Handle,
    claims: Vec<Claim>,
    handles: Vec<Handle>,
) {
    let threads = guests.metrics().num_workers().min(claims.len());
    let batch = Arc::new(Mutex::new(claims.into_iter().zip(handles)));
    for _ in 0..threads {
        guests.spawn(work_through(line.clone(), batch.clone()));
    }
}

async fn work_through(
    line: Arc<Line>,
    batch: Arc<Mutex<impl Iterator<Item = (Claim, Handle)> + Send>>,
) {
    let mut turn = Instant::now();
    loop {
        let next = batch.lock().next();
        let Some((claim, handle)) = next else { return };
        let mut attempt = Box::pin(run(line.clone(), claim, handle));
        if futures::poll!(attempt.as_mut()).is_pending() {
            tokio::spawn(attempt);
        }
        if turn.elapsed() >= TURN {
            tokio::task::yield_now().await;
            turn = Instant::now();
        }
    }
}

/// Run one claim and enter its end in the ledger.
async fn run(line: Arc<Line>, claim: Claim, handle: Handle) {
    let id = claim.id;
    let settlement = settle(&line, claim, &handle).await;
    if let Some(settlement) = &settlement {
        line.words.forget(&settlement.token);
    }
    line.shared.permits.give_back(1);
    line.ledger.end(id, settlement);
}

/// The claim's settlement; nothing if the claim is no longer this host's.
async fn settle(line: &Arc<Line>, claim: Claim, handle: &Handle) -> Option<Settlement> {
    let Claim { token, id, task, attempt, parents, cancelled } = claim;
    let parents = (!parents.is_empty()).then(|| Arc::from(parents));
    let task = match task {
        Ok(task) => task,
        Err(unreadable) => return Some(bury(line, token, id, unreadable, attempt)),
    };
    let table = line.shared.registry.table();
    let serving = table.get(&task.task_type).cloned();
    drop(table);
    let handler = serving.as_ref().and_then(|serving| serving.plugin.handler(&task.task_type));
    let suggested = handler.and_then(|handler| handler.retry.clone());
    let asked = task.terms.retry.clone().unwrap_or_default();
    let policy = line.queue.retry.with(&suggested.map_or(asked.clone(), |s| asked.or(&s)));
    let started_at = unix_ms();
    let mut digest = Digest::default();
    let mut cached = false;
    let end = if let Some(failure) = forestalled(&task, attempt, cancelled, &policy, started_at) {
        AttemptEnd { outcome: Outcome::Failed(failure), ..empty_end() }
    } else {
        let Some(serving) = serving else {
            return Some(give_back(line, token, &task));
        };
        digest = serving.plugin.digest();
        let memory =
            serving.remembers_ms(&task.task_type).map(|ttl_ms| Memory::of(&task, digest, ttl_ms));
        let recalled = match &memory {
            Some(memory) => memory.recall(line).await,
            None => None,
        };
        if let Some(output) = recalled {
            cached = true;
            AttemptEnd { outcome: Outcome::Done(output), ..empty_end() }
        } else {
            let run =
                run_attempt(line, &serving, &task, attempt, &policy, handle, &token, parents).await;
            match run {
                Ok(end) => {
                    if let (Some(memory), Outcome::Done(output)) = (&memory, &end.outcome) {
                        memory.remember(line, output).await;
                    }
                    end
                }
                Err(unavailable) => {
                    line.stumble(&unavailable);
                    return Some(give_back(line, token, &task));
                }
            }
        }
    };
    let interrupted = matches!(
        &end.outcome,
        Outcome::Failed(failure) if failure.kind == FailureKind::Cancelled
    );
    if interrupted {
        match handle.why() {
            Interrupt::Lost => return None,
            Interrupt::Stopping => return Some(give_back(line, token, &task)),
            Interrupt::None | Interrupt::Cancelled => {}
        }
    }
    let now = unix_ms();
    let ended = Attempted {
        outcome: &end.outcome,
        attempt,
        submitted_at: task.submitted_at,
        deadline_at: task.terms.deadline_at,
    };
    let disposition = dispose(&policy, ended, now, fastrand::f64());
    narrate(line, &task, attempt, &end, disposition);
    let report = AttemptReport {
        attempt,
        started_at,
        host: line.shared.host.to_string(),
        plugin: digest,
        metering: end.metering,
        logs: end.logs,
        outcome: end.outcome,
        cached,
    };
    let kept = |otherwise| task.terms.retention_ms.unwrap_or(otherwise);
    let retention_ms = kept(line.queue.retention_ms);
    let end = match disposition {
        Disposition::Complete => End::Complete { report, retention_ms },
        Disposition::Cancel => End::Cancel { report, retention_ms },
        Disposition::Retry { at } => {
            End::Retry { report, delay_ms: at.saturating_sub(now), retention_ms }
        }
        Disposition::DeadLetter => {
            End::DeadLetter { report, retention_ms: kept(line.queue.dead_retention_ms) }
        }
        Disposition::Return => return Some(give_back(line, token, &task)),
    };
    Some(Settlement { token, end })
}

/// Why an attempt fails before it begins, if it does.
fn forestalled(
    task: &Task,
    attempt: u32,
    cancelled: bool,
    policy: &RetryPolicy,
    now: UnixMs,
) -> Option<Failure> {
    if cancelled {
        let message = "cancelled before the attempt began";
        return Some(Failure::new(FailureKind::Cancelled, message));
    }
    if attempt > policy.max_attempts.max(1) {
        let message = "every attempt lost its lease: its host died, hung or was cut off each time";
        return Some(Failure::new(FailureKind::LeaseLost, message));
    }
    let late_ms = now.checked_sub(task.terms.deadline_at?)?;
    let message = format!(
        "the task's deadline had passed {late_ms} ms before the attempt could begin, so it did \
         not run"
    );
    Some(Failure::new(FailureKind::TimedOut, message))
}

async fn run_attempt(
    line: &Arc<Line>,
    serving: &Arc<Serving>,
    task: &Task,
    attempt: u32,
    policy: &RetryPolicy,
    handle: &Handle,
    token: &ClaimToken,
    parents: Option<Arc<[Parent]>>,
) -> Result<AttemptEnd, Unavailable> {
    let _counted = serving.begin();
    let limits = serving.plugin.limits(&task.task_type, &task.limits);
    let latest = unix_ms().saturating_add(limits.wall_ms);
    // A guest that cannot report is spared the sink.
    let progress = serving.reports_progress.then(|| {
        let (line, token) = (line.clone(), token.clone());
        Arc::new(Reporter { line, id: task.id, token }) as Arc<dyn ProgressSink>
    });
    serving
        .plugin
        .attempt(Attempt {
            task,
            attempt,
            max_attempts: policy.max_attempts.max(1),
            deadline_at: task.terms.deadline_at.map_or(latest, |deadline| deadline.min(latest)),
            limits,
            cancel: handle.cancel.clone(),
            progress,
            parents,
        })
        .await
}

/// The settlement of a claim that this host has no room for.
pub(super) fn decline(line: &Line, claim: Claim) -> Settlement {
    let Claim { token, id, task, attempt, .. } = claim;
    match task {
        Ok(task) => give_back(line, token, &task),
        Err(unreadable) => bury(line, token, id, unreadable, attempt),
    }
}

fn give_back(line: &Line, token: ClaimToken, task: &Task) -> Settlement {
    let end = End::Return {
        task_type: task.task_type.clone(),
        tenant: task.tenant.clone(),
        priority: task.priority,
        retention_ms: line.queue.retention_ms,
    };
    Settlement { token, end }
}

/// The settlement of a record that cannot be read: a dead letter that keeps the bytes.
fn bury(
    line: &Line,
    token: ClaimToken,
    id: TaskId,
    unreadable: bulkhead_queue::Unreadable,
    attempt: u32,
) -> Settlement {
    tracing::warn!(queue = %line.queue.name, task = %id, error = %unreadable, "unreadable task");
    let now = unix_ms();
    let report = AttemptReport {
        attempt,
        started_at: now,
        host: line.shared.host.to_string(),
        plugin: Digest::default(),
        metering: Metering::default(),
        logs: Vec::new(),
        outcome: failed(FailureKind::Unreadable, &unreadable.to_string()),
        cached: false,
    };
    let task = Task {
        id,
        task_type: line.shared.unreadable_type.clone(),
        queue: line.queue.name.clone(),
        tenant: TenantName::default(),
        priority: Priority::default(),
        payload: Payload::new(Payload::BINARY, unreadable.bytes),
        metadata: Vec::new(),
        trace: None,
        limits: Default::default(),
        submitted_at: now,
        terms: Terms::default(),
    };
    let retention_ms = line.queue.dead_retention_ms;
    Settlement { token, end: End::Unreadable { task: Box::new(task), report, retention_ms } }
}

fn failed(kind: FailureKind, message: &str) -> Outcome {
    Outcome::Failed(Failure::new(kind, message))
}

fn empty_end() -> AttemptEnd {
    AttemptEnd {
        outcome: failed(FailureKind::NoHandler, ""),
        metering: Metering::default(),
        logs: Vec::new(),
    }
}

/// Tell the log what happened. Guest text is escaped.
fn narrate(line: &Line, task: &Task, attempt: u32, end: &AttemptEnd, next: Disposition) {
    for log in &end.logs {
        tracing::debug!(target: "bulkhead::guest", task = %task.id, task_type = %task.task_type,
            level = %log.level, message = %log.message.escape_debug());
    }
    if let Outcome::Failed(failure) = &end.outcome {
        tracing::info!(queue = %line.queue.name, task = %task.id, task_type = %task.task_type,
            attempt, outcome = %failure.kind, ?next, reason = %failure.message.escape_debug(),
            "attempt failed");
    } else {
        tracing::trace!(queue = %line.queue.name, task = %task.id, task_type = %task.task_type,
            attempt, "attempt done");
    }
}

/// How long a line pauses after the sandbox could not run an attempt.
const STUMBLE_PAUSE: Duration = Duration::from_millis(100);

/// When a line that stumbled may claim again.
pub(super) fn after_stumble() -> Instant {
    Instant::now() + STUMBLE_PAUSE
}
