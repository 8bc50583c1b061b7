//! Listing tasks of one state, in the order of the index that holds them.

use bulkhead_core::{QueueName, State, TaskId};

use super::index::{Index, Kind};
use super::queue::Queue;
use super::{Machine, Now};
use crate::view::{ListFilter, TaskView};

/// Records that one listing decodes, so that a filter that matches nothing ends.
const LOOK_AT_MOST: usize = 20_000;

impl Machine {
    /// List tasks of one state.
    #[must_use]
    pub fn list(&self, queue: &QueueName, filter: &ListFilter, now_us: u64) -> Vec<TaskView> {
        let Some(at) = self.at(queue) else { return Vec::new() };
        let (queue, now) = (&self.queues[at], Now(now_us));
        let mut passed = 0;
        let mut found = Vec::new();
        let admitted = queue
            .in_state(filter.state)
            .filter(|id| queue.may_admit(*id, filter))
            .take(LOOK_AT_MOST)
            .filter_map(|id| queue.view(id, now))
            .filter(|view| filter.admits(view));
        for view in admitted {
            if found.len() >= filter.limit {
                break;
            }
            passed += 1;
            if passed > filter.offset {
                found.push(view);
            }
        }
        found
    }
}

impl Queue {
    pub(super) fn ids_of(&self, state: State, at_most: usize) -> Vec<TaskId> {
        self.in_state(state).take(at_most).collect()
    }

    /// What can be told without decoding a record.
    fn may_admit(&self, id: TaskId, filter: &ListFilter) -> bool {
        self.tasks.get(&id).is_some_and(|kept| {
            let batch = kept.ties.as_ref().and_then(|ties| ties.batch.as_ref());
            filter.task_type.as_ref().is_none_or(|wanted| *wanted == kept.task_type)
                && filter.tenant.as_ref().is_none_or(|wanted| *wanted == kept.tenant)
                && filter.batch.is_none_or(|wanted| batch.is_some_and(|batch| batch.id == wanted))
        })
    }

    /// The tasks of a state; the ended ones newest first.
    fn in_state(&self, state: State) -> Box<dyn Iterator<Item = TaskId> + '_> {
        let Index { blocked, scheduled, leases, dead, ended, .. } = &self.index;
        match state {
            State::Blocked => Box::new(blocked.iter().map(|(_, id)| *id)),
            State::Scheduled => Box::new(scheduled.iter().map(|(_, id)| *id)),
            State::Running => Box::new(leases.iter().map(|(_, id)| *id)),
            State::Failed => Box::new(dead.iter().rev().map(|(_, id)| *id)),
            State::Completed | State::Cancelled | State::Expired => {
                Box::new(ended.values().rev().copied().filter(move |id| {
                    self.tasks.get(id).is_some_and(|kept| kept.place.state() == state)
                }))
            }
            State::Pending => {
                let lines = self.index.kinds.values().flat_map(Kind::in_line);
                let lanes = self.index.lanes.values().flat_map(|lane| &lane.waiting);
                Box::new(lines.chain(lanes.map(|(_, id)| *id)))
            }
        }
    }
}

impl Kind {
    /// All lines of a type: those in the ring by their turn, then those that a limit keeps
    /// out.
    fn in_line(&self) -> impl Iterator<Item = TaskId> {
        let turns = self.ring.iter().filter_map(|(_, tenant)| self.lines.get(tenant));
        let kept_out = self.lines.values().filter(|line| line.virtual_time.is_none());
        turns.chain(kept_out).flat_map(|line| line.tasks.iter().map(|(_, id)| *id))
    }
}
