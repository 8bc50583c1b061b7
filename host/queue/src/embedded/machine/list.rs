//! Listing tasks of one state, in the order of the index that holds them.

use std::collections::BTreeSet;
use std::ops::Bound;

use bulkhead_core::{QueueName, State, TaskId};

use super::index::Index;
use super::queue::Queue;
use super::{Machine, Now};
use crate::view::{ListFilter, Mark, TaskPage};

/// Tasks that one page of a listing looks at, so that a filter that matches nothing ends.
const LOOK_AT_MOST: usize = 20_000;

impl Machine {
    /// List tasks of one state, from where a page before ended.
    #[must_use]
    pub fn list(
        &self,
        queue: &QueueName,
        filter: &ListFilter,
        after: Option<&Mark>,
        now_us: u64,
    ) -> TaskPage {
        let mut tasks = Vec::new();
        let Some(at) = self.at(queue) else { return TaskPage { tasks, next: None } };
        let (queue, now) = (&self.queues[at], Now(now_us));
        let after = after.and_then(Stand::of);
        let mut listed = queue.in_state(filter.state, after.as_ref());
        let mut last = None;
        for stand in listed.by_ref().take(LOOK_AT_MOST) {
            if queue.may_admit(stand.id, filter)
                && let Some(view) = queue.view(stand.id, now)
                && filter.admits(&view)
            {
                tasks.push(view);
            }
            last = Some(stand);
            if tasks.len() >= filter.limit {
                break;
            }
        }
        let next = listed.next().and(last).map(|stand| stand.mark());
        TaskPage { tasks, next }
    }
}

/// Where a task stands in the index that holds it.
#[derive(Clone, Copy)]
struct Stand<'a> {
    index: Name<'a>,
    score: i64,
    id: TaskId,
}

/// An index. The order of these is the order of a listing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name<'a> {
    /// The only one of its state.
    Only,
    /// A line, by type and tenant.
    Line(&'a str, &'a str),
    /// A lane, by key.
    Lane(&'a str),
}

impl<'a> Stand<'a> {
    fn of(mark: &'a Mark) -> Option<Self> {
        let mut words = mark.index.splitn(3, ' ');
        let index = match (words.next()?, words.next(), words.next()) {
            ("line", Some(task_type), Some(tenant)) => Name::Line(task_type, tenant),
            ("lane", Some(key), None) => Name::Lane(key),
            _ => Name::Only,
        };
        Some(Self { index, score: mark.score, id: mark.id })
    }

    fn only(score: u64, id: TaskId) -> Self {
        Self { index: Name::Only, score: i64::try_from(score).unwrap_or(i64::MAX), id }
    }

    fn mark(self) -> Mark {
        let index = match self.index {
            Name::Only => String::new(),
            Name::Line(task_type, tenant) => format!("line {task_type} {tenant}"),
            Name::Lane(key) => format!("lane {key}"),
        };
        Mark { index, score: self.score, id: self.id }
    }
}

impl Queue {
    pub(super) fn ids_of(&self, state: State, at_most: usize) -> Vec<TaskId> {
        self.in_state(state, None).map(|stand| stand.id).take(at_most).collect()
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

    /// The tasks of a state behind one of them; dead letters and ended ones newest first.
    fn in_state<'a>(
        &'a self,
        state: State,
        after: Option<&'a Stand<'a>>,
    ) -> Box<dyn Iterator<Item = Stand<'a>> + 'a> {
        let Index { blocked, scheduled, leases, dead, ended, .. } = &self.index;
        match state {
            State::Blocked => Box::new(rising(blocked, after)),
            State::Scheduled => Box::new(rising(scheduled, after)),
            State::Running => Box::new(rising(leases, after)),
            State::Failed => {
                let below = after.map(|after| (after.score.unsigned_abs(), after.id));
                let below = below.map_or(Bound::Unbounded, Bound::Excluded);
                let dead = dead.range((Bound::Unbounded, below)).rev();
                Box::new(dead.map(|(time, id)| Stand::only(*time, *id)))
            }
            State::Completed | State::Cancelled | State::Expired => {
                let below = after.map(|after| after.score.unsigned_abs());
                let below = below.map_or(Bound::Unbounded, Bound::Excluded);
                let ended = ended.range((Bound::Unbounded, below)).rev();
                let of_state =
                    move |id| self.tasks.get(id).is_some_and(|kept| kept.place.state() == state);
                let ended = ended.filter(move |(_, id)| of_state(id));
                Box::new(ended.map(|(number, id)| Stand::only(*number, *id)))
            }
            State::Pending => {
                let lines = self.index.kinds.iter().flat_map(|(task_type, kind)| {
                    kind.lines.iter().map(move |(tenant, line)| {
                        (Name::Line(task_type.as_str(), tenant.as_str()), &line.tasks)
                    })
                });
                let lanes = self.index.lanes.iter();
                let lanes = lanes.map(|(key, lane)| (Name::Lane(key.as_str()), &lane.waiting));
                let after = after.map(|after| (after.index, (after.score, after.id)));
                let behind = lines.chain(lanes).flat_map(move |(index, tasks)| {
                    // Of an index before the mark's, nothing; of a later one, all.
                    let from = match after {
                        Some((marked, at)) if marked == index => Bound::Excluded(at),
                        Some((marked, at)) if marked > index => Bound::Excluded((i64::MAX, at.1)),
                        _ => Bound::Unbounded,
                    };
                    let tasks = tasks.range((from, Bound::Unbounded));
                    tasks.map(move |(score, id)| Stand { index, score: *score, id: *id })
                });
                Box::new(behind)
            }
        }
    }
}

fn rising<'a>(
    index: &'a BTreeSet<(u64, TaskId)>,
    after: Option<&Stand<'_>>,
) -> impl Iterator<Item = Stand<'a>> + use<'a> {
    let above = after.map(|after| (after.score.unsigned_abs(), after.id));
    let above = above.map_or(Bound::Unbounded, Bound::Excluded);
    index.range((above, Bound::Unbounded)).map(|(score, id)| Stand::only(*score, *id))
}
