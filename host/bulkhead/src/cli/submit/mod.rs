//! `bulkhead submit`: one task from flags, or many from JSON Lines.

mod answer;
mod lines;
mod refusal;
mod wait;

use std::path::{Path, PathBuf};

use anyhow::Result;
use bulkhead::config::quantity::Span;
use bulkhead::core::{Payload, QueueName, TaskId, TaskRef, TaskType};
use bulkhead::queue::NewTask;
use bulkhead_api::asked::{Asked, Defaults, Manner, TaskRequest};
use bulkhead_api::document::Sent;
use clap::Args;

use super::asked::{named_or_looked_at, read};
use super::exit::{Exit, usage};
use super::figures;
use super::output::note;
use super::session::Session;

pub(crate) use answer::Tally;
pub(crate) use lines::Source;
pub(crate) use wait::{Waiting, deliver};

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
    /// Id of the task; a known id is not submitted again
    #[arg(long, value_name = "UUID", conflicts_with = "jsonl")]
    id: Option<TaskId>,
    #[command(flatten)]
    manner: Manner,
    /// Wait for the end and print the output, or the reason of the failure
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "wait")]
    timeout: Span,
    /// Write the output to this file; with --jsonl to this folder, one file per task
    #[arg(long, value_name = "PATH", requires = "wait")]
    out: Option<PathBuf>,
    #[command(flatten)]
    asked: Asked,
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
        if let Some(contradiction) = self.asked.lasting.contradiction() {
            return Err(usage(contradiction));
        }
        let payload = self.payload(session.config.submit.payload_bytes)?;
        let task_type = self.task_type.clone().ok_or_else(|| usage("no task type is given"))?;
        let mut new = self.manner.task(&self.queue, task_type, payload);
        new.id = self.id;
        self.asked.fill(&mut new, figures::now()).map_err(usage)?;
        let client = session.client().await?;
        let (name, tenant) = (Sent::name(&new), new.tenant.clone());
        let sent = Sent::new(name, client.submit(new).await?);
        let Some(id) = sent.stands() else {
            if session.out.is_json() {
                session.out.document(&sent.document())?;
            }
            return Err(refusal::explain(client.broker().as_ref(), &sent, &tenant).await);
        };
        if let Some(remark) = sent.remark() {
            note(&remark);
        }
        if self.wait {
            let task = TaskRef { queue: sent.queue, id };
            let of = Some((&sent.task_type, &tenant));
            return self.waiting().one(session, client, task, of).await;
        }
        if session.out.is_json() {
            session.out.document(&sent.document())?;
        } else {
            session.out.text(&format!("{id}\n"))?;
        }
        Ok(Exit::Done)
    }

    async fn many(&self, session: &Session, path: &Path) -> Result<Exit> {
        let client = session.client().await?;
        let source = Source::open(path, session.config.submit.payload_bytes)?;
        let began = std::time::Instant::now();
        let sent = source.submit(&client, |line| self.task(line)).await?;
        let tally = Tally::of(&sent);
        let summary = format!(
            "submitted {} tasks in {}{}",
            tally.accepted(),
            figures::micros(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)),
            tally.there_already(),
        );
        let exit = if self.wait {
            note(&summary);
            let tasks: Vec<TaskRef> = sent.iter().filter_map(Sent::task_ref).collect();
            self.waiting().many(session, client, &tasks).await?
        } else {
            if session.out.is_json() {
                let documents: Vec<_> = sent.iter().map(Sent::document).collect();
                session.out.document(&documents)?;
            } else {
                session.out.text(&format!("{summary}\n"))?;
            }
            Exit::Done
        };
        tally.refused().map_or(Ok(exit), |refused| Err(usage(refused)))
    }

    /// The task that a line describes, completed by the flags.
    fn task(&self, line: TaskRequest<'_>) -> Result<NewTask, String> {
        line.task(&Defaults {
            task_type: self.task_type.as_ref(),
            queue: &self.queue,
            content_type: self.content_type.as_deref(),
            manner: &self.manner,
            asked: &self.asked,
            now: figures::now(),
        })
    }

    fn waiting(&self) -> Waiting<'_> {
        Waiting { timeout: self.timeout.0, out: self.out.as_deref() }
    }

    fn payload(&self, max_bytes: usize) -> Result<Payload> {
        let (data, guessed) =
            read(self.data.as_deref(), self.file.as_deref(), self.stdin.is_some(), max_bytes)?;
        Ok(named_or_looked_at(self.content_type.clone().or(guessed), data))
    }
}
