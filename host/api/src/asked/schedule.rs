//! A schedule as a JSON document.

use bulkhead_core::quantity::{Moment, Span};
use bulkhead_core::{Missed, QueueName, Schedule, Template, TenantName, Timing};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Asked, Defaults, Manner, TaskRequest};

/// A schedule as its owner describes it: one of `cron`, `every` and `at`, and a task.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest<'a> {
    /// A cron expression of five fields, or six with seconds first.
    #[schema(example = "0 3 * * *")]
    cron: Option<String>,
    /// The IANA time zone of the cron expression; UTC without it.
    zone: Option<String>,
    /// Again and again after this time, from 1s to 366d.
    every: Option<Span>,
    /// Delay each of these fires by up to this time.
    jitter: Option<Span>,
    /// The first of these fires; the others are counted from it.
    start: Option<Moment>,
    /// Once, at this time.
    at: Option<Moment>,
    /// Skip a fire while the previous one's task has not ended.
    #[serde(default)]
    exclusive: bool,
    /// What becomes of fires that no host was there for.
    #[serde(default)]
    missed: Missed,
    /// What it submits. Its durations count from the time of the fire; what makes sense only for
    /// a task that is submitted now has no place here (`id`, `queue`, `delay`, `at`,
    /// `expires_at`, `deadline_at`, `after`).
    #[serde(borrow)]
    task: TaskRequest<'a>,
}

impl ScheduleRequest<'_> {
    /// The schedule of this name. Its tasks are of `tenant` unless they say otherwise.
    pub fn schedule(self, name: String, tenant: Option<&TenantName>) -> Result<Schedule, String> {
        let timing = self.timing()?;
        if let Some(misplaced) = self.task.only_now() {
            return Err(format!("`{misplaced}` has no place in the task of a schedule"));
        }
        let manner = Manner::of(tenant.cloned().unwrap_or_default());
        let task = self.task.task(&Defaults {
            task_type: None,
            queue: &QueueName::default(),
            content_type: None,
            manner: &manner,
            asked: &Asked::default(),
            // Durations stay as they are: each fire counts them from its own time.
            now: 0,
        })?;
        Ok(Schedule {
            name,
            timing,
            exclusive: self.exclusive,
            missed: self.missed,
            task: Template {
                task_type: task.task_type,
                tenant: task.tenant,
                priority: task.priority,
                payload: task.payload,
                metadata: task.metadata,
                limits: task.limits,
                terms: task.terms,
            },
            origin: "api".into(),
        })
    }

    fn timing(&self) -> Result<Timing, String> {
        let ways = [self.cron.is_some(), self.every.is_some(), self.at.is_some()];
        if ways.into_iter().filter(|given| *given).count() != 1 {
            return Err("say when by exactly one of `cron`, `every` and `at`".into());
        }
        if self.zone.is_some() && self.cron.is_none() {
            return Err("`zone` is of a `cron` expression".into());
        }
        if (self.jitter.is_some() || self.start.is_some()) && self.every.is_none() {
            return Err("`jitter` and `start` are of `every`".into());
        }
        if let Some(expression) = &self.cron {
            let zone = self.zone.clone().unwrap_or_else(|| "UTC".into());
            return Ok(Timing::Cron { expression: expression.clone(), zone });
        }
        Ok(match (self.every, self.at) {
            (Some(every), _) => Timing::Every {
                interval_ms: every.as_ms(),
                jitter_ms: self.jitter.map_or(0, Span::as_ms),
                start: self.start.map_or(0, |start| start.0),
            },
            (None, at) => Timing::Once { at: at.map_or(0, |at| at.0) },
        })
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_core::Payload;

    use super::*;

    fn schedule(text: &str) -> Result<Schedule, String> {
        let request: ScheduleRequest<'_> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let schedule = request.schedule("nightly".into(), None)?;
        schedule.check().map(|()| schedule).map_err(|error| error.to_string())
    }

    #[test]
    fn a_document_becomes_a_schedule() {
        let cron = schedule(
            r#"{"cron": "0 3 * * *", "zone": "Europe/Berlin", "missed": {"all": {"at_most": 3}},
                "task": {"type": "report", "payload": {}, "expires_in": "10m", "tenant": "acme"}}"#,
        )
        .unwrap();
        let timing = Timing::Cron { expression: "0 3 * * *".into(), zone: "Europe/Berlin".into() };
        assert_eq!((cron.timing, cron.missed), (timing, Missed::All { at_most: 3 }));
        assert_eq!(cron.task.payload, Payload::new(Payload::JSON, "{}"));
        assert_eq!(cron.task.terms.expires_at, Some(600_000));
        assert_eq!((cron.task.tenant.as_str(), cron.origin.as_str()), ("acme", "api"));
        let once =
            schedule(r#"{"at": "2030-01-01T00:00:00Z", "task": {"type": "t", "payload": 1}}"#);
        assert_eq!(once.unwrap().timing, Timing::Once { at: 1_893_456_000_000 });
    }

    #[test]
    fn what_makes_no_schedule_is_refused() {
        let task = r#""task": {"type": "t", "payload": 1}"#;
        for (text, says) in [
            (format!("{{{task}}}"), "exactly one"),
            (format!(r#"{{"every": "5m", "at": "2030-01-01T00:00:00Z", {task}}}"#), "exactly one"),
            (format!(r#"{{"every": "5m", "zone": "UTC", {task}}}"#), "`zone`"),
            (format!(r#"{{"cron": "0 3 * * *", "jitter": "1s", {task}}}"#), "`jitter`"),
            (format!(r#"{{"cron": "0 3 * *", {task}}}"#), "4 fields"),
            (
                r#"{"every": "5m", "task": {"type": "t", "payload": 1, "delay": "1s"}}"#.to_owned(),
                "`delay` has no place",
            ),
            (r#"{"every": "5m"}"#.to_owned(), "task"),
        ] {
            let error = schedule(&text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
