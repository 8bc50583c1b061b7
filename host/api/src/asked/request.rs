//! A task as a JSON document: a line of JSON Lines, the body of a submission.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::quantity::{Moment, Size, Span};
use bulkhead_core::{
    Conflict, FailureKind, OnFailedParent, Payload, Priority, PriorityError, QueueName, TaskId,
    TaskType, TenantName, TermKey,
};
use bulkhead_queue::NewTask;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Asked, Defaults, Growth, Lasting, ParentArg, Retry, Start};

/// A task as a producer describes it. What is not said follows the defaults; a duration has its
/// unit (`"10s"`), a time its zone (`"2030-01-31T08:00:00Z"`), a size may have one (`"64 MiB"`).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest<'a> {
    /// Its type, which says which handler runs it.
    #[serde(rename = "type")]
    #[schema(example = "echo")]
    task_type: Option<TaskType>,
    /// The input. A string is text unless `content_type` says that it is JSON; any other
    /// value is JSON as it is written.
    #[serde(borrow, default, deserialize_with = "given")]
    #[schema(value_type = serde_json::Value)]
    payload: Option<&'a RawValue>,
    /// The input in base64, in place of `payload`.
    payload_base64: Option<String>,
    /// The input's media type.
    #[schema(example = "application/json")]
    content_type: Option<String>,
    /// Its id; a task whose id is known is not submitted again. Without it one is drawn.
    id: Option<TaskId>,
    /// Its queue, `default` without it.
    queue: Option<QueueName>,
    /// Whose it is, `default` without it.
    tenant: Option<TenantName>,
    /// `low`, `normal`, `high`, `critical`, or a number from 0 to 100.
    priority: Option<PriorityAsked>,
    /// Text for the handler.
    metadata: Option<BTreeMap<String, String>>,
    /// Limits below the host's.
    #[serde(default)]
    limits: LimitsAsked,
    /// Start no sooner than this long from now.
    delay: Option<Span>,
    /// Start no sooner than this time.
    at: Option<Moment>,
    /// Expire if no attempt has started within this time.
    expires_in: Option<Span>,
    /// Expire if no attempt has started by this time.
    expires_at: Option<Moment>,
    /// End every attempt within this time, and plan no retry beyond it.
    deadline_in: Option<Span>,
    /// End every attempt by this time, and plan no retry beyond it.
    deadline_at: Option<Moment>,
    /// Key under which the queue's policy may bound rate and concurrency.
    key: Option<TermKey>,
    /// At most one task of this key.
    unique: Option<TermKey>,
    /// At most one task of this type and payload.
    #[serde(default)]
    unique_payload: bool,
    /// How long the unique key is taken; until the task has ended without it.
    unique_for: Option<Span>,
    /// What becomes of the task if its unique key is taken: it is rejected, the existing one
    /// stands in its stead, or it replaces that one if it has not started.
    on_conflict: Option<Conflict>,
    /// Tasks that must end first, as `queue/id` or as the id of one of the same queue.
    #[schema(value_type = Option<Vec<String>>)]
    after: Option<Vec<ParentArg>>,
    /// What becomes of it if one of those does not complete.
    on_failed_parent: Option<OnFailedParent>,
    /// How long it is kept when it has ended.
    retention: Option<Span>,
    /// Attempts in all.
    max_attempts: Option<u32>,
    /// No retry starts later than this after the submission.
    max_age: Option<Span>,
    /// How the wait between attempts grows.
    backoff: Option<Growth>,
    /// The first wait.
    retry_delay: Option<Span>,
    /// What each further attempt adds, with `linear`.
    retry_step: Option<Span>,
    /// What each further attempt multiplies by, with `exponential`.
    retry_multiplier: Option<f64>,
    /// The longest wait.
    retry_max_delay: Option<Span>,
    /// The waits one by one; the last one repeats.
    retry_delays: Option<Vec<Span>>,
    /// The share of a wait that chance may add or take, from 0 to 1.
    retry_jitter: Option<f64>,
    /// The failures that are tried again.
    retry_on: Option<Vec<FailureKind>>,
}

/// A payload of `null` is a payload.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// A priority by its name or as a number from 0 to 100.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PriorityAsked {
    /// A number from 0 to 100.
    Number(u8),
    /// `low`, `normal`, `high` or `critical`.
    Name(String),
}

/// Limits of one attempt below the host's; what is not said is the host's or the plugin's.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsAsked {
    /// Instructions, about one for each that is executed.
    fuel: Option<u64>,
    /// Memory, such as `"32 MiB"` or a number of bytes.
    memory: Option<Size>,
    /// Wall time, such as `"5s"`.
    wall: Option<Span>,
    /// Size of the output.
    result: Option<Size>,
    /// Size of the log that is kept.
    log: Option<Size>,
}

impl TaskRequest<'_> {
    /// The task that it describes, completed by the defaults.
    pub fn task(self, defaults: &Defaults<'_>) -> Result<NewTask, String> {
        let asked = self.asked()?;
        let task_type = self.task_type.as_ref().or(defaults.task_type).cloned();
        let task_type = task_type
            .ok_or("it has no `type`; add one, or name one for all lines: submit TYPE --jsonl")?;
        let content_type = self.content_type.as_deref().or(defaults.content_type);
        let payload = payload(self.payload, self.payload_base64.as_deref(), content_type)?;
        let queue = self.queue.as_ref().unwrap_or(defaults.queue);
        let mut new = defaults.manner.task(queue, task_type, payload);
        new.id = self.id;
        new.tenant = self.tenant.unwrap_or(new.tenant);
        match self.priority {
            Some(PriorityAsked::Number(level)) => {
                new.priority = Priority::try_from(level).map_err(|e| e.to_string())?;
            }
            Some(PriorityAsked::Name(name)) => {
                new.priority = name.parse().map_err(|e: PriorityError| e.to_string())?;
            }
            None => {}
        }
        if let Some(metadata) = self.metadata {
            new.metadata.retain(|(key, _)| !metadata.contains_key(key));
            new.metadata.extend(metadata);
        }
        let limits = &mut new.limits;
        limits.fuel = self.limits.fuel.or(limits.fuel);
        limits.memory_bytes = self.limits.memory.map(|size| size.0).or(limits.memory_bytes);
        limits.wall_ms = self.limits.wall.map(Span::as_ms).or(limits.wall_ms);
        limits.result_bytes = self.limits.result.map(|size| size.0).or(limits.result_bytes);
        limits.log_bytes = self.limits.log.map(|size| size.0).or(limits.log_bytes);
        asked.over(defaults.asked).fill(&mut new, defaults.now)?;
        if (self.unique_for.is_some() || self.on_conflict.is_some()) && new.terms.unique.is_none() {
            return Err("`unique_for` and `on_conflict` say something of a unique key; add \
                        `unique` or `unique_payload`"
                .into());
        }
        Ok(new)
    }

    /// What of it makes sense only for a task that is submitted now.
    pub(super) fn only_now(&self) -> Option<&'static str> {
        [
            (self.id.is_some(), "id"),
            (self.queue.is_some(), "queue"),
            (self.delay.is_some(), "delay"),
            (self.at.is_some(), "at"),
            (self.expires_at.is_some(), "expires_at"),
            (self.deadline_at.is_some(), "deadline_at"),
            (self.after.is_some(), "after"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }

    /// What it asks itself.
    fn asked(&self) -> Result<Asked, String> {
        for (both, names) in [
            (self.delay.is_some() && self.at.is_some(), "`delay` and `at`"),
            (
                self.expires_in.is_some() && self.expires_at.is_some(),
                "`expires_in` and `expires_at`",
            ),
            (
                self.deadline_in.is_some() && self.deadline_at.is_some(),
                "`deadline_in` and `deadline_at`",
            ),
            (self.unique.is_some() && self.unique_payload, "`unique` and `unique_payload`"),
        ] {
            if both {
                return Err(format!("it has both {names}; keep one"));
            }
        }
        Ok(Asked {
            start: Start {
                delay: self.delay,
                at: self.at,
                expires_at: self.expires_at,
                deadline_at: self.deadline_at,
                after: self.after.clone(),
                on_failed_parent: self.on_failed_parent,
            },
            lasting: Lasting {
                expires_in: self.expires_in,
                deadline_in: self.deadline_in,
                key: self.key.clone(),
                unique: self.unique.clone(),
                unique_payload: self.unique_payload,
                unique_for: self.unique_for,
                on_conflict: self.on_conflict,
                retention: self.retention,
                retry: Retry {
                    max_attempts: self.max_attempts,
                    max_age: self.max_age,
                    backoff: self.backoff,
                    retry_delay: self.retry_delay,
                    retry_step: self.retry_step,
                    retry_multiplier: self.retry_multiplier,
                    retry_max_delay: self.retry_max_delay,
                    retry_delays: self.retry_delays.clone(),
                    retry_jitter: self.retry_jitter,
                    retry_on: self.retry_on.clone(),
                },
            },
        })
    }
}

/// Whether a media type is JSON or built on it.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(Payload::JSON) || essence.to_ascii_lowercase().ends_with("+json")
}

/// The payload of a document: JSON, or base64. A string is text unless the document says that it
/// is JSON; any other JSON stays as written.
pub fn payload(
    json: Option<&RawValue>,
    base64: Option<&str>,
    content_type: Option<&str>,
) -> Result<Payload, String> {
    match (json, base64) {
        (Some(_), Some(_)) => Err("it has both `payload` and `payload_base64`; keep one".into()),
        (None, None) => Err("it has neither `payload` nor `payload_base64`".into()),
        (None, Some(base64)) => {
            let data = STANDARD
                .decode(base64)
                .map_err(|e| format!("`payload_base64` is not base64: {e}"))?;
            Ok(Payload::new(content_type.unwrap_or(Payload::BINARY), data))
        }
        (Some(json), None) => {
            let keeps_json = content_type.is_some_and(is_json);
            match serde_json::from_str::<String>(json.get()) {
                Ok(text) if !keeps_json => {
                    Ok(Payload::new(content_type.unwrap_or(Payload::TEXT), text))
                }
                _ => Ok(Payload::new(content_type.unwrap_or(Payload::JSON), json.get())),
            }
        }
    }
}
