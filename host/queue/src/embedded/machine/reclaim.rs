//! Reclaim: leases that ran out. The attempt is recorded as lost and the task goes back.

use bulkhead_core::{QueueName, TaskId};

use super::claim::RawClaim;
use super::queue::{Queue, RETURN_US, Total};
use super::task::Place;
use super::{Machine, Now};
use crate::event::EventKind;
use crate::view::Entry;

/// Leases taken back in one step.
pub(super) const RECLAIM_MAX: u64 = 100;

impl Queue {
    pub(super) fn reclaim(&mut self, now: Now) -> u64 {
        let mut reclaimed = 0;
        while reclaimed < RECLAIM_MAX {
            match self.index.leases.first() {
                Some((until_ms, id)) if *until_ms <= now.ms() => {
                    let id = *id;
                    self.lose(id, now);
                    reclaimed += 1;
                }
                _ => break,
            }
        }
        reclaimed
    }

    fn lose(&mut self, id: TaskId, now: Now) {
        let Some(kept) = self.tasks.get_mut(&id) else { return };
        let Place::Running { host, .. } = &kept.place else { return };
        let host = host.to_string();
        kept.attempts = kept.attempts.saturating_add(1);
        self.append(id, &Entry::LeaseLost { at: now.ms(), host });
        self.progress.remove(&id);
        self.count(Total::Reclaimed, 1);
        self.tell(EventKind::LeaseLost, id, now);
        self.make_ready(id, RETURN_US, now);
    }
}

impl Machine {
    /// Take all leases back, whenever they end: for a process that knows that no other
    /// holds any. The number taken back.
    pub fn reclaim_all(&mut self, now_us: u64) -> u64 {
        let (now, mut reclaimed) = (Now(now_us), 0);
        for at in 0..self.queues.len() {
            let held: Vec<TaskId> =
                self.queues[at].index.leases.iter().map(|(_, id)| *id).collect();
            reclaimed += held.len() as u64;
            for id in held {
                self.queues[at].lose(id, now);
            }
            self.calm(at, now);
        }
        reclaimed
    }

    pub(crate) fn raw_held(&self, queue: &QueueName, host: &str) -> Vec<RawClaim> {
        let Some(at) = self.at(queue) else { return Vec::new() };
        let queue = &self.queues[at];
        let held = queue.index.leases.iter().filter_map(|(_, id)| {
            let kept = queue.tasks.get(id)?;
            let Place::Running { token, host: holder, .. } = &kept.place else { return None };
            (**holder == *host).then(|| kept.claim(*id, *token))
        });
        held.collect()
    }
}
