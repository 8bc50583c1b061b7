//! Submitting a batch from JSON Lines.

use std::path::PathBuf;

use anyhow::Result;
use bulkhead::config::quantity::Span;
use bulkhead::core::{QueueName, TaskType};
use bulkhead::queue::{Batch, NewBatch, NewTask, Over};
use bulkhead_api::asked::{Asked, Defaults, Manner};
use bulkhead_api::document::{Sent, SubmittedDocument};
use clap::Args;

use super::wait;
use crate::cli::asked::{named_or_looked_at, read};
use crate::cli::exit::{Exit, usage};
use crate::cli::figures;
use crate::cli::output::note;
use crate::cli::session::Session;
use crate::cli::submit::{Source, Tally};

/// Submit the tasks of a JSON Lines file as a batch
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// Task type of lines without `type`
    #[arg(value_name = "TYPE")]
    task_type: Option<TaskType>,
    /// One task per line, as of `submit --jsonl`; `-` for standard input
    #[arg(long, value_name = "PATH")]
    jsonl: PathBuf,
    /// What the batch is called, for people
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Queue that keeps the batch and gets its callback, and of lines without `queue`
    #[arg(long, value_name = "NAME", default_value = "default")]
    queue: QueueName,
    /// When it is over: `ended`, when all tasks have ended, or `first-failure`, when all have
    /// or one did not complete
    #[arg(long, value_name = "WHEN", default_value = "ended", value_parser = over)]
    over: Over,
    /// Submit a task of this type when it is over
    #[arg(long, value_name = "TYPE", help_heading = "Callback")]
    callback: Option<TaskType>,
    /// The callback's payload
    #[arg(long, value_name = "TEXT", requires = "callback", help_heading = "Callback")]
    callback_data: Option<String>,
    /// The callback's payload from a file
    #[arg(
        long,
        value_name = "PATH",
        requires = "callback",
        conflicts_with = "callback_data",
        help_heading = "Callback"
    )]
    callback_file: Option<PathBuf>,
    /// Media type of the callback's payload
    #[arg(long, value_name = "TYPE", requires = "callback", help_heading = "Callback")]
    callback_content_type: Option<String>,
    /// How long the batch is kept while it is open, and again when it is over
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    keep: Span,
    /// Media type of the payloads of lines that do not say
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    #[command(flatten)]
    manner: Manner,
    /// Wait until it is over; exit code 1 if a task did not complete
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "wait")]
    timeout: Span,
    #[command(flatten)]
    asked: Asked,
}

fn over(text: &str) -> Result<Over, String> {
    match text {
        "ended" => Ok(Over::Ended),
        "first-failure" => Ok(Over::FirstFailure),
        _ => Err("write ended or first-failure".into()),
    }
}

impl Submit {
    /// Do it.
    pub(crate) async fn run(&self, session: &Session) -> Result<Exit> {
        let payload_bytes = session.config.submit.payload_bytes;
        let callback = self.callback(payload_bytes)?;
        let defaults = Defaults {
            task_type: self.task_type.as_ref(),
            queue: &self.queue,
            content_type: self.content_type.as_deref(),
            manner: &self.manner,
            asked: &self.asked,
            now: figures::now(),
        };
        let source = Source::open(&self.jsonl, payload_bytes)?;
        let tasks = source.collect(Batch::MAX_MEMBERS, |line| line.task(&defaults))?;
        if tasks.is_empty() {
            return Err(usage(format!("`{}` has no tasks", self.jsonl.display())));
        }
        let client = session.client().await?;
        let names: Vec<_> = tasks.iter().map(Sent::name).collect();
        let batch = NewBatch {
            queue: self.queue.clone(),
            name: self.name.clone().unwrap_or_default(),
            tasks,
            callback,
            over: self.over,
            retention_ms: self.keep.as_ms(),
        };
        let submitted = client.submit_batch(None, batch).await?;
        let id = submitted.id;
        let sent: Vec<Sent> = names
            .into_iter()
            .zip(&submitted.tasks)
            .map(|(name, submitted)| Sent::new(name, *submitted))
            .collect();
        let tally = Tally::of(&sent);
        let summary = format!("submitted {} tasks{}", tally.accepted(), tally.there_already());
        note(&summary);
        if let Some(refused) = tally.refused() {
            note(&format!("{refused}; the batch counts them as cancelled"));
        }
        if self.wait {
            let broker = client.broker().clone();
            drop(client);
            return wait(session, broker, &self.queue, id, self.timeout).await;
        }
        if session.out.is_json() {
            session.out.document(&SubmittedDocument::new(&self.queue, &submitted, &sent))?;
        } else {
            session.out.text(&format!("{id}\n"))?;
        }
        Ok(Exit::Done)
    }

    fn callback(&self, max_bytes: usize) -> Result<Option<NewTask>> {
        let Some(task_type) = self.callback.clone() else { return Ok(None) };
        let data = self.callback_data.as_deref().or(match &self.callback_file {
            Some(_) => None,
            None => Some(""),
        });
        let (data, guessed) = read(data, self.callback_file.as_deref(), false, max_bytes)?;
        let payload = named_or_looked_at(self.callback_content_type.clone().or(guessed), data);
        let mut task = self.manner.task(&self.queue, task_type, payload);
        task.metadata.clear();
        Ok(Some(task))
    }
}
