//! Defining a schedule by flags.

use anyhow::Result;
use bulkhead::config::quantity::{Moment, Span};
use bulkhead::core::{Missed, Payload, QueueName, Schedule, TaskType, Template, Timing};
use bulkhead_api::asked::{Lasting, Manner};
use clap::Args;

use super::Changed;
use crate::cli::asked::Content;
use crate::cli::exit::{Exit, usage};
use crate::cli::session::Session;

/// Define a schedule, or define a known one anew
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("when").required(true))]
pub(crate) struct Put {
    /// Name of the schedule, unique in its queue
    name: String,
    /// Task type of what it submits
    #[arg(value_name = "TYPE")]
    task_type: TaskType,
    /// Queue of the schedule and its tasks
    #[arg(long, value_name = "NAME", default_value = "default")]
    queue: QueueName,
    /// By a cron expression of five fields, or six with seconds first
    #[arg(long, value_name = "EXPR", group = "when", help_heading = "When")]
    cron: Option<String>,
    /// The IANA time zone of the cron expression, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", conflicts_with_all = ["every", "at"],
        help_heading = "When")]
    zone: Option<String>,
    /// Again and again after this time, from 1s to 366d
    #[arg(long, value_name = "DURATION", group = "when", help_heading = "When")]
    every: Option<Span>,
    /// Delay each of these fires by up to this time
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["cron", "at"],
        help_heading = "When")]
    jitter: Option<Span>,
    /// The first of these fires; the others are counted from it [default: 1970-01-01T00:00:00Z]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["cron", "at"],
        help_heading = "When")]
    start: Option<Moment>,
    /// Once, at this time (RFC 3339)
    #[arg(long, value_name = "TIME", group = "when", help_heading = "When")]
    at: Option<Moment>,
    /// Skip a fire while the previous one's task has not ended
    #[arg(long)]
    exclusive: bool,
    /// What becomes of fires that no host was there for: skip, once (the latest) or all:N (the
    /// latest N)
    #[arg(long, value_name = "HOW", default_value = "once", value_parser = missed)]
    missed: Missed,
    #[command(flatten)]
    content: Content,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    lasting: Lasting,
}

fn missed(text: &str) -> Result<Missed, String> {
    text.replacen(':', " ", 1)
        .parse()
        .map_err(|_| "write skip, once, all or all:10 (the latest ten)".to_owned())
}

impl Put {
    /// Do it.
    pub(crate) async fn run(&self, session: &Session) -> Result<Exit> {
        let schedule = self.schedule(session.config.submit.payload_bytes)?;
        schedule
            .check()
            .map_err(|error| usage(format!("schedule `{}`: {error}", self.name.escape_debug())))?;
        let broker = session.broker().await?;
        let now = broker.due_schedules(&self.queue, 1).await?.now;
        let next = schedule.next_after(now);
        if next.is_none() {
            return Err(usage(format!(
                "schedule `{}` would never fire: its time has passed",
                self.name
            )));
        }
        let changed = broker.put_schedule(&self.queue, &schedule, next).await?;
        let how = if changed { "is defined" } else { "is so already" };
        let change = Changed { queue: self.queue.as_str(), schedule: &self.name, changed, next };
        change.print(session, how, now)
    }

    fn schedule(&self, payload_bytes: usize) -> Result<Schedule> {
        if let Some(contradiction) = self.lasting.contradiction() {
            return Err(usage(contradiction));
        }
        let payload = if self.content.is_given() {
            self.content.read(None, payload_bytes)?
        } else if self.content.is_type_alone() {
            return Err(usage(
                "a content type is given without a payload; add --data, --file or --stdin",
            ));
        } else {
            Payload::new(Payload::TEXT, "")
        };
        let terms = self.lasting.terms(&self.task_type, &payload).map_err(usage)?;
        Ok(Schedule {
            name: self.name.clone(),
            timing: self.timing()?,
            exclusive: self.exclusive,
            missed: self.missed,
            task: Template {
                task_type: self.task_type.clone(),
                tenant: self.manner.tenant.clone(),
                priority: self.manner.priority,
                payload,
                metadata: self.manner.metadata.clone(),
                limits: self.manner.limits(),
                terms,
            },
            origin: "cli".into(),
        })
    }

    fn timing(&self) -> Result<Timing> {
        if let Some(expression) = &self.cron {
            let zone = self.zone.clone().unwrap_or_else(|| "UTC".into());
            return Ok(Timing::Cron { expression: expression.clone(), zone });
        }
        if let Some(every) = self.every {
            return Ok(Timing::Every {
                interval_ms: every.as_ms(),
                jitter_ms: self.jitter.map_or(0, Span::as_ms),
                start: self.start.map_or(0, |start| start.0),
            });
        }
        let at = self.at.ok_or_else(|| usage("no time is given; use --cron, --every or --at"))?;
        Ok(Timing::Once { at: at.0 })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        put: Put,
    }

    fn schedule(args: &[&str]) -> Result<Schedule, String> {
        let args = ["put", "nightly", "report"].iter().chain(args);
        let Line { put } = Line::try_parse_from(args).map_err(|e| e.to_string())?;
        let schedule = put.schedule(1_000).map_err(|e| e.to_string())?;
        schedule.check().map(|()| schedule).map_err(|e| e.to_string())
    }

    #[test]
    fn flags_become_a_schedule() {
        let cron = schedule(&[
            "--cron",
            "0 3 * * *",
            "--zone",
            "Europe/Berlin",
            "--exclusive",
            "--missed",
            "all:3",
            "--data",
            "{}",
            "--expires-in",
            "10m",
            "--max-attempts",
            "2",
            "--tenant",
            "acme",
        ])
        .unwrap();
        let timing = Timing::Cron { expression: "0 3 * * *".into(), zone: "Europe/Berlin".into() };
        assert_eq!((cron.timing, cron.exclusive), (timing, true));
        assert_eq!(cron.missed, Missed::All { at_most: 3 });
        assert_eq!(cron.task.payload, Payload::new(Payload::JSON, "{}"));
        assert_eq!(cron.task.terms.expires_at, Some(600_000));
        assert_eq!(cron.task.terms.retry.and_then(|retry| retry.max_attempts), Some(2));
        assert_eq!(cron.task.tenant.as_str(), "acme");
        let every = schedule(&["--every", "5m", "--jitter", "30s"]).unwrap();
        let timing = Timing::Every { interval_ms: 300_000, jitter_ms: 30_000, start: 0 };
        assert_eq!((every.timing, every.missed), (timing, Missed::Once));
        let once = schedule(&["--at", "2030-01-01T00:00:00Z"]).unwrap();
        assert_eq!(once.timing, Timing::Once { at: 1_893_456_000_000 });
    }

    #[test]
    fn what_makes_no_schedule_is_refused() {
        for (args, says) in [
            (&[][..], "required"),
            (&["--cron", "0 3 * * *", "--every", "5m"], "cannot be used with"),
            (&["--every", "5m", "--zone", "UTC"], "cannot be used with"),
            (&["--cron", "0 3 * * *", "--jitter", "1s"], "cannot be used with"),
            (&["--every", "1ms"], "366 days"),
            (&["--every", "1m", "--jitter", "1m"], "jitter"),
            (&["--cron", "0 3 * *"], "4 fields"),
            (&["--cron", "0 3 * * *", "--zone", "Mars"], "IANA"),
            (&["--every", "1m", "--missed", "some"], "skip, once"),
            (&["--every", "1m", "--unique-for", "1h"], "--unique"),
            (&["--every", "1m", "--content-type", "a/b"], "without a payload"),
        ] {
            let error = schedule(args).unwrap_err();
            assert!(error.contains(says), "{args:?}: {error}");
        }
    }
}
