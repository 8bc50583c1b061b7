//! `bulkhead batch`: tasks as a group, counted together.

mod submit;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bulkhead::config::quantity::Span;
use bulkhead::core::{BatchId, QueueName};
use bulkhead::queue::{BatchView, Broker, Over};
use bulkhead_api::document::BatchDocument;
use clap::Subcommand;
use tokio::time::Instant;

use super::exit::{Exit, not_found, timed_out};
use super::follow::{Lookout, deadline};
use super::session::{Session, queues};
use super::{escape, figures, output};

/// The first and the longest pause between two looks at a batch.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Submit tasks as a group and follow how it stands
#[derive(Debug, Subcommand)]
pub(crate) enum Batch {
    /// Submit the tasks of a JSON Lines file as a batch
    Submit(Box<submit::Submit>),
    /// Show how a batch stands
    Show {
        /// Id of the batch
        id: BatchId,
    },
    /// List batches, the newest first
    List {
        /// Only this queue's
        #[arg(long, value_name = "NAME")]
        queue: Option<QueueName>,
        /// How many of each queue at most
        #[arg(long, value_name = "N", default_value_t = 50,
            value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Wait until a batch is over; exit code 1 if a member did not complete
    Wait {
        /// Id of the batch
        id: BatchId,
        /// How long to wait
        #[arg(long, value_name = "DURATION", default_value = "60s")]
        timeout: Span,
    },
}

impl Batch {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        match self {
            Self::Submit(submit) => submit.run(session).await,
            Self::Show { id } => {
                let view = find(session.broker().await?.as_ref(), id).await?;
                show(session, &view)?;
                Ok(Exit::Done)
            }
            Self::List { queue, limit } => list(session, queue.as_ref(), limit as usize).await,
            Self::Wait { id, timeout } => {
                let broker = session.broker().await?;
                let queue = find(broker.as_ref(), id).await?.queue;
                wait(session, broker, &queue, id, timeout).await
            }
        }
    }
}

/// A batch by its id alone.
async fn find(broker: &dyn Broker, id: BatchId) -> Result<BatchView> {
    for queue in broker.queues().await? {
        if let Some(view) = broker.batch(&queue, id).await? {
            return Ok(view);
        }
    }
    Err(unknown(id))
}

fn unknown(id: BatchId) -> anyhow::Error {
    not_found(format!(
        "there is no batch {id}; batches are forgotten some time after they are over; `bulkhead \
         batch list` shows those that are kept"
    ))
}

/// Wait until a batch is over, then show it. There must be no other copy of the broker.
async fn wait(
    session: &Session,
    mut broker: Arc<dyn Broker>,
    queue: &QueueName,
    id: BatchId,
    timeout: Span,
) -> Result<Exit> {
    let deadline = deadline(timeout.0);
    let mut lookout = Lookout::new(&session.config);
    let (mut pause, longest) = PAUSE;
    let mut open = None;
    loop {
        match broker.batch(queue, id).await {
            Ok(view) => {
                let view = view.ok_or_else(|| unknown(id))?;
                if view.over_at.is_some() {
                    show(session, &view)?;
                    let all = view.completed == view.total;
                    return Ok(if all { Exit::Done } else { Exit::Failed });
                }
                open = Some((view.open(), view.total));
            }
            Err(error) if lookout.outlives(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let in_vain = |why: &str| {
            let stands = open.map_or_else(String::new, |(open, total)| {
                format!(": {open} of {total} tasks have not ended")
            });
            timed_out(format!(
                "batch {id} is not over within {timeout}{stands}; `bulkhead task list --batch \
                 {id}` shows them{why}"
            ))
        };
        if Instant::now() >= deadline {
            return Err(in_vain(""));
        }
        // Nothing is told of batches, so this looks again.
        tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
        pause = (pause * 2).min(longest);
        broker = match lookout.exchange(broker, deadline).await {
            Some(broker) => broker,
            None => return Err(in_vain(&format!("; {}", lookout.nobody()))),
        };
    }
}

fn show(session: &Session, view: &BatchView) -> Result<()> {
    if session.out.is_json() {
        return Ok(session.out.document(&BatchDocument::from(view))?);
    }
    let now = figures::now();
    let at = |ms: u64| format!("{} ({})", figures::time(ms), figures::relative(ms, now));
    let over = match view.over {
        Over::Ended => "when all have ended",
        Over::FirstFailure => "when all have ended or one did not complete",
    };
    let mut rows = vec![
        ("id", view.id.to_string()),
        ("queue", view.queue.to_string()),
        ("name", escape::line(&view.name)),
        ("opened", at(view.opened_at)),
        ("over", view.over_at.map_or_else(|| format!("no; {over}"), at)),
        ("tasks", view.total.to_string()),
        ("open", view.open().to_string()),
        ("completed", view.completed.to_string()),
        ("failed", view.failed.to_string()),
        ("cancelled", view.cancelled.to_string()),
        ("expired", view.expired.to_string()),
    ];
    rows.extend(view.callback.map(|id| ("callback", id.to_string())));
    let text: String = rows.iter().map(|(label, value)| format!("{label:<11} {value}\n")).collect();
    Ok(session.out.text(&text)?)
}

async fn list(session: &Session, queue: Option<&QueueName>, limit: usize) -> Result<Exit> {
    let broker = session.broker().await?;
    let mut batches: Vec<BatchView> = Vec::new();
    for queue in queues(broker.as_ref(), queue).await? {
        batches.extend(broker.batches(&queue, limit).await?);
    }
    batches.sort_by_key(|view| std::cmp::Reverse(view.opened_at));
    if session.out.is_json() {
        let documents: Vec<_> = batches.iter().map(BatchDocument::from).collect();
        session.out.document(&documents)?;
        return Ok(Exit::Done);
    }
    let now = figures::now();
    let header = [
        "ID",
        "NAME",
        "QUEUE",
        "OPENED",
        "OVER",
        "TASKS",
        "OPEN",
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "EXPIRED",
    ];
    let mut table = output::table(&header);
    for view in &batches {
        let over = view.over_at.map(|at| figures::relative(at, now));
        table.add_row(vec![
            output::cell(&view.id.to_string()),
            output::cell(&view.name),
            output::cell(view.queue.as_str()),
            output::cell(&figures::relative(view.opened_at, now)),
            output::cell(&over.unwrap_or_else(|| "no".into())),
            output::number(view.total),
            output::number(view.open()),
            output::number(view.completed),
            output::number(view.failed),
            output::number(view.cancelled),
            output::number(view.expired),
        ]);
    }
    session.out.table(table, "no batches")?;
    Ok(Exit::Done)
}
