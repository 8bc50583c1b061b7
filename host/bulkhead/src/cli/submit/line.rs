//! One line of JSON Lines: a task as JSON.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead::config::quantity::{Size, Span};
use bulkhead::core::{Payload, Priority, PriorityError, QueueName, TaskId, TaskType, TenantName};
use bulkhead::queue::NewTask;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::cli::document::is_json;
use crate::cli::figures;

/// One line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line<'a> {
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
    delay: Option<Span>,
    at: Option<String>,
    max_attempts: Option<u32>,
    retention: Option<Span>,
    #[serde(default)]
    limits: LineLimits,
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
    /// The task's type: the line's own, else the flags'.
    pub(super) fn task_type(&self, fallback: Option<&TaskType>) -> Result<TaskType, String> {
        self.task_type.as_ref().or(fallback).cloned().ok_or_else(|| {
            "it has no `type`; add one, or name one for all lines: submit TYPE --jsonl".into()
        })
    }

    /// The line's own queue.
    pub(super) fn queue(&self) -> Option<&QueueName> {
        self.queue.as_ref()
    }

    /// Put what the line says in place of what the flags said.
    pub(super) fn fill(self, new: &mut NewTask, content_type: Option<&str>) -> Result<(), String> {
        let content_type = self.content_type.as_deref().or(content_type);
        new.payload = payload(self.payload, self.payload_base64.as_deref(), content_type)?;
        new.id = self.id;
        new.queue = self.queue.unwrap_or(new.queue.clone());
        new.tenant = self.tenant.unwrap_or(new.tenant.clone());
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
        new.terms.not_before = match (self.delay, self.at) {
            (Some(_), Some(_)) => return Err("it has both `delay` and `at`; keep one".into()),
            (Some(delay), None) => Some(figures::now().saturating_add(delay.as_ms())),
            (None, Some(at)) => Some(time(&at)?),
            (None, None) => new.terms.not_before,
        };
        if let Some(max_attempts) = self.max_attempts {
            new.terms.retry.get_or_insert_default().max_attempts = Some(max_attempts);
        }
        new.terms.retention_ms = self.retention.map(Span::as_ms).or(new.terms.retention_ms);
        let limits = &mut new.limits;
        limits.fuel = self.limits.fuel.or(limits.fuel);
        limits.memory_bytes = self.limits.memory.map(|size| size.0).or(limits.memory_bytes);
        limits.wall_ms = self.limits.wall.map(Span::as_ms).or(limits.wall_ms);
        limits.result_bytes = self.limits.result.map(|size| size.0).or(limits.result_bytes);
        limits.log_bytes = self.limits.log.map(|size| size.0).or(limits.log_bytes);
        Ok(())
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

fn time(text: &str) -> Result<u64, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        format!("`at` is `{}`; write RFC 3339, such as 2030-01-31T08:00:00Z", text.escape_debug())
    })?;
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}
