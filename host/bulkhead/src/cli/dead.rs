//! `bulkhead dead`: look at dead letters, run them again, drop them.

use anyhow::Result;
use bulkhead::core::{State, TaskId};
use bulkhead_api::asked::Selection;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::asked::Content;
use super::exit::{Exit, failed, not_found, usage};
use super::queue::{Removed, agreed};
use super::session::{BATCH, Session, locate, queues};
use super::task::{Page, find, print_tasks, retry, show, sweep};

/// Look at dead letters, run them again, drop them
#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List dead letters, the newest first
    List(Page),
    /// Show a dead letter, its attempts and why it failed
    Show {
        /// Id of the task
        id: TaskId,
    },
    /// Give dead letters fresh attempts; a single one may get another payload
    Replay {
        #[command(flatten)]
        content: Content,
        #[command(flatten)]
        which: Which,
    },
    /// Remove dead letters for good
    Drop {
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        which: Which,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Ids of the tasks
    #[arg(value_name = "ID",
        conflicts_with_all = ["all", "queue", "task_type", "tenant", "batch", "schedule", "failure",
            "contains", "submitted_from", "submitted_before"])]
    ids: Vec<TaskId>,
    /// All dead letters
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    selection: Selection,
}

/// How many tasks are in line again, in JSON.
#[derive(Serialize)]
struct Replayed {
    replayed: usize,
}

impl Dead {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        match self {
            Self::List(page) => {
                let broker = session.broker().await?;
                print_tasks(session, &page.read(broker.as_ref(), &[State::Failed]).await?)?;
                Ok(Exit::Done)
            }
            Self::Show { id } => {
                let view = find(session, id).await?;
                if view.state != State::Failed {
                    return Err(failed(format!(
                        "task {id} is {} and no dead letter; `bulkhead task show {id}` shows it",
                        view.state
                    )));
                }
                show(session, &view)
            }
            Self::Replay { which, content } if !which.ids.is_empty() => {
                retry(session, &which.ids, &content).await
            }
            Self::Replay { content, .. } if content.is_given() => {
                Err(usage("a payload is for one dead letter; name its id"))
            }
            Self::Replay { which, .. } => replay(session, &which.checked()?).await,
            Self::Drop { which, .. } if !which.ids.is_empty() => {
                drop_some(session, &which.ids).await
            }
            Self::Drop { which, yes } => drop_selected(session, &which.checked()?, yes).await,
        }
    }
}

impl Which {
    /// The selection, if it was meant to be one.
    fn checked(self) -> Result<Selection> {
        if self.selection.is_everything() && !self.all {
            return Err(usage(
                "no dead letter is named; give ids, or say which by --type, --failure and the \
                 like, or --all",
            ));
        }
        Ok(self.selection)
    }
}

async fn replay(session: &Session, selection: &Selection) -> Result<Exit> {
    let broker = session.broker().await?;
    let mut replayed = 0;
    for queue in queues(broker.as_ref(), selection.queue.as_ref()).await? {
        let act = async |ids: &[TaskId]| {
            broker.rerun(&queue, ids).await?;
            Ok(())
        };
        replayed += sweep(selection, broker.as_ref(), &queue, State::Failed, act).await?;
    }
    if session.out.is_json() {
        session.out.document(&Replayed { replayed })?;
    } else {
        session.out.text(&format!("{replayed} dead letters are in line again\n"))?;
    }
    Ok(Exit::Done)
}

async fn drop_selected(session: &Session, selection: &Selection, yes: bool) -> Result<Exit> {
    let broker = session.broker().await?;
    let queues = queues(broker.as_ref(), selection.queue.as_ref()).await?;
    let mut dead = 0;
    for queue in &queues {
        dead += broker.stats(queue).await?.failed;
    }
    let which = if selection.is_everything() { "all" } else { "those selected" };
    let of = queues.len();
    agreed(&format!("Remove {which} of the {dead} dead letters of {of} queues for good?"), yes)?;
    let mut removed = 0;
    for queue in &queues {
        let act = async |ids: &[TaskId]| {
            removed += broker.drop_dead(queue, ids).await?;
            Ok(())
        };
        sweep(selection, broker.as_ref(), queue, State::Failed, act).await?;
    }
    print_removed(session, removed)?;
    Ok(Exit::Done)
}

async fn drop_some(session: &Session, ids: &[TaskId]) -> Result<Exit> {
    let broker = session.broker().await?;
    let located = locate(broker.as_ref(), ids).await?;
    let mut removed = 0;
    let mut found = 0;
    for (queue, ids) in &located.by_queue {
        found += ids.len() as u64;
        for ids in ids.chunks(BATCH) {
            removed += broker.drop_dead(queue, ids).await?;
        }
    }
    print_removed(session, removed)?;
    if !located.missing.is_empty() {
        return Err(not_found(format!("{} of the tasks do not exist", located.missing.len())));
    }
    if removed < found {
        let alive = found - removed;
        return Err(failed(format!("{alive} of the tasks are no dead letters")));
    }
    Ok(Exit::Done)
}

fn print_removed(session: &Session, removed: u64) -> Result<()> {
    if session.out.is_json() {
        session.out.document(&Removed { removed })?;
    } else {
        session.out.text(&format!("removed {removed} dead letters\n"))?;
    }
    Ok(())
}
