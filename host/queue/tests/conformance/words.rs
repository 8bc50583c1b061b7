//! Words that the tests share: tasks, reports and settlements with nothing special about them.

use bulkhead_core::{
    AttemptReport, Bounds, Failure, FailureKind, Outcome, Payload, Rate, Task, TaskId, TaskRef,
    TenantPolicy, TermKey, Terms, UnixMs,
};
use bulkhead_queue::{Claim, End, NewTask, Serves, Settlement};
pub(crate) use bulkhead_stage::words::*;

pub(crate) const SECOND_MS: u64 = 1_000;
pub(crate) const MINUTE_MS: u64 = 60_000;
pub(crate) const HOUR_MS: u64 = 3_600_000;
pub(crate) const DAY_MS: u64 = 86_400_000;

/// `type` for all tenants, or `type:tenant`.
pub(crate) fn serves(text: &str) -> Serves {
    match text.split_once(':') {
        Some((name, of)) => Serves::only(of_type(name), tenant(of)),
        None => of_type(text).into(),
    }
}

pub(crate) fn key(name: &str) -> TermKey {
    TermKey::new(name).unwrap()
}

pub(crate) fn new_task(task_type: &str) -> NewTask {
    NewTask::new(of_type(task_type), Payload::new(Payload::TEXT, "hello"))
}

pub(crate) fn with(task_type: &str, terms: Terms) -> NewTask {
    NewTask { terms, ..new_task(task_type) }
}

pub(crate) fn of_tenant(task_type: &str, name: &str) -> NewTask {
    NewTask { tenant: tenant(name), ..new_task(task_type) }
}

pub(crate) fn keyed(task_type: &str, name: &str) -> NewTask {
    with(task_type, Terms { key: Some(key(name)), ..Terms::default() })
}

pub(crate) fn starting(at: UnixMs) -> Terms {
    Terms { not_before: Some(at), ..Terms::default() }
}

pub(crate) fn expiring(at: UnixMs) -> Terms {
    Terms { expires_at: Some(at), ..Terms::default() }
}

pub(crate) fn after(parents: &[TaskRef]) -> Terms {
    Terms { after: parents.to_vec(), ..Terms::default() }
}

pub(crate) fn here(id: TaskId) -> TaskRef {
    TaskRef { queue: queue(), id }
}

/// A task as the broker gets it, of a fresh id.
pub(crate) fn task_of(new: NewTask, now: UnixMs) -> Task {
    Task {
        id: new.id.unwrap_or_else(fresh_id),
        task_type: new.task_type,
        queue: new.queue,
        tenant: new.tenant,
        priority: new.priority,
        payload: new.payload,
        metadata: new.metadata,
        trace: new.trace,
        limits: new.limits,
        submitted_at: now,
        terms: new.terms,
    }
}

pub(crate) fn at_once(concurrency: u32) -> Bounds {
    Bounds { concurrency: Some(concurrency), rate: None }
}

pub(crate) fn per(rate: &str) -> Bounds {
    Bounds { concurrency: None, rate: Some(rate_of(rate)) }
}

pub(crate) fn rate_of(text: &str) -> Rate {
    text.parse().unwrap()
}

pub(crate) fn weight(weight: u32) -> TenantPolicy {
    TenantPolicy { weight, ..TenantPolicy::default() }
}

pub(crate) fn failure() -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::Retry, "not now"))
}

/// Complete a claim with the output `out`.
pub(crate) fn done(claim: &Claim) -> Settlement {
    done_for(claim, DAY_MS)
}

/// Complete a claim and keep its task so long.
pub(crate) fn done_for(claim: &Claim, retention_ms: u64) -> Settlement {
    done_with(claim, retention_ms, Vec::new())
}

/// Complete a claim, keep its task so long, and submit tasks with it.
pub(crate) fn done_with(claim: &Claim, retention_ms: u64, children: Vec<Task>) -> Settlement {
    let output = Outcome::Done(Payload::new(Payload::TEXT, "out"));
    let end = End::Complete { report: report(claim.attempt, output), retention_ms, children };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

pub(crate) fn failed(claim: &Claim, end: impl FnOnce(AttemptReport) -> End) -> Settlement {
    Settlement {
        token: claim.token.clone(),
        end: end(report(claim.attempt, failure())),
        plugin: None,
    }
}

/// Make a claim's task a dead letter.
pub(crate) fn dead(claim: &Claim) -> Settlement {
    failed(claim, |report| End::DeadLetter { report, retention_ms: DAY_MS })
}

/// Try a claim's task again after so long.
pub(crate) fn retry(claim: &Claim, delay_ms: u64) -> Settlement {
    failed(claim, |report| End::Retry { report, delay_ms, retention_ms: DAY_MS })
}

/// Cancel a claim's task.
pub(crate) fn cancelled(claim: &Claim) -> Settlement {
    failed(claim, |report| End::Cancel { report, retention_ms: DAY_MS })
}

/// Give a claim's task back.
pub(crate) fn given_back(claim: &Claim) -> Settlement {
    let task = claim.task.as_ref().unwrap();
    let end = End::Return {
        task_type: task.task_type.clone(),
        tenant: task.tenant.clone(),
        priority: task.priority,
        retention_ms: DAY_MS,
    };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

pub(crate) fn ids(claims: &[Claim]) -> Vec<TaskId> {
    claims.iter().map(|claim| claim.id).collect()
}
