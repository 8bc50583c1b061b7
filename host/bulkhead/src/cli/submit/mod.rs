//! `bulkhead submit`: one task from flags, or many from JSON Lines.

mod content;
mod line;
mod lines;
mod wait;

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use bulkhead::config::quantity::{Size, Span};
use bulkhead::core::{
    LimitsRequest, Payload, Priority, QueueName, RetryRequest, TaskId, TaskType, TenantName, Terms,
};
use bulkhead::queue::{Client, NewTask};
use clap::Args;
use serde::Serialize;

use super::exit::{Exit, usage};
use super::figures;
use super::session::Session;

pub(crate) use wait::deliver;

/// Submit a task, or many with --jsonl
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("input").required(true),
    override_usage = "bulkhead submit [OPTIONS] <TYPE> <-|--data <TEXT>|--file <PATH>>\n       \
                      bulkhead submit [OPTIONS] [TYPE] --jsonl <PATH>"
)]
pub(crate) struct Submit {
    /// Task type, which says which handler runs it [with --jsonl: of lines without `type`]
    #[arg(value_name = "TYPE", required_unless_present = "jsonl")]
    task_type: Option<TaskType>,
    /// `-` reads the payload from standard input
    #[arg(value_name = "-", value_parser = ["-"], hide_possible_values = true,
        group = "input")]
    stdin: Option<String>,
    /// Payload given here
    #[arg(long, value_name = "TEXT", group = "input")]
    data: Option<String>,
    /// Payload from a file
    #[arg(long, value_name = "PATH", group = "input")]
    file: Option<PathBuf>,
    /// Submit one task per line of a JSON Lines file, `-` for standard input; the other
    /// flags are the defaults of lines that do not say otherwise
    #[arg(long, value_name = "PATH", group = "input")]
    jsonl: Option<PathBuf>,
    /// Media type of the payload [default: by the file's extension, else JSON or text by
    /// looking at it]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Queue to submit to
    #[arg(long, value_name = "NAME", default_value = "default")]
    queue: QueueName,
    /// Whose task it is
    #[arg(long, value_name = "NAME", default_value = "default")]
    tenant: TenantName,
    /// low, normal, high, critical or a number from 0 to 100
    #[arg(long, value_name = "LEVEL", default_value = "normal")]
    priority: Priority,
    /// Start no sooner than this long from now
    #[arg(long, value_name = "DURATION", conflicts_with = "at")]
    delay: Option<Span>,
    /// Start no sooner than this time (RFC 3339, such as 2030-01-31T08:00:00+01:00)
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Metadata for the handler, repeatable
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Attempts in all; the rest of the retry policy is the queue's in this configuration
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: Option<u32>,
    /// Fuel limit below the host's, such as 50_000_000
    #[arg(long, value_name = "UNITS", value_parser = count)]
    fuel: Option<u64>,
    /// Memory limit below the host's, such as 32MiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Wall time limit below the host's, such as 5s
    #[arg(long, value_name = "DURATION")]
    wall: Option<Span>,
    /// Id of the task; a known id is not submitted again
    #[arg(long, value_name = "UUID", conflicts_with = "jsonl")]
    id: Option<TaskId>,
    /// How long the ended task is kept
    #[arg(long, value_name = "DURATION")]
    retention: Option<Span>,
    /// Wait for the end and print the output, or the reason of the failure
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "wait")]
    timeout: Span,
    /// Write the output to this file; with --jsonl to this folder, one file per task
    #[arg(long, value_name = "PATH", requires = "wait")]
    out: Option<PathBuf>,
}

/// One submitted task in JSON.
#[derive(Serialize)]
struct SubmittedDocument<'a> {
    id: String,
    #[serde(rename = "type")]
    task_type: &'a str,
    queue: &'a str,
    accepted: bool,
}

impl Submit {
    /// Submit, and wait if asked to.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        match &self.jsonl {
            Some(path) => self.many(session, path).await,
            None => self.one(session).await,
        }
    }

    async fn one(&self, session: &Session) -> Result<Exit> {
        let payload = self.payload(session.config.submit.payload_bytes)?;
        let task_type = self.task_type.clone().ok_or_else(|| usage("no task type is given"))?;
        let new = self.template(session, task_type, payload);
        let (task_type, queue) = (new.task_type.clone(), new.queue.clone());
        let client = session.client().await?;
        let submitted = client.submit(new).await?;
        if !submitted.answer.is_new() {
            super::output::note(&format!(
                "task {} was there already and was not submitted again",
                submitted.id
            ));
        }
        if self.wait {
            let waiting = wait::Waiting { timeout: self.timeout.0, out: self.out.as_deref() };
            return waiting.one(session, &client, &queue, &task_type, submitted.id).await;
        }
        if session.out.is_json() {
            session.out.document(&SubmittedDocument {
                id: submitted.id.to_string(),
                task_type: task_type.as_str(),
                queue: queue.as_str(),
                accepted: submitted.answer.is_new(),
            })?;
        } else {
            session.out.text(&format!("{}\n", submitted.id))?;
        }
        Ok(Exit::Done)
    }

    async fn many(&self, session: &Session, path: &Path) -> Result<Exit> {
        let client = session.client().await?;
        let payload_bytes = session.config.submit.payload_bytes;
        let source = lines::Source::open(path, payload_bytes)?;
        let began = std::time::Instant::now();
        let submitted = self.submit_lines(session, &client, source).await?;
        let known = submitted.iter().filter(|task| !task.accepted).count();
        let summary = format!(
            "submitted {} tasks in {}{}",
            submitted.len() - known,
            figures::micros(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)),
            if known > 0 { format!("; {known} were there already") } else { String::new() },
        );
        if self.wait {
            super::output::note(&summary);
            let waiting = wait::Waiting { timeout: self.timeout.0, out: self.out.as_deref() };
            return waiting.many(session, &client, &submitted).await;
        }
        if session.out.is_json() {
            let documents: Vec<_> = submitted
                .iter()
                .map(|task| SubmittedDocument {
                    id: task.id.to_string(),
                    task_type: task.task_type.as_str(),
                    queue: task.queue.as_str(),
                    accepted: task.accepted,
                })
                .collect();
            session.out.document(&documents)?;
        } else {
            session.out.text(&format!("{summary}\n"))?;
        }
        Ok(Exit::Done)
    }

    async fn submit_lines(
        &self,
        session: &Session,
        client: &Client,
        source: lines::Source,
    ) -> Result<Vec<lines::Sent>> {
        let task = |line: line::Line| -> Result<NewTask, String> {
            let fallback = self.task_type.as_ref();
            let task_type = line.task_type(fallback)?;
            let mut new = self.template(session, task_type, Payload::default());
            line.fill(&mut new, self.content_type.as_deref())?;
            Ok(new)
        };
        source.submit(client, task).await
    }

    /// The task that the flags describe.
    fn template(&self, session: &Session, task_type: TaskType, payload: Payload) -> NewTask {
        let now = figures::now();
        let at = self.at.map(|at| u64::try_from(at.as_millisecond()).unwrap_or(0));
        let retry = self.max_attempts.map(|max_attempts| RetryRequest {
            max_attempts: Some(max_attempts),
            ..RetryRequest::default()
        });
        NewTask {
            queue: self.queue.clone(),
            tenant: self.tenant.clone(),
            priority: self.priority,
            metadata: self.metadata.clone(),
            limits: LimitsRequest {
                fuel: self.fuel,
                memory_bytes: self.memory.map(|size| size.0),
                wall_ms: self.wall.map(Span::as_ms),
                ..LimitsRequest::default()
            },
            terms: Terms {
                retry,
                retention_ms: self.retention.map(Span::as_ms),
                not_before: at.or(self.delay.map(|delay| now.saturating_add(delay.as_ms()))),
                ..Terms::default()
            },
            id: self.id,
            ..NewTask::new(task_type, payload)
        }
    }

    /// The payload that the flags name, at most one byte over the limit, so that a
    /// larger one is refused and not read.
    fn payload(&self, max_bytes: usize) -> Result<Payload> {
        let bounded = |input: &mut dyn Read| {
            let mut data = Vec::new();
            input.take(max_bytes as u64 + 1).read_to_end(&mut data).map(|_| data)
        };
        let from_stdin = self.stdin.is_some() || self.file.as_deref() == Some(Path::new("-"));
        let (data, guessed) = if let Some(text) = &self.data {
            (text.clone().into_bytes(), None)
        } else if from_stdin {
            let mut stdin = std::io::stdin().lock();
            if stdin.is_terminal() {
                super::output::note("reading the payload from the terminal; end it with Ctrl-D");
            }
            (bounded(&mut stdin).context("cannot read the standard input")?, None)
        } else if let Some(path) = &self.file {
            let mut file = std::fs::File::open(path)
                .map_err(|e| usage(format!("cannot read `{}`: {e}", path.display())))?;
            let data = bounded(&mut file)
                .map_err(|e| usage(format!("cannot read `{}`: {e}", path.display())))?;
            (data, content::by_extension(path))
        } else {
            return Err(usage("no payload is given; use --data, --file or `-`"));
        };
        if data.len() > max_bytes {
            return Err(usage(format!(
                "the payload is over the limit of {}; raise `submit.payload_bytes` here and keep \
                 in mind that hosts have limits of their own",
                Size(max_bytes as u64)
            )));
        }
        let content_type = self.content_type.clone().or(guessed);
        let content_type = content_type.unwrap_or_else(|| content::by_look(&data).to_owned());
        Ok(Payload { content_type, data })
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| "write a whole number, such as 50_000_000".into())
}

/// How long a command waits in one call.
pub(crate) fn longest_wait(timeout: Duration) -> Duration {
    // A timer cannot be set beyond some decades.
    timeout.min(Duration::from_secs(366 * 24 * 3_600))
}
