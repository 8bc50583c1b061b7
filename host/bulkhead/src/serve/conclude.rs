//! From the end of an attempt to its claim's settlement: policy decides what follows.

use bulkhead_core::{
    AttemptReport, Attempted, Digest, Disposition, Failure, FailureKind, Metering, Outcome,
    Payload, Priority, Task, TaskId, TenantName, Terms, dispose,
};
use bulkhead_queue::{Claim, ClaimToken, End, Settlement};
use bulkhead_sandbox::AttemptEnd;

use super::attempt::Job;
use super::events;
use super::ledger::Interrupt;
use super::line::Line;
use crate::clock::unix_ms;
use crate::traces::{AttemptTrace, Came};

/// What ran an attempt.
#[derive(Default, Clone, Copy)]
pub(super) struct Ran {
    /// The plugin version; all zero if none did.
    pub(super) plugin: Digest,
    /// Whether an earlier result stood in for it.
    pub(super) cached: bool,
}

/// The settlement of a job that ended so; nothing if the claim is no longer this host's.
pub(super) fn conclude(line: &Line, job: Job, end: AttemptEnd, ran: Ran) -> Option<Settlement> {
    let Job { token, task, attempt, policy, started_at, handle, serving, trace, .. } = job;
    let plugin = serving.filter(|_| ran.plugin != Digest::default());
    let plugin = plugin.and_then(|serving| serving.id.clone());
    let interrupted = matches!(
        &end.outcome,
        Outcome::Failed(failure) if failure.kind == FailureKind::Cancelled
    );
    if interrupted {
        match handle.why() {
            Interrupt::Lost => {
                given_up(trace, "lost");
                return None;
            }
            Interrupt::Stopping => {
                given_up(trace, "returned");
                return Some(give_back(line, token, &task));
            }
            Interrupt::None | Interrupt::Cancelled => {}
        }
    }
    if let (Some(tally), false) = (&line.shared.tally, ran.cached)
        && ran.plugin != Digest::default()
    {
        tally.count(&task, attempt, started_at, &end);
    }
    let now = unix_ms();
    let ended = Attempted {
        outcome: &end.outcome,
        attempt,
        submitted_at: task.submitted_at,
        deadline_at: task.terms.deadline_at,
    };
    let disposition = dispose(&policy, ended, now, fastrand::f64());
    events::ended(line, &task, attempt, &end, disposition);
    if let Some(trace) = trace {
        trace.end(&Came {
            outcome: &end.outcome,
            metering: &end.metering,
            logs: &end.logs,
            plugin: plugin.as_ref().map(ToString::to_string).unwrap_or_default(),
            digest: ran.plugin.to_string(),
            is_cached: ran.cached,
        });
    }
    let report = AttemptReport {
        attempt,
        started_at,
        host: line.shared.host.to_string(),
        plugin: plugin.clone(),
        digest: ran.plugin,
        metering: end.metering,
        logs: end.logs,
        outcome: end.outcome,
        cached: ran.cached,
    };
    let kept = |otherwise| task.terms.retention_ms.unwrap_or(otherwise);
    let retention_ms = kept(line.queue.retention_ms);
    let end = match disposition {
        Disposition::Complete => {
            // The host is the producer of what the handler submits; its clock counts, as any
            // other producer's.
            let children = end.children.into_iter().map(|child| child.submitted(now)).collect();
            End::Complete { report, retention_ms, children }
        }
        Disposition::Cancel => End::Cancel { report, retention_ms },
        Disposition::Retry { at } => {
            End::Retry { report, delay_ms: at.saturating_sub(now), retention_ms }
        }
        Disposition::DeadLetter => {
            End::DeadLetter { report, retention_ms: kept(line.queue.dead_retention_ms) }
        }
        Disposition::Return => return Some(give_back(line, token, &task)),
    };
    Some(Settlement { token, end, plugin })
}

fn given_up(trace: Option<Box<AttemptTrace>>, why: &'static str) {
    if let Some(trace) = trace {
        trace.give_up(why);
    }
}

/// The settlement of a claim that this host has no room for.
pub(super) fn decline(line: &Line, claim: Claim) -> Settlement {
    let Claim { token, id, task, attempt, .. } = claim;
    match task {
        Ok(task) => give_back(line, token, &task),
        Err(unreadable) => bury(line, token, id, unreadable, attempt),
    }
}

/// The settlement of a task that goes back as if it had not been claimed.
pub(super) fn give_back(line: &Line, token: ClaimToken, task: &Task) -> Settlement {
    let end = End::Return {
        task_type: task.task_type.clone(),
        tenant: task.tenant.clone(),
        priority: task.priority,
        retention_ms: line.queue.retention_ms,
    };
    Settlement { token, end, plugin: None }
}

/// The settlement of a record that cannot be read: a dead letter that keeps the bytes.
pub(super) fn bury(
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
        plugin: None,
        digest: Digest::default(),
        metering: Metering::default(),
        logs: Vec::new(),
        outcome: Outcome::Failed(Failure::new(FailureKind::Unreadable, unreadable.to_string())),
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
    let end = End::Unreadable { task: Box::new(task), report, retention_ms };
    Settlement { token, end, plugin: None }
}

/// The end of an attempt that came to this without running.
pub(super) fn without_running(outcome: Outcome) -> AttemptEnd {
    let metering = Metering::default();
    AttemptEnd { outcome, metering, logs: Vec::new(), children: Vec::new() }
}
