//! A task as a JSON document. Its field names are stable; times are Unix milliseconds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead::core::{
    AttemptReport, Digest, Failure, LimitsRequest, LogLine, Metering, Outcome, Payload, PluginId,
    State, Task, TaskRef, Terms,
};
use bulkhead::queue::{CancelReason, Entry, Holder, Next, Progress, TaskView};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A task.
#[derive(Serialize)]
pub(crate) struct TaskDocument<'a> {
    id: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    task_type: Option<&'a str>,
    queue: &'a str,
    state: &'static str,
    attempts: u32,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    task: Option<Submitted<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<&'a Progress>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    waits_for: &'a [TaskRef],
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<&'a Holder>,
    cancel_requested: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<PayloadDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a Failure>,
    history: Vec<EntryDocument<'a>>,
}

#[derive(Serialize)]
struct Submitted<'a> {
    tenant: &'a str,
    priority: u8,
    submitted_at: u64,
    #[serde(flatten)]
    terms: &'a Terms,
    #[serde(serialize_with = "as_map")]
    metadata: &'a [(String, String)],
    limits: LimitsRequest,
    payload: PayloadDocument<'a>,
}

/// Bytes in the most readable of three forms.
#[derive(Serialize)]
pub(crate) struct PayloadDocument<'a> {
    content_type: &'a str,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum EntryDocument<'a> {
    Ended(AttemptDocument<'a>),
    LeaseLost {
        at: u64,
        host: &'a str,
    },
    Cancelled {
        at: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        replaced_by: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<String>,
    },
    Expired {
        at: u64,
    },
    Parent {
        parent: String,
        state: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<PayloadDocument<'a>>,
    },
    ParentFailed {
        at: u64,
        parent: String,
    },
    Rerun {
        at: u64,
    },
}

#[derive(Serialize)]
struct AttemptDocument<'a> {
    next: &'static str,
    attempt: u32,
    started_at: u64,
    host: &'a str,
    plugin: Option<&'a str>,
    digest: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a Failure>,
    metering: Metering,
    logs: &'a [LogLine],
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
        match entry {
            Entry::Ended(next, report) => Self::Ended(AttemptDocument::new(*next, report)),
            Entry::LeaseLost { at, host } => Self::LeaseLost { at: *at, host },
            Entry::Cancelled { at, reason } => {
                let (replaced_by, parent) = match reason {
                    Some(CancelReason::ReplacedBy(id)) => (Some(id.to_string()), None),
                    Some(CancelReason::Parent(task)) => (None, Some(task.to_string())),
                    None => (None, None),
                };
                Self::Cancelled { at: *at, replaced_by, parent }
            }
            Entry::Expired { at } => Self::Expired { at: *at },
            Entry::Parent { parent, state, output } => Self::Parent {
                parent: parent.to_string(),
                state: state.map(State::as_str),
                output: output.as_ref().map(PayloadDocument::from),
            },
            Entry::ParentFailed { at, parent } => {
                Self::ParentFailed { at: *at, parent: parent.to_string() }
            }
            Entry::Rerun { at } => Self::Rerun { at: *at },
        }
    }
}

impl<'a> AttemptDocument<'a> {
    fn new(next: Next, report: &'a AttemptReport) -> Self {
        let failure = failure(&report.outcome);
        Self {
            next: next_name(next),
            attempt: report.attempt,
            started_at: report.started_at,
            host: &report.host,
            plugin: report.plugin.as_ref().map(PluginId::as_str),
            digest: (report.digest != Digest::default()).then(|| report.digest.to_string()),
            outcome: failure.map_or("done", |failure| failure.kind.as_str()),
            failure,
            metering: report.metering,
            logs: &report.logs,
        }
    }
}

/// What followed an attempt, in words.
pub(crate) fn next_name(next: Next) -> &'static str {
    match next {
        Next::Completed => "completed",
        Next::DeadLetter => "dead_letter",
        Next::Cancelled => "cancelled",
        Next::Retry => "retry",
    }
}

/// The failure of an outcome.
pub(crate) fn failure(outcome: &Outcome) -> Option<&Failure> {
    match outcome {
        Outcome::Done(_) => None,
        Outcome::Failed(failure) => Some(failure),
    }
}

/// Whether a media type is JSON or built on it.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(Payload::JSON) || essence.to_ascii_lowercase().ends_with("+json")
}

fn as_map<S: Serializer>(pairs: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs {
        map.serialize_entry(key, value)?;
    }
    map.end()
}
