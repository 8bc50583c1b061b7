//! Rerun: an ended task gets fresh attempts, a waiting one starts now.

use bulkhead_core::{Payload, QueueName, State, TaskId};

use super::journal::Touch;
use super::queue::{Queue, Total};
use super::submit::encode;
use super::{Machine, Now};
use crate::codec;
use crate::error::QueueError;
use crate::event::EventKind;
use crate::view::{Entry, RerunAnswer};

impl Machine {
    /// Give ended tasks fresh attempts and start waiting ones now, one answer each.
    pub fn rerun(&mut self, queue: &QueueName, ids: &[TaskId], now_us: u64) -> Vec<RerunAnswer> {
        let Some(at) = self.enter(queue) else { return vec![RerunAnswer::Unknown; ids.len()] };
        let now = Now(now_us);
        let answers = ids.iter().map(|id| self.queues[at].rerun(*id, now)).collect();
        self.calm(at, now);
        answers
    }

    /// Give an ended task fresh attempts with another payload.
    pub fn rerun_edited(
        &mut self,
        queue: &QueueName,
        id: TaskId,
        payload: Payload,
        now_us: u64,
    ) -> Result<RerunAnswer, QueueError> {
        let now = Now(now_us);
        let Some(at) = self.enter(queue) else { return Ok(RerunAnswer::Unknown) };
        let Some(kept) = self.queues[at].kept(id, now) else { return Ok(RerunAnswer::Unknown) };
        if !kept.place.has_ended() {
            return Ok(RerunAnswer::Active);
        }
        let mut task = codec::decode(queue, id, &kept.record)
            .map_err(|unreadable| QueueError::Refused(unreadable.to_string()))?
            .task;
        task.payload = payload;
        let record = encode(&task)?;
        let queue = &mut self.queues[at];
        if let Some(kept) = queue.tasks.get_mut(&id) {
            kept.record = record;
        }
        queue.journal.note(|| Touch::Record(id));
        let answer = queue.rerun(id, now);
        self.calm(at, now);
        Ok(answer)
    }
}

impl Queue {
    fn rerun(&mut self, id: TaskId, now: Now) -> RerunAnswer {
        let Some(kept) = self.kept(id, now) else { return RerunAnswer::Unknown };
        match kept.place.state() {
            State::Pending | State::Running => return RerunAnswer::Active,
            State::Scheduled | State::Blocked => {}
            State::Completed | State::Failed | State::Cancelled | State::Expired => {
                self.append(id, &Entry::Rerun { at: now.ms() });
                self.count(Total::Replayed, 1);
                if let Some(kept) = self.tasks.get_mut(&id) {
                    kept.attempts = 0;
                }
                self.retake_unique(id, now);
            }
        }
        // Its expiry is past with the wait that it bounded.
        if let Some(kept) = self.tasks.get_mut(&id) {
            if let Some(at) = kept.expires_at() {
                self.index.expiring.remove(&(at, id));
            }
            kept.started = true;
        }
        self.make_ready(id, 0, now);
        if let Some(ties) = self.tasks.get_mut(&id).and_then(|kept| kept.ties.as_mut()) {
            ties.waits.clear();
        }
        self.tell(EventKind::Rerun, id, now);
        RerunAnswer::InLine
    }

    /// Say that a task's record was replaced whose history had so many entries before.
    pub(super) fn rewrite(&mut self, id: TaskId, entries: u32) {
        self.journal.note(|| Touch::Record(id));
        for at in 0..entries {
            self.journal.note(|| Touch::Entry(id, at));
        }
    }
}
