//! Schedules: when they fire and what they submit.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bulkhead_core::{
    LimitsRequest, Missed, Payload, Priority, QueueName, Schedule, TaskType, Template, TenantName,
    TermKey, Terms, Timing, TimingError, UnixMs,
};
use bulkhead_queue::SubmitLimits;

use super::{Check, DAY};
use crate::config::quantity::{Size, Span};
use crate::config::raw::{RawAskedLimits, RawSchedule};
use crate::options::QueueSchedule;

/// Most schedules of one configuration.
const MAX_SCHEDULES: usize = 1_000;

impl Check<'_> {
    pub(super) fn schedules(
        &mut self,
        raw: &BTreeMap<String, RawSchedule>,
        submit: &SubmitLimits,
    ) -> Vec<QueueSchedule> {
        if raw.len() > MAX_SCHEDULES {
            let message = format!("{} schedules are over {MAX_SCHEDULES}", raw.len());
            self.problem(&["schedules"], message);
        }
        raw.iter().filter_map(|(name, raw)| self.schedule(name, raw, submit)).collect()
    }

    fn schedule(
        &mut self,
        name: &str,
        raw: &RawSchedule,
        submit: &SubmitLimits,
    ) -> Option<QueueSchedule> {
        let at = ["schedules", name];
        let of = |key| ["schedules", name, key];
        let queue = self.or_default::<QueueName>(&of("queue"), &raw.queue);
        let task_type = match &raw.task_type {
            Some(task_type) => self.parsed::<TaskType>(&of("type"), task_type),
            None => {
                self.problem(&at, "it has no `type`; name the task type that it submits");
                None
            }
        };
        let tenant = self.or_default::<TenantName>(&of("tenant"), &raw.tenant);
        let priority = self.or_default::<Priority>(&of("priority"), &raw.priority);
        let missed = self.or_default::<Missed>(&of("missed"), &raw.missed);
        let payload = self.payload(name, raw, submit);
        let limits = self.asked_limits(name, &raw.limits);
        let terms = self.terms(name, raw);
        let timing = self.timing(name, raw);
        if let Err(error) = timing.as_ref().map_or(Ok(()), Timing::check) {
            self.problem(&of(wrong_key(&error)), error);
            return None;
        }
        let schedule = Schedule {
            name: name.to_owned(),
            timing: timing?,
            exclusive: raw.exclusive.unwrap_or(false),
            missed: missed?,
            task: Template {
                task_type: task_type?,
                tenant: tenant?,
                priority: priority?,
                payload: payload?,
                metadata: raw.metadata.clone().into_iter().collect(),
                limits,
                terms,
            },
            origin: Schedule::FROM_CONFIG.to_owned(),
        };
        schedule.check().map_err(|error| self.problem(&at, error)).ok()?;
        Some(QueueSchedule { queue: queue?, schedule })
    }

    /// When it fires: exactly one of `cron`, `every` and `at`, with what belongs to it.
    fn timing(&mut self, name: &str, raw: &RawSchedule) -> Option<Timing> {
        let of = |key| ["schedules", name, key];
        let ways = [raw.cron.is_some(), raw.every.is_some(), raw.at.is_some()];
        if ways.iter().filter(|given| **given).count() != 1 {
            let message = "it has to say when it fires with one of `cron`, `every` and `at`";
            self.problem(&["schedules", name], message);
            return None;
        }
        let belongs = [
            ("zone", raw.zone.is_some(), "cron", raw.cron.is_some()),
            ("jitter", raw.jitter.is_some(), "every", raw.every.is_some()),
            ("start", raw.start.is_some(), "every", raw.every.is_some()),
        ];
        for (key, _, to, _) in belongs.into_iter().filter(|(_, given, _, fits)| *given && !fits) {
            self.problem(&of(key), format!("this belongs to `{to}`, which is not there"));
        }
        if let Some(cron) = &raw.cron {
            let zone = raw.zone.as_deref().unwrap_or("UTC");
            return Some(Timing::Cron { expression: cron.clone(), zone: zone.to_owned() });
        }
        if let Some(every) = raw.every {
            let start = raw.start.as_ref().map_or(Some(0), |text| self.time(&of("start"), text))?;
            let jitter_ms = raw.jitter.map_or(0, Span::as_ms);
            return Some(Timing::Every { interval_ms: every.as_ms(), jitter_ms, start });
        }
        let at = self.time(&of("at"), raw.at.as_deref()?)?;
        Some(Timing::Once { at })
    }

    fn time(&mut self, path: &[&str], text: &str) -> Option<UnixMs> {
        let parsed: Result<jiff::Timestamp, _> = text.trim().parse();
        let time = parsed.ok().and_then(|time| UnixMs::try_from(time.as_millisecond()).ok());
        if time.is_none() {
            let message = format!(
                "`{}` is no time; write one such as 2026-12-24T18:00:00+01:00 or \
                 2026-12-24T17:00:00Z",
                text.escape_debug()
            );
            self.problem(path, message);
        }
        time
    }

    fn terms(&mut self, name: &str, raw: &RawSchedule) -> Terms {
        let of = |key| ["schedules", name, key];
        let long = Duration::from_secs(1)..=366 * DAY;
        let mut ms = |key, span: Option<Span>, from: Duration| {
            let to = from..=*long.end();
            span.map(|span| Span(self.span(&of(key), span, to)).as_ms())
        };
        let retention_ms = ms("retention", raw.retention, Duration::ZERO);
        let expires_at = ms("expires", raw.expires, *long.start());
        let deadline_at = ms("deadline", raw.deadline, *long.start());
        let retry = self.retry(&of("retry"), &raw.retry);
        let key = raw.key.as_ref().and_then(|key| self.parsed::<TermKey>(&of("key"), key));
        Terms {
            retry: (retry != Default::default()).then_some(retry),
            retention_ms,
            // Counted from the fire.
            expires_at,
            deadline_at,
            key,
            ..Terms::default()
        }
    }

    fn asked_limits(&mut self, name: &str, raw: &RawAskedLimits) -> LimitsRequest {
        let of = |key| ["schedules", name, "limits", key];
        if let Some(wall) = raw.wall {
            self.span(&of("wall"), wall, Duration::from_millis(1)..=DAY);
        }
        LimitsRequest {
            fuel: raw.fuel,
            memory_bytes: raw.memory.map(|size| size.0),
            wall_ms: raw.wall.map(Span::as_ms),
            result_bytes: raw.result.map(|size| size.0),
            log_bytes: raw.log.map(|size| size.0),
        }
    }

    /// The payload: text, a value as JSON, or a file's bytes; empty if nothing is said.
    fn payload(&mut self, name: &str, raw: &RawSchedule, submit: &SubmitLimits) -> Option<Payload> {
        let at = ["schedules", name];
        let ways = [raw.payload.is_some(), raw.json.is_some(), raw.file.is_some()];
        if ways.iter().filter(|given| **given).count() > 1 {
            self.problem(&at, "it has more than one of `payload`, `json` and `file`");
            return None;
        }
        let (guessed, data) = if let Some(text) = &raw.payload {
            (Payload::TEXT.to_owned(), text.clone().into_bytes())
        } else if let Some(value) = &raw.json {
            (Payload::JSON.to_owned(), value.to_string().into_bytes())
        } else if let Some(file) = &raw.file {
            let key = ["schedules", name, "file"];
            let path = self.path(&key, file);
            (by_extension(&path), self.bytes_of(&key, &path, submit.payload_bytes)?)
        } else {
            Default::default()
        };
        if data.len() > submit.payload_bytes {
            let (is, may) = (Size(data.len() as u64), Size(submit.payload_bytes as u64));
            self.problem(&at, format!("its payload has {is}; `submit.payload_bytes` is {may}"));
            return None;
        }
        let metadata: usize = raw.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        let content_type = raw.content_type.clone().unwrap_or(guessed);
        if metadata > submit.metadata_bytes || content_type.len() > 256 {
            let message = "its metadata is over `submit.metadata_bytes`, or its content type over \
                           256 bytes";
            self.problem(&at, message);
        }
        Some(Payload { content_type, data })
    }

    fn bytes_of(&mut self, key: &[&str], path: &Path, most: usize) -> Option<Vec<u8>> {
        let shown = path.display().to_string();
        let read = std::fs::metadata(path).and_then(|about| {
            // A large file is refused before it is read.
            if about.len() > most as u64 { Ok(None) } else { std::fs::read(path).map(Some) }
        });
        match read {
            Ok(Some(bytes)) => Some(bytes),
            Ok(None) => {
                let may = Size(most as u64);
                let message = format!(
                    "`{}` is larger than `submit.payload_bytes`, which is {may}",
                    shown.escape_debug()
                );
                self.problem(key, message);
                None
            }
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", shown.escape_debug());
                self.problem(key, message);
                None
            }
        }
    }

    fn or_default<T>(&mut self, path: &[&str], text: &Option<String>) -> Option<T>
    where
        T: Default + std::str::FromStr<Err: std::fmt::Display>,
    {
        text.as_ref().map_or_else(|| Some(T::default()), |text| self.parsed(path, text))
    }
}

/// The key under which a timing's mistake was written.
fn wrong_key(error: &TimingError) -> &'static str {
    match error {
        TimingError::Zone { .. } => "zone",
        TimingError::Interval { .. } => "every",
        TimingError::Jitter { .. } => "jitter",
        TimingError::Time { .. } => "at",
        TimingError::Missed { .. } => "missed",
        _ => "cron",
    }
}

/// The media type of a file by its extension.
fn by_extension(path: &Path) -> String {
    let guess = mime_guess::from_path(path).first();
    guess.map_or_else(
        || Payload::BINARY.to_owned(),
        |guess| match guess.type_() {
            mime_guess::mime::TEXT => format!("{}; charset=utf-8", guess.essence_str()),
            _ => guess.essence_str().to_owned(),
        },
    )
}
