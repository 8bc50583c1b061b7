//! `bulkhead task`: look at tasks, cancel them, run them again.

mod list;
mod show;

use std::path::PathBuf;

use anyhow::Result;
use bulkhead::core::TaskId;
use bulkhead::queue::{CancelAnswer, RerunAnswer, TaskView};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, not_found};
use super::output;
use super::session::{BATCH, Session, locate};
use super::submit::deliver;

pub(crate) use list::{List, Page, print_tasks};

/// Look at tasks, cancel them, run them again
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Show a task, its attempts and its result
    Show {
        /// Id of the task
        id: TaskId,
    },
    /// List tasks
    List(List),
    /// Print a completed task's output
    Output {
        /// Id of the task
        id: TaskId,
        /// Write it to this file
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
    },
    /// Cancel tasks; running ones are interrupted
    Cancel(Ids),
    /// Give ended tasks fresh attempts and start waiting ones now
    Retry(Ids),
    /// Print the lines that a task's attempts logged
    Logs {
        /// Id of the task
        id: TaskId,
        /// Only this attempt's
        #[arg(long, value_name = "N")]
        attempt: Option<u32>,
    },
}

/// Ids of tasks.
#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// Ids of the tasks
    #[arg(required = true, value_name = "ID")]
    ids: Vec<TaskId>,
}

impl Task {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        match self {
            Self::Show { id } => show::show(session, &find(session, id).await?),
            Self::List(list) => list.run(session).await,
            Self::Output { id, out } => {
                let view = find(session, id).await?;
                if !view.state.is_terminal() {
                    let message = format!("task {id} is {} and has no output yet", view.state);
                    return Err(super::exit::failed(message));
                }
                deliver(session, &view, out.as_deref())
            }
            Self::Cancel(Ids { ids }) => cancel(session, &ids).await,
            Self::Retry(Ids { ids }) => retry(session, &ids).await,
            Self::Logs { id, attempt } => show::logs(session, &find(session, id).await?, attempt),
        }
    }
}

async fn find(session: &Session, id: TaskId) -> Result<TaskView> {
    let found = session.client().await?.find(id).await?;
    found.ok_or_else(|| {
        not_found(format!(
            "there is no task {id} in the namespace `{}`; ended tasks are forgotten after their \
             retention",
            session.config.namespace
        ))
    })
}

/// What became of one task.
#[derive(Serialize)]
struct Answer<A> {
    id: String,
    answer: A,
}

async fn cancel(session: &Session, ids: &[TaskId]) -> Result<Exit> {
    let broker = session.broker().await?;
    let located = locate(broker.as_ref(), ids).await?;
    let mut answers: Vec<Answer<CancelAnswer>> = Vec::new();
    for (queue, ids) in located.by_queue {
        let retention_ms = session.config.queue(&queue).retention_ms;
        for batch in ids.chunks(BATCH) {
            let given = broker.cancel(&queue, batch, retention_ms).await?;
            answers.extend(
                batch.iter().zip(given).map(|(id, answer)| Answer { id: id.to_string(), answer }),
            );
        }
    }
    let unknown = |id: &TaskId| Answer { id: id.to_string(), answer: CancelAnswer::Unknown };
    answers.extend(located.missing.iter().map(unknown));
    print_answers(session, &answers, |answer| match answer {
        CancelAnswer::Cancelled => "cancelled",
        CancelAnswer::Requested => "is running; its host was asked to stop it",
        CancelAnswer::AlreadyEnded => "had ended already",
        CancelAnswer::Unknown => "not found",
    })?;
    let any = |wanted| answers.iter().any(|answer| answer.answer == wanted);
    Ok(if any(CancelAnswer::Unknown) {
        Exit::NotFound
    } else if any(CancelAnswer::AlreadyEnded) {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// Give tasks fresh attempts.
pub(crate) async fn retry(session: &Session, ids: &[TaskId]) -> Result<Exit> {
    let broker = session.broker().await?;
    let located = locate(broker.as_ref(), ids).await?;
    let mut answers: Vec<Answer<RerunAnswer>> = Vec::new();
    for (queue, ids) in located.by_queue {
        for batch in ids.chunks(BATCH) {
            let given = broker.rerun(&queue, batch).await?;
            answers.extend(
                batch.iter().zip(given).map(|(id, answer)| Answer { id: id.to_string(), answer }),
            );
        }
    }
    let unknown = |id: &TaskId| Answer { id: id.to_string(), answer: RerunAnswer::Unknown };
    answers.extend(located.missing.iter().map(unknown));
    print_answers(session, &answers, |answer| match answer {
        RerunAnswer::InLine => "in line",
        RerunAnswer::Active => "is pending or running already",
        RerunAnswer::Unknown => "not found",
    })?;
    let missing = answers.iter().any(|answer| answer.answer == RerunAnswer::Unknown);
    Ok(if missing { Exit::NotFound } else { Exit::Done })
}

fn print_answers<A: Serialize + Copy>(
    session: &Session,
    answers: &[Answer<A>],
    words: impl Fn(A) -> &'static str,
) -> Result<()> {
    if session.out.is_json() {
        return Ok(session.out.document(&answers)?);
    }
    let mut table = output::table(&["ID", "ANSWER"]);
    for Answer { id, answer } in answers {
        table.add_row(vec![output::cell(id), output::cell(words(*answer))]);
    }
    Ok(session.out.table(table, "no task")?)
}
