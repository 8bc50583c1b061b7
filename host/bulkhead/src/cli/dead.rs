//! `bulkhead dead`: look at dead letters, run them again, drop them.

use anyhow::Result;
use bulkhead::core::{QueueName, State, TaskId};
use bulkhead::queue::{Broker, ListFilter};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, not_found};
use super::queue::{Removed, agreed};
use super::session::{BATCH, Session, locate, queues};
use super::task::{Page, print_tasks, retry};

/// Look at dead letters, run them again, drop them
#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List dead letters, the newest first
    List(Page),
    /// Give dead letters fresh attempts
    Replay(Which),
    /// Remove dead letters for good
    Drop {
        #[command(flatten)]
        which: Which,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(crate) struct Which {
    /// Ids of the tasks
    #[arg(value_name = "ID", group = "which")]
    ids: Vec<TaskId>,
    /// All dead letters
    #[arg(long, group = "which")]
    all: bool,
    /// With --all: only this queue's
    #[arg(long, value_name = "NAME", requires = "all")]
    queue: Option<QueueName>,
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
            Self::Replay(which) if which.all => replay_all(session, which.queue.as_ref()).await,
            Self::Replay(which) => retry(session, &which.ids).await,
            Self::Drop { which, yes } if which.all => {
                drop_all(session, which.queue.as_ref(), yes).await
            }
            Self::Drop { which, .. } => drop_some(session, &which.ids).await,
        }
    }
}

async fn replay_all(session: &Session, queue: Option<&QueueName>) -> Result<Exit> {
    let broker = session.broker().await?;
    let mut replayed = 0;
    for queue in queues(broker.as_ref(), queue).await? {
        // The whole list first: tasks that fail again meanwhile are not replayed twice.
        for batch in dead_ids(broker.as_ref(), &queue).await?.chunks(BATCH) {
            broker.rerun(&queue, batch).await?;
            replayed += batch.len();
        }
    }
    if session.out.is_json() {
        session.out.document(&Replayed { replayed })?;
    } else {
        session.out.text(&format!("{replayed} dead letters are in line again\n"))?;
    }
    Ok(Exit::Done)
}

async fn dead_ids(broker: &dyn Broker, queue: &QueueName) -> Result<Vec<TaskId>> {
    let bound = usize::try_from(broker.stats(queue).await?.failed)?;
    let mut ids = Vec::new();
    while ids.len() < bound {
        let filter = ListFilter {
            offset: ids.len(),
            limit: BATCH.min(bound - ids.len()),
            ..ListFilter::of(State::Failed)
        };
        let page = broker.list(queue, &filter).await?;
        if page.is_empty() {
            break;
        }
        ids.extend(page.iter().map(|view| view.id));
    }
    ids.sort();
    ids.dedup();
    Ok(ids)
}

async fn drop_all(session: &Session, queue: Option<&QueueName>, yes: bool) -> Result<Exit> {
    let broker = session.broker().await?;
    let queues = queues(broker.as_ref(), queue).await?;
    let mut dead = 0;
    for queue in &queues {
        dead += broker.stats(queue).await?.failed;
    }
    agreed(&format!("Remove {dead} dead letters of {} queues for good?", queues.len()), yes)?;
    let mut removed = 0;
    for queue in &queues {
        removed += broker.purge(queue, State::Failed).await?;
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
        removed += broker.drop_dead(queue, ids).await?;
    }
    print_removed(session, removed)?;
    if !located.missing.is_empty() {
        return Err(not_found(format!("{} of the tasks do not exist", located.missing.len())));
    }
    if removed < found {
        let alive = found - removed;
        return Err(super::exit::failed(format!("{alive} of the tasks are no dead letters")));
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
