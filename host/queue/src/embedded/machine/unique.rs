//! Unique keys: a key belongs to the newest task stored with it, as long as that task is
//! kept and either has not ended or is within its window.

use bulkhead_core::{Conflict, State, TaskId, TermKey};

use super::Now;
use super::queue::{Queue, Total};
use super::task::Hold;
use crate::view::{CancelReason, Entry, SubmitAnswer};

/// What a task finds under its unique key.
pub(super) enum Claimed {
    /// Nothing that keeps it out.
    Free,
    /// It is not stored; this is the answer.
    Taken(SubmitAnswer),
    /// It takes the place of this task.
    Replaces(TaskId),
}

impl Queue {
    /// Who holds a unique key now.
    pub(super) fn holder(&self, hold: &Hold, now: Now) -> Option<TaskId> {
        let id = *self.index.uniques.get(&hold.key)?;
        let kept = self.kept(id, now)?;
        let held = kept.ties.as_ref()?.unique.as_ref()?;
        match held.until_ms {
            // As all that is kept until a time, through its last millisecond.
            Some(until_ms) => (now.ms() <= until_ms).then_some(id),
            None => (!kept.place.has_ended()).then_some(id),
        }
    }

    pub(super) fn look_at_unique(&self, hold: &Hold, conflict: Conflict, now: Now) -> Claimed {
        let Some(holder) = self.holder(hold, now) else { return Claimed::Free };
        let state = self.tasks.get(&holder).map(|kept| kept.place.state());
        match (conflict, state) {
            (Conflict::Reject, _) => Claimed::Taken(SubmitAnswer::Taken(holder)),
            (Conflict::Replace, Some(State::Blocked | State::Scheduled | State::Pending)) => {
                Claimed::Replaces(holder)
            }
            _ => Claimed::Taken(SubmitAnswer::Existing(holder)),
        }
    }

    /// Give a key to a task.
    pub(super) fn take_unique(&mut self, key: TermKey, id: TaskId) {
        // Who had it before is written anew, without it.
        if let Some(before) = self.index.uniques.insert(key, id) {
            self.journal.task(before);
        }
    }

    /// Cancel a task for the one that takes its place.
    pub(super) fn make_way(&mut self, id: TaskId, newcomer: TaskId, now: Now) {
        let reason = Some(CancelReason::ReplacedBy(newcomer));
        self.append(id, &Entry::Cancelled { at: now.ms(), reason });
        self.count(Total::Cancelled, 1);
        let retention_ms = self.retention_of(id);
        self.end(id, State::Cancelled, retention_ms, now);
    }

    /// Let go of an ended task's key, unless its window keeps it.
    pub(super) fn free_unique(&mut self, id: TaskId) {
        let Some(hold) = self.tasks.get(&id).and_then(|kept| kept.ties.as_ref()?.unique.as_ref())
        else {
            return;
        };
        if hold.until_ms.is_none() && self.index.uniques.get(&hold.key) == Some(&id) {
            self.index.uniques.remove(&hold.key);
        }
    }

    /// Take the key again for a task that was rerun, if it is free.
    pub(super) fn retake_unique(&mut self, id: TaskId, now: Now) {
        let Some(hold) = self.tasks.get(&id).and_then(|kept| kept.ties.as_ref()?.unique.clone())
        else {
            return;
        };
        if self.holder(&hold, now).is_some() {
            return;
        }
        if let Some(taken) =
            self.tasks.get_mut(&id).and_then(|kept| kept.ties.as_mut()?.unique.as_mut())
        {
            taken.until_ms = taken.window_ms.map(|window_ms| now.ms() + window_ms);
        }
        self.take_unique(hold.key, id);
    }
}
