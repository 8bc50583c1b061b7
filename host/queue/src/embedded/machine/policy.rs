//! A queue's policy, and pauses of a queue or of one type.

use bulkhead_core::{QueueName, QueuePolicy, TaskType, TenantName};

use super::journal::Touch;
use super::queue::Queue;
use super::{Machine, Now};

impl Machine {
    /// Replace a queue's policy. It applies from the next claim on.
    pub fn set_policy(&mut self, queue: &QueueName, policy: &QueuePolicy, now_us: u64) {
        let (at, now) = (self.open(queue), Now(now_us));
        let queue = &mut self.queues[at];
        queue.list_it();
        queue.facts.policy = policy.clone();
        queue.journal.note(|| Touch::Policy);
        queue.trim_events();
        queue.recall_lanes(now);
        let parked: Vec<TenantName> =
            queue.index.parked.iter().map(|(_, tenant)| tenant.clone()).collect();
        for tenant in parked {
            queue.unpark(&tenant);
        }
        queue.wake_all();
        self.calm(at, now);
    }

    /// A queue's policy.
    #[must_use]
    pub fn policy(&self, queue: &QueueName) -> QueuePolicy {
        self.at(queue).map(|at| self.queues[at].facts.policy.clone()).unwrap_or_default()
    }

    /// Stop handing out claims of a queue, or of one type; whether that was news.
    pub fn pause(&mut self, queue: &QueueName, task_type: Option<&TaskType>) -> bool {
        let at = self.open(queue);
        !self.queues[at].set_paused(task_type, true)
    }

    /// Hand out claims again; whether that was news.
    pub fn resume(&mut self, queue: &QueueName, task_type: Option<&TaskType>) -> bool {
        let Some(at) = self.enter(queue) else { return false };
        let queue = &mut self.queues[at];
        let was = queue.set_paused(task_type, false);
        queue.wake_all();
        was
    }
}

impl Queue {
    /// Set a pause; what it was before.
    fn set_paused(&mut self, task_type: Option<&TaskType>, paused: bool) -> bool {
        match task_type {
            None => {
                self.journal.note(|| Touch::Policy);
                std::mem::replace(&mut self.facts.paused, paused)
            }
            Some(task_type) => {
                self.journal.note(|| Touch::Type(task_type.clone()));
                let facts = self.facts.types.entry(task_type.clone()).or_default();
                std::mem::replace(&mut facts.paused, paused)
            }
        }
    }

    /// Claims have ended and their host wants no others: where limits may have held work
    /// back for other hosts, those are to look again.
    pub(super) fn wake_freed(&mut self, ended: usize) {
        let policy = &self.facts.policy;
        let bounded = policy.concurrency.is_some()
            || !policy.types.is_empty()
            || !policy.tenants.is_empty()
            || policy.other_tenants.is_some();
        if ended > 0 && bounded {
            self.wake_all();
        }
    }

    /// Hosts tell how long a task is kept that ends without one.
    pub(super) fn keep_as_told(&mut self, kept_ms: u64) {
        if self.facts.counters.kept_ms != Some(kept_ms) {
            self.facts.counters.kept_ms = Some(kept_ms);
            self.journal.counters();
        }
    }

    /// Wake hosts for all lines that have work.
    fn wake_all(&mut self) {
        let types: Vec<TaskType> = self
            .index
            .kinds
            .iter()
            .filter(|(_, kind)| !kind.ring.is_empty())
            .map(|(task_type, _)| task_type.clone())
            .collect();
        for task_type in types {
            self.wake(&task_type, None);
        }
    }
}
