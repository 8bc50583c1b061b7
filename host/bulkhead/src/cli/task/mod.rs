//! `bulkhead task`: look at tasks, wait for them, cancel them, run them again.

mod act;
mod list;
mod logs;
mod select;
mod show;

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;
use bulkhead::config::quantity::Span;
use bulkhead::core::{QueueName, TaskId, TaskRef};
use bulkhead::queue::TaskView;
use clap::{Args, Subcommand};

use super::exit::{Exit, failed, not_found};
use super::session::{Session, locate};
use super::submit::{Waiting, deliver};

pub(crate) use act::retry;
pub(crate) use list::{List, Page, print_tasks};
pub(crate) use select::{depth, sweep};
pub(crate) use show::show;

/// Look at tasks, wait for them, cancel them, run them again
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
    /// Wait until tasks have ended; of one task print the output
    Wait(Wait),
    /// Cancel tasks by id or by what they are; running ones are interrupted
    Cancel(Box<act::Cancel>),
    /// Give ended tasks fresh attempts and start waiting ones now; an ended one may get
    /// another payload
    Retry(act::Retry),
    /// Print the lines that a task's attempts logged
    Logs {
        /// Id of the task
        id: TaskId,
        /// Only this attempt's
        #[arg(long, value_name = "N")]
        attempt: Option<u32>,
    },
}

/// What to wait for.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Ids of the tasks
    #[arg(required = true, value_name = "ID")]
    ids: Vec<TaskId>,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: Span,
    /// Write the output to this file; of several tasks to this folder, one file per task
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

impl Task {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        match self {
            Self::Show { id } => {
                let view = find(session, id).await?;
                show::show(session, &view)?;
                show::why_held(session, &view).await
            }
            Self::List(list) => list.run(session).await,
            Self::Output { id, out } => {
                let view = find(session, id).await?;
                if !view.state.is_terminal() {
                    return Err(failed(format!(
                        "task {id} is {} and has no output yet; `bulkhead task wait {id}` waits",
                        view.state
                    )));
                }
                deliver(session, &view, out.as_deref())
            }
            Self::Wait(wait) => wait.run(session).await,
            Self::Cancel(cancel) => cancel.run(session).await,
            Self::Retry(retry) => retry.run(session).await,
            Self::Logs { id, attempt } => logs::logs(session, &find(session, id).await?, attempt),
        }
    }
}

/// A task by its id alone.
pub(crate) async fn find(session: &Session, id: TaskId) -> Result<TaskView> {
    let found = session.client().await?.find(id).await?;
    found.ok_or_else(|| unknown(session, id))
}

fn unknown(session: &Session, id: TaskId) -> anyhow::Error {
    not_found(format!(
        "there is no task {id} in the namespace `{}`; ended tasks are forgotten after their \
         retention",
        session.config.namespace
    ))
}

impl Wait {
    async fn run(&self, session: &Session) -> Result<Exit> {
        let waiting = Waiting { timeout: self.timeout.0, out: self.out.as_deref() };
        let client = session.client().await?;
        if let [id] = self.ids.as_slice() {
            let view = client.find(*id).await?.ok_or_else(|| unknown(session, *id))?;
            let of = view.task.as_ref().ok().map(|task| (&task.task_type, &task.tenant));
            let task = TaskRef { queue: view.queue, id: *id };
            return waiting.one(session, client, task, of).await;
        }
        let located = locate(client.broker().as_ref(), &self.ids).await?;
        if let Some(missing) = located.missing.first() {
            return Err(unknown(session, *missing));
        }
        let queues: HashMap<TaskId, &QueueName> = located
            .by_queue
            .iter()
            .flat_map(|(queue, ids)| ids.iter().map(move |id| (*id, queue)))
            .collect();
        let task = |id: &TaskId| Some(TaskRef { queue: (*queues.get(id)?).clone(), id: *id });
        let tasks: Vec<TaskRef> = self.ids.iter().filter_map(task).collect();
        waiting.many(session, client, &tasks).await
    }
}
