//! Words that tests of the queue share: names, ids, and a report and a schedule with nothing
//! special about them.

use bulkhead_core::{
    AttemptReport, Digest, LimitsRequest, Metering, Missed, Outcome, Payload, Priority, QueueName,
    Schedule, TaskId, TaskType, Template, TenantName, Terms, Timing,
};

/// The default queue.
#[must_use]
pub fn queue() -> QueueName {
    QueueName::default()
}

/// The queue of this name.
///
/// # Panics
/// If it is no name.
#[must_use]
pub fn queue_named(name: &str) -> QueueName {
    QueueName::new(name).expect("a queue's name")
}

/// The task type of this name.
///
/// # Panics
/// If it is no name.
#[must_use]
pub fn of_type(name: &str) -> TaskType {
    TaskType::new(name).expect("a task type")
}

/// The tenant of this name.
///
/// # Panics
/// If it is no name.
#[must_use]
pub fn tenant(name: &str) -> TenantName {
    TenantName::new(name).expect("a tenant's name")
}

/// An id that no task has.
#[must_use]
pub fn fresh_id() -> TaskId {
    TaskId(uuid::Uuid::now_v7())
}

/// What the host `h1` reports of an attempt that used nothing and logged nothing.
#[must_use]
pub fn report(attempt: u32, outcome: Outcome) -> AttemptReport {
    AttemptReport {
        attempt,
        started_at: 1,
        host: "h1".into(),
        plugin: None,
        digest: Digest::default(),
        metering: Metering::default(),
        logs: Vec::new(),
        outcome,
        cached: false,
    }
}

/// A schedule of this name that fires a task of type `a` every minute, one at a time.
#[must_use]
pub fn schedule(name: &str) -> Schedule {
    Schedule {
        name: name.into(),
        timing: Timing::Every { interval_ms: 60_000, jitter_ms: 0, start: 0 },
        exclusive: true,
        missed: Missed::default(),
        task: Template {
            task_type: of_type("a"),
            tenant: TenantName::default(),
            priority: Priority::default(),
            payload: Payload::default(),
            metadata: Vec::new(),
            limits: LimitsRequest::default(),
            terms: Terms::default(),
        },
        origin: "cli".into(),
    }
}
