//! `bulkhead queue`: depths, pauses, purges.

use anyhow::Result;
use bulkhead::core::{QueueName, State};
use bulkhead::queue::QueueStats;
use clap::Subcommand;
use serde::Serialize;

use super::exit::{Exit, failed, usage};
use super::output;
use super::session::{Session, known_queue};

/// Look at queues, pause them, empty them
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// List queues and their depths
    List,
    /// Show a queue's depths and totals
    Stats {
        /// Name of the queue
        name: QueueName,
    },
    /// Stop starting tasks of a queue; running ones go on
    Pause {
        /// Name of the queue
        name: QueueName,
    },
    /// Start tasks of a queue again
    Resume {
        /// Name of the queue
        name: QueueName,
    },
    /// Remove all tasks of a state from a queue, for good
    Purge {
        /// Name of the queue
        name: QueueName,
        /// pending, scheduled or failed
        #[arg(long, value_name = "STATE")]
        state: State,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// A queue in JSON.
#[derive(Serialize)]
struct QueueDocument<'a> {
    queue: &'a str,
    #[serde(flatten)]
    stats: &'a QueueStats,
}

/// What a command changed, in JSON.
#[derive(Serialize)]
struct Changed<'a> {
    queue: &'a str,
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
            Self::List => list(session).await,
            Self::Stats { name } => stats(session, &name).await,
            Self::Pause { name } => pause(session, &name, true).await,
            Self::Resume { name } => pause(session, &name, false).await,
            Self::Purge { name, state, yes } => purge(session, &name, state, yes).await,
        }
    }
}

async fn list(session: &Session) -> Result<Exit> {
    let broker = session.broker().await?;
    let mut queues = Vec::new();
    for queue in broker.queues().await? {
        let stats = broker.stats(&queue).await?;
        queues.push((queue, stats));
    }
    if session.out.is_json() {
        let documents: Vec<_> = queues
            .iter()
            .map(|(queue, stats)| QueueDocument { queue: queue.as_str(), stats })
            .collect();
        session.out.document(&documents)?;
        return Ok(Exit::Done);
    }
    let header = ["QUEUE", "PENDING", "SCHEDULED", "RUNNING", "DEAD", "LIMIT", "PAUSED"];
    let mut table = output::table(&header);
    for (queue, stats) in &queues {
        table.add_row(vec![
            output::cell(queue.as_str()),
            output::number(stats.pending),
            output::number(stats.scheduled),
            output::number(stats.running),
            output::number(stats.failed),
            output::number(stats.concurrency.map_or("-".to_owned(), |limit| limit.to_string())),
            output::cell(if stats.paused { "paused" } else { "" }),
        ]);
    }
    session.out.table(table, "no queues: no task was ever submitted")?;
    Ok(Exit::Done)
}

async fn stats(session: &Session, queue: &QueueName) -> Result<Exit> {
    let broker = session.broker().await?;
    known_queue(broker.as_ref(), queue).await?;
    let stats = broker.stats(queue).await?;
    if session.out.is_json() {
        session.out.document(&QueueDocument { queue: queue.as_str(), stats: &stats })?;
        return Ok(Exit::Done);
    }
    let mut table = output::table(&["WHAT", "TASKS"]);
    let mut row = |what: &str, tasks: u64| {
        table.add_row(vec![output::cell(what), output::number(tasks)]);
    };
    row("pending", stats.pending);
    for depth in &stats.by_type {
        row(&format!("  of type {}", depth.task_type), depth.pending);
    }
    row("scheduled", stats.scheduled);
    row("running", stats.running);
    row("dead", stats.failed);
    for (name, total) in &stats.totals {
        row(&format!("total {}", name.replace('_', " ")), *total);
    }
    let mut text = format!("queue {queue}");
    if stats.paused {
        text.push_str(", paused");
    }
    if let Some(limit) = stats.concurrency {
        text.push_str(&format!(", at most {limit} at once"));
    }
    session.out.text(&format!("{text}\n\n"))?;
    session.out.table(table, "")?;
    Ok(Exit::Done)
}

async fn pause(session: &Session, queue: &QueueName, pause: bool) -> Result<Exit> {
    let broker = session.broker().await?;
    known_queue(broker.as_ref(), queue).await?;
    let changed =
        if pause { broker.pause(queue, None).await? } else { broker.resume(queue, None).await? };
    if session.out.is_json() {
        session.out.document(&Changed { queue: queue.as_str(), changed })?;
    } else {
        let state = if pause { "paused" } else { "running" };
        let already = if changed { "" } else { " already" };
        session.out.text(&format!("queue {queue} is {state}{already}\n"))?;
    }
    Ok(Exit::Done)
}

async fn purge(session: &Session, queue: &QueueName, state: State, yes: bool) -> Result<Exit> {
    if !matches!(state, State::Pending | State::Scheduled | State::Failed) {
        return Err(usage(format!(
            "tasks that are {state} cannot be purged; use pending, scheduled or failed{}",
            if state == State::Running { ", or cancel them" } else { "" }
        )));
    }
    let broker = session.broker().await?;
    known_queue(broker.as_ref(), queue).await?;
    let stats = broker.stats(queue).await?;
    let tasks = match state {
        State::Pending => stats.pending,
        State::Scheduled => stats.scheduled,
        _ => stats.failed,
    };
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
        Some(false) => Err(failed("nothing was removed")),
        None => Err(usage("this cannot be undone and nobody is here to ask; confirm with --yes")),
    }
}
