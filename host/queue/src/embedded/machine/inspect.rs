//! Looking tasks up, and asking to hear of their ends.

use bulkhead_core::{QueueName, TaskId};

use super::queue::Queue;
use super::task::Place;
use super::{Machine, Now};
use crate::codec::{self, Unreadable};
use crate::view::{Entry, Holder, TaskView};

impl Machine {
    /// Look tasks up; `None` where unknown.
    #[must_use]
    pub fn inspect(&self, queue: &QueueName, ids: &[TaskId], now_us: u64) -> Vec<Option<TaskView>> {
        let Some(at) = self.at(queue) else { return vec![None; ids.len()] };
        ids.iter().map(|id| self.queues[at].view(*id, Now(now_us))).collect()
    }

    /// Ask to be noted when these tasks end; which of them are known.
    pub fn watch(&mut self, queue: &QueueName, ids: &[TaskId], now_us: u64) -> Vec<bool> {
        let Some(at) = self.at(queue) else { return vec![false; ids.len()] };
        let queue = &mut self.queues[at];
        let mut watch = |id: &TaskId| match queue.tasks.get_mut(id) {
            Some(kept) if kept.is_kept(Now(now_us)) => {
                kept.watched = !kept.place.has_ended();
                true
            }
            _ => false,
        };
        ids.iter().map(&mut watch).collect()
    }
}

impl Queue {
    pub(super) fn view(&self, id: TaskId, now: Now) -> Option<TaskView> {
        let kept = self.kept(id, now)?;
        let history: Result<Vec<Entry>, String> =
            kept.history.iter().map(|entry| codec::decode_entry(entry)).collect();
        let (task, history) = match (codec::decode(&self.name, id, &kept.record), history) {
            (Ok(record), Ok(history)) => (Ok(record.task), history),
            (Err(unreadable), _) => (Err(unreadable), Vec::new()),
            (_, Err(reason)) => {
                let bytes = kept.record.slice(..kept.record.len().min(64 << 10)).to_vec();
                (Err(Unreadable { reason, bytes }), Vec::new())
            }
        };
        let mut view = TaskView {
            id,
            queue: self.name.clone(),
            state: kept.place.state(),
            task,
            history,
            due_at: None,
            kept_until: None,
            holder: None,
            cancel_requested: kept.cancel,
            progress: None,
            waits_for: Vec::new(),
        };
        match &kept.place {
            Place::Blocked { .. } => view.waits_for = kept.waits().to_vec(),
            Place::Scheduled { due_ms } => view.due_at = Some(*due_ms),
            Place::Running { token, host, until_ms } => {
                view.progress = self.progress.get(&id).cloned();
                view.holder =
                    Some(Holder { host: host.to_string(), token: *token, lease_until: *until_ms });
            }
            Place::Ended { until_ms, .. } => view.kept_until = Some(*until_ms),
            Place::Lane { .. } | Place::Line { .. } => {}
        }
        Some(view)
    }
}
