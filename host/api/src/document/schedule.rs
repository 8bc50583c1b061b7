//! A schedule as a JSON document.

use std::collections::BTreeMap;

use bulkhead_core::{LimitsRequest, Missed, QueueName, Terms, Timing, UnixMs};
use bulkhead_queue::ScheduleView;
use serde::Serialize;
use utoipa::ToSchema;

use super::task::PayloadDocument;

/// A schedule and how it stands. All times are Unix milliseconds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule)]
pub struct ScheduleDocument<'a> {
    /// Its queue.
    queue: &'a str,
    /// Its name, unique in the queue.
    name: &'a str,
    /// When it fires.
    timing: &'a Timing,
    /// Whether a fire is skipped while the previous one's task has not ended.
    exclusive: bool,
    /// What becomes of fires that nobody was there for.
    missed: Missed,
    /// Where the definition comes from: `config`, `cli` or `api`.
    origin: &'a str,
    /// Whether it is stopped.
    paused: bool,
    /// Its next fire; nothing if it will not fire again.
    next: Option<UnixMs>,
    /// Its last fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last: Option<LastDocument>,
    /// How often it has fired.
    fired: u64,
    /// Fires skipped because the previous one's task had not ended.
    skipped: u64,
    /// What it submits.
    task: TemplateDocument<'a>,
}

/// A fire that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Fire)]
struct LastDocument {
    /// The time it was for.
    at: UnixMs,
    /// The task.
    #[schema(format = Uuid)]
    task: String,
}

/// The task that a schedule submits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Template)]
struct TemplateDocument<'a> {
    /// Its type.
    #[serde(rename = "type")]
    task_type: &'a str,
    /// Whose it is.
    tenant: &'a str,
    /// How urgent it is, from 0 to 100.
    priority: u8,
    /// Text for the handler.
    metadata: BTreeMap<&'a str, &'a str>,
    /// Limits below the host's.
    limits: LimitsRequest,
    /// The input.
    payload: PayloadDocument<'a>,
    /// Its terms; `expires_at` and `deadline_at` count from the time of the fire.
    terms: &'a Terms,
}

impl<'a> ScheduleDocument<'a> {
    /// The document of a queue's schedule.
    #[must_use]
    pub fn new(queue: &'a QueueName, view: &'a ScheduleView) -> Self {
        let schedule = &view.schedule;
        let task = &schedule.task;
        Self {
            queue: queue.as_str(),
            name: &schedule.name,
            timing: &schedule.timing,
            exclusive: schedule.exclusive,
            missed: schedule.missed,
            origin: &schedule.origin,
            paused: view.paused,
            next: view.next,
            last: view.last.map(|last| LastDocument { at: last.at, task: last.task.to_string() }),
            fired: view.fired,
            skipped: view.skipped,
            task: TemplateDocument {
                task_type: task.task_type.as_str(),
                tenant: task.tenant.as_str(),
                priority: task.priority.level(),
                metadata: task.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
                limits: task.limits,
                payload: PayloadDocument::from(&task.payload),
                terms: &task.terms,
            },
        }
    }
}
