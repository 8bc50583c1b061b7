//! Batches: members are counted as they end, and the end of all starts the callback.

use std::collections::HashMap;

use bulkhead_core::{BatchId, QueueName, State, TaskRef};

use super::end::Ending;
use super::journal::Touch;
use super::queue::Queue;
use super::submit::encode;
use super::{FOREVER_MS, Machine, Now};
use crate::batch::{Batch, BatchView, Over};

/// How long a batch is kept at least, in milliseconds.
const AT_LEAST_MS: u64 = 1_000;

/// A batch as the machine keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) batch: Batch,
    pub(super) tally: Tally,
    /// Members that have not ended, and their places in the list.
    pub(super) open: HashMap<TaskRef, u32>,
}

/// How a batch stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Tally {
    pub(super) opened_ms: u64,
    pub(super) over_ms: Option<u64>,
    pub(super) until_ms: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) cancelled: u64,
    pub(super) expired: u64,
}

impl Group {
    /// A batch of which these members, by their places, have been counted.
    pub(super) fn new(batch: Batch, tally: Tally, counted: &[u32]) -> Self {
        let mut open = HashMap::with_capacity(batch.members.len());
        for (at, member) in (0u32..).zip(&batch.members) {
            open.entry(member.clone()).or_insert(at);
        }
        for at in counted {
            if let Some(member) = batch.members.get(*at as usize) {
                open.remove(member);
            }
        }
        Self { batch, tally, open }
    }

    fn view(&self) -> BatchView {
        let Tally { opened_ms, over_ms, completed, failed, cancelled, expired, .. } = self.tally;
        BatchView {
            id: self.batch.id,
            queue: self.batch.queue.clone(),
            name: self.batch.name.clone(),
            opened_at: opened_ms,
            over_at: over_ms,
            over: self.batch.over,
            total: self.open.len() as u64 + completed + failed + cancelled + expired,
            completed,
            failed,
            cancelled,
            expired,
            callback: self.batch.callback.as_ref().map(|task| task.id),
        }
    }
}

impl Machine {
    /// Make a batch known; `false` if it was.
    pub fn open_batch(&mut self, batch: &Batch, now_us: u64) -> bool {
        let (now, id) = (Now(now_us), batch.id);
        let at = self.open(&batch.queue);
        let queue = &mut self.queues[at];
        queue.list_it();
        queue.sweep(now);
        if queue.group(id, now).is_some() {
            return false;
        }
        queue.forget_batch(id);
        let until_ms = now.ms() + batch.retention_ms.clamp(AT_LEAST_MS, FOREVER_MS);
        let tally = Tally { opened_ms: now.ms(), until_ms, ..Tally::default() };
        queue.facts.batches_kept.insert((until_ms, id));
        let group = Group::new(batch.clone(), tally, &[]);
        let empty = group.open.is_empty();
        queue.facts.batches.insert(id, group);
        queue.journal.note(|| Touch::Batch(id));
        queue.journal.note(|| Touch::BatchCount(id));
        if empty {
            self.finish_batch(at, id, now);
        }
        self.calm(at, now);
        true
    }

    /// Count members as cancelled that were never accepted.
    pub fn leave_batch(
        &mut self,
        queue: &QueueName,
        id: BatchId,
        members: &[TaskRef],
        now_us: u64,
    ) {
        let Some(at) = self.enter(queue) else { return };
        let now = Now(now_us);
        for member in members {
            self.count_one(at, id, member, State::Cancelled, now);
        }
        self.calm(at, now);
    }

    /// How a batch stands.
    #[must_use]
    pub fn batch(&self, queue: &QueueName, id: BatchId, now_us: u64) -> Option<BatchView> {
        self.queues[self.at(queue)?].group(id, Now(now_us)).map(Group::view)
    }

    /// The batches that a queue keeps, newest first.
    #[must_use]
    pub fn batches(&self, queue: &QueueName, limit: usize, now_us: u64) -> Vec<BatchView> {
        let Some(at) = self.at(queue) else { return Vec::new() };
        let mut kept: Vec<&Group> = self.queues[at]
            .facts
            .batches
            .values()
            .filter(|group| group.tally.until_ms >= Now(now_us).ms())
            .collect();
        kept.sort_by_key(|group| std::cmp::Reverse((group.tally.opened_ms, group.batch.id)));
        kept.into_iter().take(limit).map(Group::view).collect()
    }

    /// Count an ended task in its batch; the batch's queue if it was counted.
    pub(super) fn count_member(&mut self, at: usize, end: &Ending, now: Now) -> Option<usize> {
        let batch = end.batch.as_ref()?;
        let home = self.at(&batch.queue)?;
        let member = TaskRef { queue: self.queues[at].name.clone(), id: end.id };
        self.count_one(home, batch.id, &member, end.state, now);
        Some(home)
    }

    fn count_one(&mut self, at: usize, id: BatchId, member: &TaskRef, state: State, now: Now) {
        let queue = &mut self.queues[at];
        if queue.group(id, now).is_none() {
            return;
        }
        let Some(group) = queue.facts.batches.get_mut(&id) else { return };
        let Some(place) = group.open.remove(member) else { return };
        match state {
            State::Completed => group.tally.completed += 1,
            State::Failed => group.tally.failed += 1,
            State::Expired => group.tally.expired += 1,
            _ => group.tally.cancelled += 1,
        }
        let over = group.open.is_empty()
            || (group.batch.over == Over::FirstFailure && state != State::Completed);
        let first = group.tally.over_ms.is_none();
        queue.journal.note(|| Touch::BatchMember(id, place));
        queue.journal.note(|| Touch::BatchCount(id));
        if over && first {
            self.finish_batch(at, id, now);
        }
    }

    /// A batch is over: submit its callback, whatever its tenant's quotas say.
    fn finish_batch(&mut self, at: usize, id: BatchId, now: Now) {
        let queue = &mut self.queues[at];
        let Some(group) = queue.facts.batches.get_mut(&id) else { return };
        let until_ms = now.ms() + group.batch.retention_ms.clamp(AT_LEAST_MS, FOREVER_MS);
        queue.facts.batches_kept.remove(&(group.tally.until_ms, id));
        queue.facts.batches_kept.insert((until_ms, id));
        group.tally.over_ms = Some(now.ms());
        group.tally.until_ms = until_ms;
        queue.journal.note(|| Touch::BatchCount(id));
        let view = group.view();
        let Some(mut callback) = group.batch.callback.clone() else { return };
        callback.submitted_at = now.ms();
        let counts = [
            ("batch", id.to_string()),
            ("batch_total", view.total.to_string()),
            ("batch_completed", view.completed.to_string()),
            ("batch_failed", view.failed.to_string()),
            ("batch_cancelled", view.cancelled.to_string()),
            ("batch_expired", view.expired.to_string()),
        ];
        callback.metadata.extend(counts.map(|(key, count)| (key.to_owned(), count)));
        if let Ok(record) = encode(&callback) {
            self.submit_one(at, &callback, &record, 0, false, now);
        }
    }
}

impl Queue {
    fn group(&self, id: BatchId, now: Now) -> Option<&Group> {
        self.facts.batches.get(&id).filter(|group| group.tally.until_ms >= now.ms())
    }

    fn forget_batch(&mut self, id: BatchId) {
        if let Some(group) = self.facts.batches.remove(&id) {
            self.facts.batches_kept.remove(&(group.tally.until_ms, id));
            let members = u32::try_from(group.batch.members.len()).unwrap_or(u32::MAX);
            self.journal.note(|| Touch::BatchGone(id, members));
        }
    }

    pub(super) fn sweep_batches(&mut self, now: Now, at_most: usize) {
        for _ in 0..at_most {
            match self.facts.batches_kept.first() {
                Some((until_ms, id)) if *until_ms < now.ms() => {
                    let id = *id;
                    self.forget_batch(id);
                }
                _ => return,
            }
        }
    }
}
