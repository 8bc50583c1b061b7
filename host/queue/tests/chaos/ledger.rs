//! The ledger: what was accepted, what it came to, which effects it had.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use bulkhead_core::{QueueName, TaskId, TaskRef};
use bulkhead_queue::{Broker, Entry, TaskView};

use crate::faults::Fault;
use crate::producer::{Accepted, persist};
use crate::scene::Crash;

/// With a sync once a second, Redis answers up to this long before it writes if the disk is
/// busy with the sync before.
const POSTPONED: Duration = Duration::from_secs(2);
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
    /// Those of them that no crash of the server explains.
    pub(crate) lost_without_reason: usize,
    pub(crate) effects: usize,
    /// Effects beyond one for each attempt on record.
    pub(crate) repeated_attempts: usize,
    /// Attempts whose lease was lost: each may have had its effect, and was tried again.
    pub(crate) lost_leases: usize,
    /// Planned retries.
    pub(crate) retries: usize,
}

impl Figures {
    /// Look at every accepted task. `crashes` are those of the server.
    pub(crate) async fn of(
        broker: &dyn Broker,
        accepted: &Accepted,
        effects: &str,
        crashes: &[Crash],
    ) -> Self {
        let mut figures = Self {
            tasks: accepted.tasks.len() + accepted.callbacks.len(),
            batches: accepted.batches.len(),
            ..Self::default()
        };
        let mut had: HashMap<TaskId, HashMap<u32, usize>> = HashMap::new();
        for line in effects.lines() {
            let (id, attempt) = line.split_once(' ').expect("id and attempt");
            let of_task = had.entry(id.parse().unwrap()).or_default();
            *of_task.entry(attempt.parse().unwrap()).or_default() += 1;
            figures.effects += 1;
        }
        for (task, view) in views(broker, accepted.tasks.keys().cloned().collect()).await {
            match view {
                Some(view) => figures.account(&view, had.remove(&task.id).unwrap_or_default()),
                None => {
                    figures.lost += 1;
                    let at = accepted.tasks[&task];
                    let took = |crash: &Crash| crash.at >= at && at + POSTPONED >= crash.kept_from;
                    figures.lost_without_reason += usize::from(!crashes.iter().any(took));
                }
            }
        }
        for (task, view) in views(broker, accepted.callbacks.clone()).await {
            match view {
                Some(view) => figures.account(&view, had.remove(&task.id).unwrap_or_default()),
                // A batch can be lost with the second in which it was opened.
                None => {
                    figures.lost +=
                        usize::from(crashes.iter().all(|crash| crash.kept_from == crash.at))
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
        writeln!(f, "| side effects | {} |", self.effects)?;
        writeln!(f, "| attempts with more than one effect | {} |", self.repeated_attempts)?;
        writeln!(f, "| attempts tried again after a lost lease | {} |", self.lost_leases)?;
        writeln!(f, "| planned retries | {} |", self.retries)?;
        writeln!(f, "\n| Fault | Injected | Recovered after, median | max |\n|---|---|---|---|")?;
        for (fault, times) in &self.faults {
            let mut times = times.clone();
            times.sort();
            let (median, max) = (times[times.len() / 2], times[times.len() - 1]);
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
