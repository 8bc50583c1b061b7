//! Dependencies: a blocked task waits for its parents, in whatever queues they are.
//!
//! Parents are looked for by [`Machine::deliver`], not at submission, so that the tasks of
//! a workflow may be submitted in any order and number of calls. Ends are applied with the
//! edge that brings them about.

use bulkhead_core::{OnFailedParent, Payload, QueueName, State, TaskId, TaskRef};

use super::end::output_in;
use super::queue::Total;
use super::task::Place;
use super::{Machine, Node, Now};
use crate::event::EventKind;
use crate::view::{CancelReason, Entry};

/// Parents looked for in one delivery.
const DELIVER_MAX: usize = 1_000;

/// What a blocked task is to be told of a parent.
struct Heard {
    child: Node,
    parent: TaskRef,
    /// How it ended; nothing if it is unknown.
    state: Option<State>,
    output: Option<Payload>,
}

impl Machine {
    /// Look for the parents of newly blocked tasks of a queue, at most 1,000; how many were
    /// looked for.
    pub fn deliver(&mut self, queue: &QueueName, now_us: u64) -> u64 {
        let Some(at) = self.enter(queue) else { return 0 };
        let (now, mut carried, mut heard) = (Now(now_us), 0, Vec::new());
        while let Some((_, id)) = self.queues[at].index.unlinked.first().copied() {
            let parents = self.queues[at].tasks.get(&id).map_or(0, |kept| kept.waits().len());
            if carried > 0 && carried + parents > DELIVER_MAX {
                break;
            }
            carried += parents.max(1);
            self.link(at, id, now, &mut heard);
        }
        // All are linked before any hears of an end: what ends by that lets go of its other
        // parents, and is heard of by its children.
        for Heard { child, parent, state, output } in heard {
            self.resolve(child, &parent, state, output, now);
        }
        self.calm(at, now);
        carried as u64
    }

    /// Find a blocked task's parents: wait for those that have not ended, hear of the others.
    fn link(&mut self, at: usize, id: TaskId, now: Now, heard: &mut Vec<Heard>) {
        let queue = &mut self.queues[at];
        let Some(kept) = queue.tasks.get_mut(&id) else { return };
        kept.place = Place::Blocked { linked: true };
        queue.index.unlinked.remove(&(kept.seq, id));
        let parents = kept.waits().to_vec();
        queue.journal.task(id);
        for parent in parents {
            let mut hear = |parent, state, output| {
                heard.push(Heard { child: (at, id), parent, state, output });
            };
            let node = self.node(&parent).filter(|node| *node != (at, id));
            let found = node.and_then(|(home, id)| self.queues[home].kept(id, now));
            match (node, found.map(|kept| (&kept.place, kept.history.last()))) {
                (Some(node), Some((place, last))) => match place {
                    Place::Ended { state, .. } => {
                        let output = last
                            .filter(|_| *state == State::Completed)
                            .and_then(|last| output_in(last));
                        hear(parent, Some(*state), output);
                    }
                    _ => {
                        self.links.entry(node).or_default().insert((at, id));
                    }
                },
                _ => hear(parent, None, None),
            }
        }
    }

    /// Tell a blocked task that a parent has ended, or is unknown.
    pub(super) fn resolve(
        &mut self,
        (at, id): Node,
        parent: &TaskRef,
        state: Option<State>,
        output: Option<Payload>,
        now: Now,
    ) {
        let queue = &mut self.queues[at];
        let Some(kept) = queue.tasks.get_mut(&id) else { return };
        let Some(ties) = kept.ties.as_mut() else { return };
        if !matches!(kept.place, Place::Blocked { .. }) || !ties.waits.contains(parent) {
            return;
        }
        ties.waits.retain(|waited| waited != parent);
        let (policy, all_ended) = (ties.on_failed_parent, ties.waits.is_empty());
        queue.append(id, &Entry::Parent { parent: parent.clone(), state, output });
        match policy {
            _ if state == Some(State::Completed) => {}
            OnFailedParent::Run => {}
            OnFailedParent::Fail => {
                let entry = Entry::ParentFailed { at: now.ms(), parent: parent.clone() };
                queue.append(id, &entry);
                queue.count(Total::DeadLettered, 1);
                let retention_ms = queue.retention_of(id);
                return queue.end(id, State::Failed, retention_ms, now);
            }
            OnFailedParent::Cancel => {
                let reason = Some(CancelReason::Parent(parent.clone()));
                queue.append(id, &Entry::Cancelled { at: now.ms(), reason });
                queue.count(Total::Cancelled, 1);
                let retention_ms = queue.retention_of(id);
                return queue.end(id, State::Cancelled, retention_ms, now);
            }
        }
        if all_ended {
            queue.unblock(id, now);
        }
    }

    /// Let go of the parents that a task no longer waits for.
    pub(super) fn unlink(&mut self, child: Node, parents: &[TaskRef]) {
        for parent in parents {
            let Some(node) = self.node(parent) else { continue };
            if let Some(children) = self.links.get_mut(&node) {
                children.remove(&child);
                if children.is_empty() {
                    self.links.remove(&node);
                }
            }
        }
    }
}

impl super::queue::Queue {
    /// All parents have ended: the task goes where it would have gone without them.
    fn unblock(&mut self, id: TaskId, now: Now) {
        self.tell(EventKind::Unblocked, id, now);
        let not_before =
            self.tasks.get(&id).and_then(|kept| kept.ties.as_ref()?.not_before).unwrap_or(0);
        if not_before <= now.ms() {
            return self.make_ready(id, 0, now);
        }
        let first = self.index.scheduled.first().map_or(u64::MAX, |(due_ms, _)| *due_ms);
        self.shift(id, |kept| kept.place = Place::Scheduled { due_ms: not_before });
        if not_before < first {
            self.wake_for(id);
        }
    }
}
