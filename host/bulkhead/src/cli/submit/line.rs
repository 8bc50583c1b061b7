//! One line of JSON Lines: a task as JSON.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead::config::quantity::{Size, Span};
use bulkhead::core::{
    Conflict, FailureKind, OnFailedParent, Payload, Priority, PriorityError, QueueName, TaskId,
    TaskType, TenantName, TermKey,
};
use bulkhead::queue::NewTask;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Defaults;
use crate::cli::asked::{Asked, Growth, Lasting, Moment, ParentArg, Retry, Start};
use crate::cli::document::is_json;
use crate::cli::figures;

/// One line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line<'a> {
    #[serde(rename = "type")]
    task_type: Option<TaskType>,
    #[serde(borrow, default, deserialize_with = "given")]
    payload: Option<&'a RawValue>,
    payload_base64: Option<String>,
    content_type: Option<String>,
    id: Option<TaskId>,
    queue: Option<QueueName>,
    tenant: Option<TenantName>,
    priority: Option<LinePriority>,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    limits: LineLimits,
    delay: Option<Span>,
    at: Option<Moment>,
    expires_in: Option<Span>,
    expires_at: Option<Moment>,
    deadline_in: Option<Span>,
    deadline_at: Option<Moment>,
    key: Option<TermKey>,
    unique: Option<TermKey>,
    #[serde(default)]
    unique_payload: bool,
    unique_for: Option<Span>,
    on_conflict: Option<Conflict>,
    after: Option<Vec<ParentArg>>,
    on_failed_parent: Option<OnFailedParent>,
    retention: Option<Span>,
    max_attempts: Option<u32>,
    max_age: Option<Span>,
    backoff: Option<Growth>,
    retry_delay: Option<Span>,
    retry_step: Option<Span>,
    retry_multiplier: Option<f64>,
    retry_max_delay: Option<Span>,
    retry_delays: Option<Vec<Span>>,
    retry_jitter: Option<f64>,
    retry_on: Option<Vec<FailureKind>>,
}

/// A payload of `null` is a payload.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// A level's name or number.
#[derive(Deserialize)]
#[serde(untagged)]
enum LinePriority {
    Number(u8),
    Name(String),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LineLimits {
    fuel: Option<u64>,
    memory: Option<Size>,
    wall: Option<Span>,
    result: Option<Size>,
    log: Option<Size>,
}

impl Line<'_> {
    /// The task that it describes, completed by the defaults.
    pub(crate) fn task(self, defaults: &Defaults<'_>) -> Result<NewTask, String> {
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
            Some(LinePriority::Number(level)) => {
                new.priority = Priority::try_from(level).map_err(|e| e.to_string())?;
            }
            Some(LinePriority::Name(name)) => {
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
        asked.over(defaults.asked).fill(&mut new, figures::now())?;
        if (self.unique_for.is_some() || self.on_conflict.is_some()) && new.terms.unique.is_none() {
            return Err("`unique_for` and `on_conflict` say something of a unique key; add \
                        `unique` or `unique_payload`"
                .into());
        }
        Ok(new)
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

/// A string is text unless the line says what it is; any other JSON stays as written.
fn payload(
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
