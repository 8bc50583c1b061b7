//! Looking at the broker: what every refresh reads, and what one pane needs beyond it.
//!
//! The calls of a refresh depend on how many queues and hosts there are, never on how many
//! tasks. Nothing here writes.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead::core::{Outcome, QueueName, QueuePolicy, State, TaskId, UnixMs};
use bulkhead::queue::{Broker, Entry, ListFilter, QueueError, TaskView};
use bulkhead_api::document::{Look, Overview};
use futures::future::try_join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::typed::{TypeNow, Window};
use crate::cli::open::Outlook;
use crate::cli::reason::reason;
use crate::cli::{escape, figures};

/// Tasks of one listing.
const TASKS: usize = 50;
/// Dead letters that are read of one queue, and shown of all.
const DEAD: usize = 20;
const DEAD_SHOWN: usize = 100;
/// Queues whose policies and dead letters are read.
const QUEUES: usize = 100;
/// Characters of a reason that are kept.
const REASON: usize = 1_000;
/// Between two looks into a folder that no host has open.
const BRIEFLY_EVERY: Duration = Duration::from_secs(5);
/// Between two looks, however fast a person goes from pane to pane.
const PAUSE: Duration = Duration::from_millis(50);

/// What is read beyond the overview.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Beyond {
    #[default]
    Nothing,
    /// The policies of queues.
    Policies,
    /// The newest dead letters.
    Dead,
    /// Tasks of one queue in one state.
    Tasks(QueueName, State),
}

/// What the display wants to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) beyond: Beyond,
    /// Nothing at all.
    pub(super) frozen: bool,
}

/// A task in a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TaskLine {
    pub(super) id: TaskId,
    pub(super) queue: String,
    pub(super) task_type: String,
    pub(super) tenant: String,
    pub(super) attempts: u32,
    /// When it ended, is due, or was submitted.
    pub(super) at: Option<UnixMs>,
    /// Why it failed, what it does, or who runs it; not escaped.
    pub(super) what: String,
}

/// What was seen.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) look: Look,
    pub(super) overview: Overview,
    pub(super) types: Vec<TypeNow>,
    pub(super) policies: BTreeMap<QueueName, QueuePolicy>,
    pub(super) dead: Vec<TaskLine>,
    /// The tasks that were wanted, and of what.
    pub(super) tasks: Option<(QueueName, State, Vec<TaskLine>)>,
}

/// Looks again and again.
pub(super) struct Looker {
    outlook: Outlook,
    named: Vec<QueueName>,
    interval: Duration,
    window: Window,
    last: Option<(Instant, Look, Overview)>,
    /// The dead letters of each queue, and the counts by which new ones are known.
    dead: BTreeMap<QueueName, ((u64, u64), Vec<TaskLine>)>,
}

impl Looker {
    pub(super) fn new(outlook: Outlook, named: Vec<QueueName>, interval: Duration) -> Self {
        let (window, dead) = (Window::default(), BTreeMap::new());
        Self { outlook, named, interval, window, last: None, dead }
    }

    /// Look once.
    pub(super) async fn look(&mut self, beyond: &Beyond) -> Result<Seen, QueueError> {
        let seen = match self.outlook.broker().await {
            Ok(broker) => self.look_at(broker.as_ref(), beyond).await,
            Err(error) => Err(error),
        };
        if seen.is_err() {
            self.outlook.failed();
        }
        seen
    }

    /// Look until nobody wants it any more.
    pub(super) async fn watch(
        mut self,
        mut wanted: watch::Receiver<Wanted>,
        news: mpsc::Sender<Result<Box<Seen>, String>>,
    ) {
        loop {
            let Wanted { beyond, frozen } = wanted.borrow_and_update().clone();
            if !frozen {
                let seen = self.look(&beyond).await.map(Box::new);
                if news.send(seen.map_err(|error| error.to_string())).await.is_err() {
                    return;
                }
            }
            let next = match self.outlook.is_brief() {
                true => self.interval.max(BRIEFLY_EVERY),
                false => self.interval,
            };
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                () = tokio::time::sleep(next.saturating_sub(PAUSE)) => {}
                changed = wanted.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn look_at(&mut self, broker: &dyn Broker, beyond: &Beyond) -> Result<Seen, QueueError> {
        // A pane that was just turned to asks for what it needs alone: rates over a moment
        // would say nothing.
        let is_due = |at: &Instant| at.elapsed() + PAUSE >= self.interval;
        let known = self.last.as_ref().filter(|(at, ..)| !is_due(at));
        let (look, overview) = match known {
            Some((_, look, overview)) => (look.clone(), overview.clone()),
            None => {
                let look = Look::take(broker, &self.named).await?;
                let before = self.last.as_ref().map(|(_, _, overview)| overview);
                let overview = Overview::of(&look, before);
                self.window.observe(&look.hosts);
                self.last = Some((Instant::now(), look.clone(), overview.clone()));
                (look, overview)
            }
        };
        let types = self.window.types(&look);
        let mut seen = Seen {
            look,
            overview,
            types,
            policies: BTreeMap::new(),
            dead: Vec::new(),
            tasks: None,
        };
        match beyond {
            Beyond::Nothing => {}
            Beyond::Policies => {
                let names: Vec<&QueueName> =
                    seen.look.queues.iter().map(|(name, _)| name).take(QUEUES).collect();
                let found = try_join_all(names.iter().map(|name| broker.policy(name))).await?;
                seen.policies = names.into_iter().cloned().zip(found).collect();
            }
            Beyond::Dead => seen.dead = self.dead(broker, &seen.look).await?,
            Beyond::Tasks(queue, state) => {
                let filter = ListFilter { limit: TASKS, ..ListFilter::of(*state) };
                let page = broker.list(queue, &filter, None).await?;
                let lines = page.tasks.iter().map(line).collect();
                seen.tasks = Some((queue.clone(), *state, lines));
            }
        }
        Ok(seen)
    }

    /// The newest dead letters. A queue is read again only when it has others.
    async fn dead(
        &mut self,
        broker: &dyn Broker,
        look: &Look,
    ) -> Result<Vec<TaskLine>, QueueError> {
        let with_dead = look.queues.iter().filter(|(_, stats)| stats.failed > 0).take(QUEUES);
        let counts: BTreeMap<&QueueName, (u64, u64)> = with_dead
            .map(|(name, stats)| {
                let total = stats.totals.get("dead_lettered").copied().unwrap_or(0);
                (name, (stats.failed, total))
            })
            .collect();
        self.dead.retain(|name, _| counts.contains_key(name));
        for (name, count) in counts {
            if self.dead.get(name).is_some_and(|(known, _)| *known == count) {
                continue;
            }
            let filter = ListFilter { limit: DEAD, ..ListFilter::of(State::Failed) };
            let page = broker.list(name, &filter, None).await?;
            self.dead.insert(name.clone(), (count, page.tasks.iter().map(line).collect()));
        }
        let mut dead: Vec<TaskLine> =
            self.dead.values().flat_map(|(_, lines)| lines).cloned().collect();
        dead.sort_by_key(|line| std::cmp::Reverse(line.at));
        dead.truncate(DEAD_SHOWN);
        Ok(dead)
    }
}

fn line(view: &TaskView) -> TaskLine {
    let task = view.task.as_ref().ok();
    let at = view.due_at.or_else(|| ended_at(view)).or(task.map(|task| task.submitted_at));
    TaskLine {
        id: view.id,
        queue: view.queue.to_string(),
        task_type: task.map_or_else(|| "?".into(), |task| task.task_type.to_string()),
        tenant: task.map_or_else(|| "?".into(), |task| task.tenant.to_string()),
        attempts: view.attempts(),
        at,
        what: what(view).chars().take(REASON).collect(),
    }
}

fn ended_at(view: &TaskView) -> Option<UnixMs> {
    if !view.state.is_terminal() {
        return None;
    }
    match view.history.last()? {
        Entry::Ended(_, report) => Some(report.started_at + report.metering.wall_us / 1_000),
        Entry::LeaseLost { at, .. }
        | Entry::Cancelled { at, .. }
        | Entry::Expired { at }
        | Entry::ParentFailed { at, .. }
        | Entry::Rerun { at } => Some(*at),
        Entry::Parent { .. } => None,
    }
}

fn what(view: &TaskView) -> String {
    if let Err(unreadable) = &view.task {
        return format!("unreadable: {}", unreadable.reason);
    }
    if let Some(reason) = reason(view) {
        return reason;
    }
    let holder = view.holder.as_ref().map(|holder| &holder.host);
    let host = holder.map(|host| host.split('#').next().unwrap_or(host));
    match (&view.progress, host, view.waits_for.len()) {
        (Some(progress), Some(host), _) => {
            let percent = (progress.fraction.clamp(0.0, 1.0) * 100.0).round();
            return format!("{percent}% on {host}: {}", progress.message);
        }
        (None, Some(host), _) => return format!("on {host}"),
        (_, None, 0) => {}
        (_, None, parents) => return format!("waits for {parents} tasks"),
    }
    match view.last_report().map(|report| &report.outcome) {
        Some(Outcome::Failed(failure)) => format!("{}: {}", failure.kind, failure.message),
        Some(Outcome::Done(output)) => {
            let size = figures::bytes(output.data.len() as u64);
            format!("{}, {size}", escape::brief(&output.content_type, 40))
        }
        None => String::new(),
    }
}
