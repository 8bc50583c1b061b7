//! `bulkhead schedule`: tasks that are submitted again and again, or once at a time.

mod put;
mod show;

use anyhow::Result;
use bulkhead::core::{QueueName, UnixMs};
use bulkhead::queue::{Broker, FireAnswer, ScheduleView};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, failed, not_found};
use super::figures;
use super::session::{Session, known_queue};

/// Look at schedules, define them, stop them, fire them
#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// List schedules with their next and last fires
    List {
        /// Only this queue's
        #[arg(long, value_name = "NAME")]
        queue: Option<QueueName>,
    },
    /// Show a schedule and what it submits
    Show(Named),
    /// Define a schedule, or define a known one anew
    ///
    /// A known schedule keeps its pause and its history; one whose definition is the same
    /// keeps its next fire too. Hosts fire the schedules of the queues that they serve.
    Put(Box<put::Put>),
    /// Forget a schedule; its tasks stay
    Remove(Named),
    /// Stop a schedule; fires pass until it is resumed
    Pause(Named),
    /// Start a schedule again; what passed is not made up for
    Resume(Named),
    /// Submit a schedule's task now; its next fire stays as it is
    Fire(Named),
    /// Show when a schedule fires next
    Next {
        #[command(flatten)]
        named: Named,
        /// How many fires
        #[arg(short = 'n', long, value_name = "N", default_value_t = 5,
            value_parser = clap::value_parser!(u16).range(1..=1_000))]
        count: u16,
    },
}

/// One schedule.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Name of the schedule
    name: String,
    /// Its queue
    #[arg(long, value_name = "NAME", default_value = "default")]
    queue: QueueName,
}

/// What a command changed, in JSON.
#[derive(Serialize)]
struct Changed<'a> {
    queue: &'a str,
    schedule: &'a str,
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UnixMs>,
}

impl Changed<'_> {
    /// Print it, and for people `how` the schedule is now.
    fn print(&self, session: &Session, how: &str, now: UnixMs) -> Result<Exit> {
        if session.out.is_json() {
            session.out.document(self)?;
        } else {
            let next = self.next.map_or_else(String::new, |at| {
                format!(", next fire {} ({})", figures::time(at), figures::relative(at, now))
            });
            session.out.text(&format!("schedule {} {how}{next}\n", self.schedule))?;
        }
        Ok(Exit::Done)
    }
}

/// A fire by hand, in JSON.
#[derive(Serialize)]
struct Fired<'a> {
    queue: &'a str,
    schedule: &'a str,
    id: String,
}

/// A coming fire in JSON.
#[derive(Serialize)]
struct Upcoming {
    at: UnixMs,
}

impl Schedule {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        match self {
            Self::List { queue } => show::list(session, queue.as_ref()).await,
            Self::Show(named) => {
                let view = named.find(session.broker().await?.as_ref()).await?;
                show::show(session, &named.queue, &view)
            }
            Self::Put(put) => put.run(session).await,
            Self::Remove(named) => named.remove(session).await,
            Self::Pause(named) => named.pause(session, true).await,
            Self::Resume(named) => named.pause(session, false).await,
            Self::Fire(named) => named.fire(session).await,
            Self::Next { named, count } => named.next(session, count.into()).await,
        }
    }
}

impl Named {
    async fn find(&self, broker: &dyn Broker) -> Result<ScheduleView> {
        known_queue(broker, &self.queue).await?;
        let mut all = broker.schedules(&self.queue).await?;
        if let Some(at) = all.iter().position(|view| view.schedule.name == self.name) {
            return Ok(all.swap_remove(at));
        }
        let distance =
            |view: &&ScheduleView| strsim::damerau_levenshtein(&view.schedule.name, &self.name);
        let closest = all.iter().min_by_key(distance);
        Err(not_found(match closest {
            Some(known) => format!(
                "queue {} has no schedule `{}`; did you mean `{}`? `bulkhead schedule list` shows \
                 all",
                self.queue, self.name, known.schedule.name
            ),
            None => format!(
                "queue {} has no schedule `{}`; name another queue with --queue",
                self.queue, self.name
            ),
        }))
    }

    async fn remove(&self, session: &Session) -> Result<Exit> {
        let broker = session.broker().await?;
        let view = self.find(broker.as_ref()).await?;
        let changed = broker.remove_schedule(&self.queue, &self.name).await?;
        if view.schedule.origin == bulkhead::core::Schedule::FROM_CONFIG {
            super::output::note(
                "it comes from a configuration; the next host that starts with it defines it again",
            );
        }
        self.print_change(session, changed, None, "removed")
    }

    async fn pause(&self, session: &Session, paused: bool) -> Result<Exit> {
        let broker = session.broker().await?;
        let view = self.find(broker.as_ref()).await?;
        let now = broker.due_schedules(&self.queue, 1).await?.now;
        let next = view.schedule.next_after(now);
        if view.paused != paused
            && !broker.pause_schedule(&self.queue, &self.name, paused, next).await?
        {
            return Err(not_found(format!("schedule `{}` was removed meanwhile", self.name)));
        }
        let state = if paused { "paused" } else { "running" };
        let next = next.filter(|_| !paused);
        self.print_change(session, view.paused != paused, next, state)
    }

    fn print_change(
        &self,
        session: &Session,
        changed: bool,
        next: Option<UnixMs>,
        state: &str,
    ) -> Result<Exit> {
        let already = if changed { "" } else { " already" };
        let change = Changed { queue: self.queue.as_str(), schedule: &self.name, changed, next };
        change.print(session, &format!("is {state}{already}"), figures::now())
    }

    async fn fire(&self, session: &Session) -> Result<Exit> {
        let broker = session.broker().await?;
        let view = self.find(broker.as_ref()).await?;
        let now = broker.due_schedules(&self.queue, 1).await?.now;
        let (id, fire) = view.by_hand(&self.queue, now);
        match broker.fire(&self.queue, &fire).await? {
            FireAnswer::Fired(1..) => {}
            FireAnswer::Fired(0) => {
                return Err(failed(
                    "the task was not accepted: its unique key is taken, or its tenant's quota is \
                     used up",
                ));
            }
            FireAnswer::Overlapping => {
                return Err(failed(format!(
                    "schedule `{}` is exclusive and its last task{} has not ended",
                    self.name,
                    view.last.map_or_else(String::new, |last| format!(", {},", last.task))
                )));
            }
            FireAnswer::Superseded | FireAnswer::Unknown => {
                return Err(failed(format!(
                    "schedule `{}` was changed meanwhile; try again",
                    self.name
                )));
            }
        }
        if session.out.is_json() {
            session.out.document(&Fired {
                queue: self.queue.as_str(),
                schedule: &self.name,
                id: id.to_string(),
            })?;
        } else {
            session.out.text(&format!("{id}\n"))?;
        }
        Ok(Exit::Done)
    }

    async fn next(&self, session: &Session, count: usize) -> Result<Exit> {
        let broker = session.broker().await?;
        let view = self.find(broker.as_ref()).await?;
        let now = broker.due_schedules(&self.queue, 1).await?.now;
        let fires = view.upcoming(now, count);
        if view.paused {
            super::output::note(&format!("schedule {} is paused: fires pass", self.name));
        }
        show::upcoming(session, &view, &fires)
    }
}
