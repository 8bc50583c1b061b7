//! A task as a JSON document.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::{
    AttemptReport, Digest, Failure, FailureKind, LimitsRequest, LogLine, Metering, Outcome,
    Payload, PluginId, State, Task, TaskRef, Terms,
};
use bulkhead_queue::{CancelReason, Entry, Holder, Next, Progress, TaskView};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::asked::is_json;

/// A task and what happened to it. All times are Unix milliseconds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Task)]
pub struct TaskDocument<'a> {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    task_type: Option<&'a str>,
    /// Its queue.
    queue: &'a str,
    /// Where it is in its life.
    #[schema(value_type = State)]
    state: &'static str,
    /// Attempts started since it was submitted or last given fresh ones.
    attempts: u32,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Submitted<'_>)]
    task: Option<Submitted<'a>>,
    /// Why its record cannot be read, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    unreadable: Option<&'a str>,
    /// When a scheduled task is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    due_at: Option<u64>,
    /// When an ended task will be forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    kept_until: Option<u64>,
    /// What the running attempt last said of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    progress: Option<&'a Progress>,
    /// The tasks that a blocked one still waits for.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    waits_for: &'a [TaskRef],
    /// Who runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    lease: Option<&'a Holder>,
    /// Whether a running task was asked to stop.
    cancel_requested: bool,
    /// What the last attempt gave, if it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    output: Option<PayloadDocument<'a>>,
    /// Why the last attempt failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failure: Option<&'a Failure>,
    /// What happened to it, oldest first.
    history: Vec<EntryDocument<'a>>,
}

/// What was submitted; nothing of it is there if the record cannot be read.
#[derive(Debug, Serialize, ToSchema)]
struct Submitted<'a> {
    /// Whose it is.
    #[schema(required = false)]
    tenant: &'a str,
    /// How urgent it is, from 0 to 100.
    #[schema(required = false)]
    priority: u8,
    /// When it was submitted.
    #[schema(required = false)]
    submitted_at: u64,
    #[serde(flatten)]
    terms: &'a Terms,
    /// Text for the handler.
    #[serde(serialize_with = "as_map")]
    #[schema(value_type = std::collections::BTreeMap<String, String>, required = false)]
    metadata: &'a [(String, String)],
    /// Limits that it asked for.
    #[schema(required = false)]
    limits: LimitsRequest,
    /// The input.
    #[schema(required = false)]
    payload: PayloadDocument<'a>,
}

/// Bytes in the most readable of three forms: `json`, `text` or `base64`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Payload)]
pub struct PayloadDocument<'a> {
    /// Their media type.
    content_type: &'a str,
    /// How many they are.
    bytes: usize,
    /// The value, if they are JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value)]
    json: Option<&'a RawValue>,
    /// The text, if they are text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    text: Option<&'a str>,
    /// What they are, if they are neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    base64: Option<String>,
}

/// Something that happened to a task. What is there depends on `event`.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = HistoryEntry)]
struct EntryDocument<'a> {
    /// `ended`: an attempt ended. `lease_lost`: its host died, hung or was cut off. `cancelled`,
    /// `expired`: while no attempt ran. `parent`: a task that it waited for ended.
    /// `parent_failed`: one of those did not complete. `rerun`: it was given fresh attempts.
    event: &'static str,
    /// When, or when it was noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    at: Option<u64>,
    /// The task that took its place under its unique key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    replaced_by: Option<String>,
    /// The task that it waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parent: Option<String>,
    /// How that one ended; null if it was unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<State>)]
    state: Option<Option<&'static str>>,
    /// Its output, if it completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    output: Option<PayloadDocument<'a>>,
    /// What followed an attempt: `completed`, `dead_letter`, `cancelled` or `retry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<&'static str>,
    /// The attempt's number, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attempt: Option<u32>,
    /// When the host started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    started_at: Option<u64>,
    /// The host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    host: Option<&'a str>,
    /// The plugin that ran; null if none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    plugin: Option<Option<&'a str>>,
    /// sha256 of that plugin's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    digest: Option<Option<String>>,
    /// `done`, or the kind of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    outcome: Option<&'static str>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failure: Option<&'a Failure>,
    /// What it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    metering: Option<Metering>,
    /// What it logged. It is the guest's text: escape it before showing it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<LogLine>, required = false)]
    logs: Option<&'a [LogLine]>,
}

/// A task in a list: what it is and how it stands. All times are Unix milliseconds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaskSummary)]
pub struct SummaryDocument<'a> {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// Its queue.
    queue: &'a str,
    /// Where it is in its life.
    #[schema(value_type = State)]
    state: &'static str,
    /// Attempts started since it was submitted or last given fresh ones.
    attempts: u32,
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    task_type: Option<&'a str>,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tenant: Option<&'a str>,
    /// How urgent it is, from 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    priority: Option<u8>,
    /// When it was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    submitted_at: Option<u64>,
    /// Why its record cannot be read, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    unreadable: Option<&'a str>,
    /// When a scheduled task is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    due_at: Option<u64>,
    /// When an ended task will be forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    kept_until: Option<u64>,
    /// What the running attempt last said of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    progress: Option<&'a Progress>,
    /// The host that runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    host: Option<&'a str>,
    /// Whether a running task was asked to stop.
    cancel_requested: bool,
    /// When its last attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    started_at: Option<u64>,
    /// How long its last attempt took, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    wall_us: Option<u64>,
    /// How its last attempt failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failure: Option<FailureDocument<'a>>,
}

/// A failure in few words.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FailureSummary)]
struct FailureDocument<'a> {
    /// The class of the failure.
    #[schema(value_type = FailureKind)]
    kind: &'static str,
    /// What happened; at most 500 characters of it.
    message: &'a str,
}

impl<'a> From<&'a TaskView> for SummaryDocument<'a> {
    fn from(view: &'a TaskView) -> Self {
        let task = view.task.as_ref().ok();
        let report = view.last_report();
        Self {
            id: view.id.to_string(),
            queue: view.queue.as_str(),
            state: view.state.as_str(),
            attempts: view.attempts(),
            task_type: task.map(|task| task.task_type.as_str()),
            tenant: task.map(|task| task.tenant.as_str()),
            priority: task.map(|task| task.priority.level()),
            submitted_at: task.map(|task| task.submitted_at),
            unreadable: view.task.as_ref().err().map(|unreadable| unreadable.reason.as_str()),
            due_at: view.due_at,
            kept_until: view.kept_until,
            progress: view.progress.as_ref(),
            host: view
                .holder
                .as_ref()
                .map(|holder| holder.host.as_str())
                .or_else(|| report.map(|report| report.host.as_str())),
            cancel_requested: view.cancel_requested,
            started_at: report.map(|report| report.started_at),
            wall_us: report.map(|report| report.metering.wall_us),
            failure: report.and_then(|report| failure(&report.outcome)).map(|failure| {
                let end = failure.message.char_indices().nth(500);
                let message = &failure.message[..end.map_or(failure.message.len(), |(at, _)| at)];
                FailureDocument { kind: failure.kind.as_str(), message }
            }),
        }
    }
}

impl<'a> From<&'a TaskView> for TaskDocument<'a> {
    fn from(view: &'a TaskView) -> Self {
        let outcome = view.last_report().map(|report| &report.outcome);
        Self {
            id: view.id.to_string(),
            task_type: view.task.as_ref().ok().map(|task| task.task_type.as_str()),
            queue: view.queue.as_str(),
            state: view.state.as_str(),
            attempts: view.attempts(),
            task: view.task.as_ref().ok().map(Submitted::from),
            unreadable: view.task.as_ref().err().map(|unreadable| unreadable.reason.as_str()),
            due_at: view.due_at,
            kept_until: view.kept_until,
            progress: view.progress.as_ref(),
            waits_for: &view.waits_for,
            lease: view.holder.as_ref(),
            cancel_requested: view.cancel_requested,
            output: outcome.and_then(|outcome| match outcome {
                Outcome::Done(output) => Some(PayloadDocument::from(output)),
                Outcome::Failed(_) => None,
            }),
            failure: outcome.and_then(failure),
            history: view.history.iter().map(EntryDocument::from).collect(),
        }
    }
}

impl<'a> From<&'a Task> for Submitted<'a> {
    fn from(task: &'a Task) -> Self {
        Self {
            tenant: task.tenant.as_str(),
            priority: task.priority.level(),
            submitted_at: task.submitted_at,
            terms: &task.terms,
            metadata: &task.metadata,
            limits: task.limits,
            payload: PayloadDocument::from(&task.payload),
        }
    }
}

impl<'a> From<&'a Payload> for PayloadDocument<'a> {
    fn from(payload: &'a Payload) -> Self {
        let text = std::str::from_utf8(&payload.data).ok();
        let json = text
            .filter(|_| is_json(&payload.content_type))
            .and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
        Self {
            content_type: &payload.content_type,
            bytes: payload.data.len(),
            json,
            text: text.filter(|_| json.is_none()),
            base64: text.is_none().then(|| STANDARD.encode(&payload.data)),
        }
    }
}

impl<'a> From<&'a Entry> for EntryDocument<'a> {
    fn from(entry: &'a Entry) -> Self {
        let at = |event, at: u64| Self { event, at: Some(at), ..Self::default() };
        match entry {
            Entry::Ended(next, report) => Self::ended(*next, report),
            Entry::LeaseLost { at: when, host } => {
                Self { host: Some(host), ..at("lease_lost", *when) }
            }
            Entry::Cancelled { at: when, reason } => {
                let (replaced_by, parent) = match reason {
                    Some(CancelReason::ReplacedBy(id)) => (Some(id.to_string()), None),
                    Some(CancelReason::Parent(task)) => (None, Some(task.to_string())),
                    None => (None, None),
                };
                Self { replaced_by, parent, ..at("cancelled", *when) }
            }
            Entry::Expired { at: when } => at("expired", *when),
            Entry::Parent { parent, state, output } => Self {
                event: "parent",
                parent: Some(parent.to_string()),
                state: Some(state.map(State::as_str)),
                output: output.as_ref().map(PayloadDocument::from),
                ..Self::default()
            },
            Entry::ParentFailed { at: when, parent } => {
                Self { parent: Some(parent.to_string()), ..at("parent_failed", *when) }
            }
            Entry::Rerun { at: when } => at("rerun", *when),
        }
    }
}

impl<'a> EntryDocument<'a> {
    fn ended(next: Next, report: &'a AttemptReport) -> Self {
        let failure = failure(&report.outcome);
        let digest = (report.digest != Digest::default()).then(|| report.digest.to_string());
        Self {
            event: "ended",
            next: Some(next_name(next)),
            attempt: Some(report.attempt),
            started_at: Some(report.started_at),
            host: Some(&report.host),
            plugin: Some(report.plugin.as_ref().map(PluginId::as_str)),
            digest: Some(digest),
            outcome: Some(failure.map_or("done", |failure| failure.kind.as_str())),
            failure,
            metering: Some(report.metering),
            logs: Some(&report.logs),
            ..Self::default()
        }
    }
}

/// What followed an attempt, in words.
#[must_use]
pub fn next_name(next: Next) -> &'static str {
    match next {
        Next::Completed => "completed",
        Next::DeadLetter => "dead_letter",
        Next::Cancelled => "cancelled",
        Next::Retry => "retry",
    }
}

/// The failure of an outcome.
#[must_use]
pub fn failure(outcome: &Outcome) -> Option<&Failure> {
    match outcome {
        Outcome::Done(_) => None,
        Outcome::Failed(failure) => Some(failure),
    }
}

fn as_map<S: Serializer>(pairs: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs {
        map.serialize_entry(key, value)?;
    }
    map.end()
}
