//! `bulkhead queue`: depths, pauses, purges, limits, usage and events.

mod events;
mod limit;
mod policy;
mod stats;
mod usage;

use anyhow::Result;
use bulkhead::core::{QueueName, State, TaskType};
use clap::Subcommand;
use serde::Serialize;

use super::exit::{self, Exit, failed};
use super::output;
use super::session::{Session, known_queue};
use super::task::depth;

pub(crate) use stats::held_back;

/// Look at queues, pause them, bound them, empty them
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// List queues and their depths
    List,
    /// Show a queue's depths and totals, by type and tenant
    Stats {
        /// Name of the queue
        name: QueueName,
    },
    /// Stop starting tasks of a queue, or of one type in it; running ones go on
    Pause(Pause),
    /// Start them again
    Resume(Pause),
    /// Change one limit of a queue's policy
    ///
    /// The limit applies from the next claim on, for all hosts. A host whose configuration
    /// says something of the queue's policy replaces all of it when it starts.
    Limit(Box<limit::Limit>),
    /// Show or replace a queue's policy: its limits, shares and quotas
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Show what was used by day (UTC), tenant, plugin and task type
    Usage(usage::Usage),
    /// Print a queue's lifecycle events, the newest last
    ///
    /// Queues record events only if their policy says how many to keep: `queue limit NAME
    /// --events N`.
    Events(events::Events),
    /// Remove all tasks of a state from a queue, for good
    Purge {
        /// Name of the queue
        name: QueueName,
        /// blocked, scheduled, pending or failed
        #[arg(long, value_name = "STATE")]
        state: State,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What to stop or start.
#[derive(Debug, clap::Args)]
pub(crate) struct Pause {
    /// Name of the queue
    name: QueueName,
    /// Only this task type
    #[arg(long = "type", value_name = "TYPE")]
    task_type: Option<TaskType>,
}

/// What a command changed, in JSON.
#[derive(Serialize)]
struct Changed<'a> {
    queue: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    task_type: Option<&'a str>,
    changed: bool,
}

/// How many tasks a command removed, in JSON.
#[derive(Serialize)]
pub(crate) struct Removed {
    pub(crate) removed: u64,
}

impl Queue {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        match self {
            Self::List => stats::list(session).await,
            Self::Stats { name } => stats::stats(session, &name).await,
            Self::Pause(pause) => pause.set(session, true).await,
            Self::Resume(pause) => pause.set(session, false).await,
            Self::Limit(limit) => limit.run(session).await,
            Self::Policy(policy) => policy.run(session).await,
            Self::Usage(usage) => usage.run(session).await,
            Self::Events(events) => events.run(session).await,
            Self::Purge { name, state, yes } => purge(session, &name, state, yes).await,
        }
    }
}

impl Pause {
    async fn set(&self, session: &Session, paused: bool) -> Result<Exit> {
        let (queue, task_type) = (&self.name, self.task_type.as_ref());
        let broker = session.broker().await?;
        known_queue(broker.as_ref(), queue).await?;
        let changed = if paused {
            broker.pause(queue, task_type).await?
        } else {
            broker.resume(queue, task_type).await?
        };
        if session.out.is_json() {
            session.out.document(&Changed {
                queue: queue.as_str(),
                task_type: task_type.map(TaskType::as_str),
                changed,
            })?;
        } else {
            let what = match task_type {
                None => format!("queue {queue}"),
                Some(task_type) => format!("type {task_type} of queue {queue}"),
            };
            let state = if paused { "paused" } else { "running" };
            let already = if changed { "" } else { " already" };
            session.out.text(&format!("{what} is {state}{already}\n"))?;
        }
        Ok(Exit::Done)
    }
}

async fn purge(session: &Session, queue: &QueueName, state: State, yes: bool) -> Result<Exit> {
    if !matches!(state, State::Blocked | State::Scheduled | State::Pending | State::Failed) {
        return Err(exit::usage(format!(
            "tasks that are {state} cannot be purged; use blocked, scheduled, pending or failed{}",
            if state == State::Running { ", or cancel them" } else { "" }
        )));
    }
    let broker = session.broker().await?;
    known_queue(broker.as_ref(), queue).await?;
    let tasks = depth(&broker.stats(queue).await?, state).unwrap_or(0);
    agreed(&format!("Remove {tasks} {state} tasks of queue {queue} for good?"), yes)?;
    let removed = broker.purge(queue, state).await?;
    if session.out.is_json() {
        session.out.document(&Removed { removed })?;
    } else {
        session.out.text(&format!("removed {removed} {state} tasks of queue {queue}\n"))?;
    }
    Ok(Exit::Done)
}

/// Make sure that somebody wants what cannot be undone.
pub(crate) fn agreed(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    match output::confirm(question)? {
        Some(true) => Ok(()),
        Some(false) => Err(failed("nothing was changed")),
        None => {
            Err(exit::usage("this cannot be undone and nobody is here to ask; confirm with --yes"))
        }
    }
}
