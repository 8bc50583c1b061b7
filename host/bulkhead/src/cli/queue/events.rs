//! A queue's lifecycle events.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;
use bulkhead::core::QueueName;
use bulkhead::queue::{Broker, Event, EventId};
use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::follow::{Lookout, deadline};
use crate::cli::output::{self, note};
use crate::cli::session::{Session, known_queue};
use crate::cli::{escape, figures};

/// Events read in one call.
const PAGE: usize = 500;
/// How long one call waits for news.
const WAIT: Duration = Duration::from_secs(5);

/// Print a queue's lifecycle events, the newest last
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Name of the queue
    name: QueueName,
    /// How many at most: the newest, or those that follow --after
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Only those after this one
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// Go on with new ones until interrupted; with --json one document per line
    #[arg(long)]
    follow: bool,
}

impl Events {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        let mut broker = session.broker().await?;
        known_queue(broker.as_ref(), &self.name).await?;
        if broker.policy(&self.name).await?.events.is_none() {
            note(&format!(
                "queue {0} records no events; `bulkhead queue limit {0} --events 10000` makes it",
                self.name
            ));
        }
        let limit = self.limit as usize;
        let mut last = self.after.map(EventId);
        let events = match &last {
            Some(after) => after_one(broker.as_ref(), &self.name, after, limit).await?,
            None => newest(broker.as_ref(), &self.name, limit).await?,
        };
        if !self.follow {
            return print(session, &events).map(|()| Exit::Done);
        }
        print_lines(session, &events)?;
        last = events.last().map(|event| event.id.clone()).or(last);
        let mut lookout = Lookout::new(&session.config);
        while let Some(served) = lookout.exchange(broker, deadline(Duration::MAX)).await {
            broker = served;
            let events = broker.events(&self.name, last.as_ref(), PAGE, WAIT).await?;
            print_lines(session, &events)?;
            last = events.last().map(|event| event.id.clone()).or(last);
        }
        Ok(Exit::Done)
    }
}

async fn after_one(
    broker: &dyn Broker,
    queue: &QueueName,
    after: &EventId,
    limit: usize,
) -> Result<Vec<Event>> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let last = events.last().map_or(after, |event| &event.id);
        let page = (limit - events.len()).min(PAGE);
        let found = broker.events(queue, Some(last), page, Duration::ZERO).await?;
        let done = found.len() < page;
        events.extend(found);
        if done || events.len() >= limit {
            return Ok(events);
        }
    }
}

/// The newest events. A queue keeps so many at most, and no more are read, however fast
/// others come in.
async fn newest(broker: &dyn Broker, queue: &QueueName, limit: usize) -> Result<Vec<Event>> {
    let kept = broker.policy(queue).await?.events.unwrap_or(0) as usize;
    let mut events: VecDeque<Event> = VecDeque::new();
    let mut read = 0;
    while read <= kept {
        let last = events.back().map(|event| event.id.clone());
        let found = broker.events(queue, last.as_ref(), PAGE, Duration::ZERO).await?;
        let count = found.len();
        read += count;
        events.extend(found);
        events.drain(..events.len().saturating_sub(limit));
        if count < PAGE {
            break;
        }
    }
    Ok(events.into())
}

fn print(session: &Session, events: &[Event]) -> Result<()> {
    if session.out.is_json() {
        return Ok(session.out.document(&events)?);
    }
    let mut table = output::table(&["ID", "AT", "EVENT", "TASK", "TYPE", "TENANT"]);
    for event in events {
        table.add_row(vec![
            output::cell(&event.id.0),
            output::cell(&figures::time(event.at)),
            output::cell(event.kind.as_str()),
            output::cell(&event.task.to_string()),
            output::cell(&event.task_type),
            output::cell(&event.tenant),
        ]);
    }
    Ok(session.out.table(table, "no events")?)
}

/// One event a line, as it comes.
fn print_lines(session: &Session, events: &[Event]) -> Result<()> {
    for event in events {
        let line = if session.out.is_json() {
            serde_json::to_string(event)?
        } else {
            format!(
                "{}  {}  {:<10}  {}  {}  {}",
                escape::line(&event.id.0),
                figures::time(event.at),
                event.kind.as_str(),
                event.task,
                escape::line(&event.task_type),
                escape::line(&event.tenant)
            )
        };
        session.out.text(&format!("{line}\n"))?;
    }
    Ok(())
}
