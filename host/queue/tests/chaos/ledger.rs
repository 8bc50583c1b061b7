//! The ledger: what was accepted, what it came to, which effects it had.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use bulkhead_core::{QueueName, TaskId, TaskRef};
use bulkhead_queue::{Broker, Entry, TaskView};

use crate::faults::Fault;
use crate::producer::{Accepted, Call, persist};
use crate::scene::Crash;

/// Tasks looked at in one call.
const LOOK: usize = 200;

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) tasks: usize,
    pub(crate) batches: usize,
    pub(crate) faults: BTreeMap<Fault, Vec<Duration>>,
    /// Accepted tasks that are not there at the end.
    pub(crate) lost: usize,
    /// Those of them that were on disk when the server ended.
    pub(crate) lost_though_synced: usize,
    /// For each loss of power that took something, since when nothing had been synced.
    pub(crate) unsynced: BTreeMap<Fault, Vec<Duration>>,
    pub(crate) effects: usize,
    /// Effects beyond one for each attempt on record.
    pub(crate) repeated_attempts: usize,
    /// Attempts whose lease was lost: each may have had its effect, and was tried again.
    pub(crate) lost_leases: usize,
    /// Planned retries.
    pub(crate) retries: usize,
}

impl Figures {
    /// Look at every accepted task. `crashes` are the ends of the server.
    pub(crate) async fn of(
        broker: &dyn Broker,
        accepted: &Accepted,
        effects: &str,
        crashes: &[Crash],
    ) -> Self {
        let mut figures = Self {
            tasks: accepted.tasks.len() + accepted.callbacks.len(),
            batches: accepted.batches,
            ..Self::default()
        };
        let took = |crash: &&Crash| crash.took_bytes > 0 && crash.kept_from < crash.at;
        for crash in crashes.iter().filter(took) {
            let unsynced = figures.unsynced.entry(crash.fault).or_default();
            unsynced.push(crash.at - crash.kept_from);
        }
        let mut had: HashMap<TaskId, HashMap<u32, usize>> = HashMap::new();
        for line in effects.lines() {
            let (id, attempt) = line.split_once(' ').expect("id and attempt");
            let of_task = had.entry(id.parse().unwrap()).or_default();
            *of_task.entry(attempt.parse().unwrap()).or_default() += 1;
            figures.effects += 1;
        }
        for calls in [&accepted.tasks, &accepted.callbacks] {
            for (task, view) in views(broker, calls.keys().cloned().collect()).await {
                match view {
                    Some(view) => figures.account(&view, had.remove(&task.id).unwrap_or_default()),
                    None => {
                        let call = calls[&task];
                        let is_explained = crashes.iter().any(|crash| crash.may_have_taken(call));
                        figures.lost += 1;
                        figures.lost_though_synced += usize::from(!is_explained);
                    }
                }
            }
        }
        figures
    }

    /// Hold a task's effects against its history.
    fn account(&mut self, view: &TaskView, effects: HashMap<u32, usize>) {
        assert!(view.state.is_terminal(), "{view:#?}");
        let (mut ended, mut lost) = (0, 0);
        for entry in &view.history {
            match entry {
                Entry::Ended(..) => ended += 1,
                Entry::LeaseLost { .. } => lost += 1,
                _ => {}
            }
        }
        self.lost_leases += lost;
        self.retries += ended - ended.min(1);
        let had: usize = effects.values().sum();
        self.repeated_attempts += had.saturating_sub(ended + lost);
        self.repeated_attempts += effects.values().filter(|times| **times > 1).count();
    }
}

impl Crash {
    /// Whether what a call stored may not have been on disk: the call had been made when the
    /// server ended, and its answer was not there when all was still kept.
    fn may_have_taken(&self, call: Call) -> bool {
        call.made <= self.at && call.answered >= self.kept_from
    }
}

/// What is known of these tasks.
pub(crate) async fn views(
    broker: &dyn Broker,
    tasks: Vec<TaskRef>,
) -> Vec<(TaskRef, Option<TaskView>)> {
    let mut by_queue: HashMap<QueueName, Vec<TaskRef>> = HashMap::new();
    for task in tasks {
        by_queue.entry(task.queue.clone()).or_default().push(task);
    }
    let mut found = Vec::new();
    for (queue, tasks) in by_queue {
        for tasks in tasks.chunks(LOOK) {
            let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
            let views = persist(|| broker.inspect(&queue, &ids)).await;
            found.extend(tasks.iter().cloned().zip(views));
        }
    }
    found
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | |\n|---|---|")?;
        writeln!(
            f,
            "| tasks accepted | {} (in {} batches, callbacks included) |",
            self.tasks, self.batches
        )?;
        writeln!(f, "| tasks lost | {} |", self.lost)?;
        writeln!(f, "| tasks lost that had been synced | {} |", self.lost_though_synced)?;
        for (fault, times) in &self.unsynced {
            let Some((median, max)) = spread(times) else { continue };
            let (fault, median, max) = (fault.name(), median.as_millis(), max.as_millis());
            writeln!(f, "| {fault}: not synced by then | median {median} ms, max {max} ms |")?;
        }
        writeln!(f, "| side effects | {} |", self.effects)?;
        writeln!(f, "| attempts with more than one effect | {} |", self.repeated_attempts)?;
        writeln!(f, "| attempts tried again after a lost lease | {} |", self.lost_leases)?;
        writeln!(f, "| planned retries | {} |", self.retries)?;
        writeln!(f, "\n| Fault | Injected | Recovered after, median | max |\n|---|---|---|---|")?;
        for (fault, times) in &self.faults {
            let Some((median, max)) = spread(times) else { continue };
            writeln!(
                f,
                "| {} | {} | {} ms | {} ms |",
                fault.name(),
                times.len(),
                median.as_millis(),
                max.as_millis()
            )?;
        }
        Ok(())
    }
}

/// The median and the greatest of these times.
fn spread(times: &[Duration]) -> Option<(Duration, Duration)> {
    let mut times = times.to_vec();
    times.sort();
    Some((*times.get(times.len() / 2)?, *times.last()?))
}
