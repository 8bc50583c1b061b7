//! Submission: a task is checked against what is there, stored, and put where it belongs.

use bulkhead_core::Task;
use bytes::Bytes;

use super::limit::over_quota;
use super::queue::{Total, score};
use super::task::{Kept, Place, Ties};
use super::unique::Claimed;
use super::{FOREVER_MS, Machine, Now, encoding};
use crate::codec;
use crate::error::QueueError;
use crate::event::EventKind;
use crate::view::SubmitAnswer;

impl Machine {
    /// Store tasks and put them where they belong, one answer each. Tasks with parents are
    /// blocked until [`Machine::deliver`] has looked for those.
    pub fn submit(&mut self, tasks: &[Task], now_us: u64) -> Result<Vec<SubmitAnswer>, QueueError> {
        let records = tasks.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        Ok(self.submit_encoded(tasks, &records, now_us))
    }

    pub(crate) fn submit_encoded(
        &mut self,
        tasks: &[Task],
        records: &[Bytes],
        now_us: u64,
    ) -> Vec<SubmitAnswer> {
        let now = Now(now_us);
        let (answers, went_to) =
            self.store_each(tasks.iter().zip(records.iter().cloned()), true, now);
        for at in went_to {
            self.calm(at, now);
        }
        answers
    }

    /// Store tasks in their order, one answer each; the queues that they went to, which are to
    /// be calmed. Quotas are looked at if `bounded`.
    pub(super) fn store_each<'a>(
        &mut self,
        tasks: impl IntoIterator<Item = (&'a Task, Bytes)>,
        bounded: bool,
        now: Now,
    ) -> (Vec<SubmitAnswer>, Vec<usize>) {
        // How many of the call went to each queue: each stands one microsecond behind the one
        // before, so that a call keeps its order.
        let mut sent: Vec<(usize, i64)> = Vec::new();
        let mut answers = Vec::new();
        for (task, record) in tasks {
            let at = self.open(&task.queue);
            let behind = match sent.iter_mut().find(|(queue, _)| *queue == at) {
                Some((_, sent)) => {
                    *sent += 1;
                    *sent
                }
                None => {
                    self.queues[at].sweep(now);
                    sent.push((at, 0));
                    0
                }
            };
            answers.push(self.submit_one(at, task, &record, behind, bounded, now));
        }
        (answers, sent.into_iter().map(|(at, _)| at).collect())
    }

    /// Store one task. `behind` is its place in its call; quotas are looked at if `bounded`.
    pub(super) fn submit_one(
        &mut self,
        at: usize,
        task: &Task,
        record: &Bytes,
        behind: i64,
        bounded: bool,
        now: Now,
    ) -> SubmitAnswer {
        let seq = self.next_seq;
        let queue = &mut self.queues[at];
        match queue.tasks.get(&task.id) {
            Some(kept) if kept.is_kept(now) => return SubmitAnswer::Known,
            Some(_) => queue.forget(task.id),
            None => {}
        }
        queue.list_it();
        if bounded && let Some(refusal) = over_quota(queue, &task.tenant, record.len(), now) {
            return refusal;
        }
        let ties = Ties::of(&task.terms, now.ms());
        let mut answer = SubmitAnswer::Accepted;
        if let (Some(hold), Some(unique)) =
            (ties.as_ref().and_then(|ties| ties.unique.as_ref()), &task.terms.unique)
        {
            match queue.look_at_unique(hold, unique.conflict, now) {
                Claimed::Free => {}
                Claimed::Taken(taken) => return taken,
                Claimed::Replaces(holder) => {
                    queue.make_way(holder, task.id, now);
                    answer = SubmitAnswer::Replaced(holder);
                }
            }
            queue.take_unique(hold.key.clone(), task.id);
        }
        self.next_seq += 1;
        let not_before = task.terms.not_before.map_or(0, |at| at.min(FOREVER_MS));
        let expires_at = task.terms.expires_at.unwrap_or(u64::MAX);
        let place = if !task.terms.after.is_empty() {
            Place::Blocked { linked: false }
        } else if not_before > now.ms() || expires_at <= now.ms() {
            // What expires at once takes no place in a line and moves no lane.
            Place::Scheduled { due_ms: not_before.max(now.ms()) }
        } else {
            let place = score(now, task.priority.level(), 0) + behind;
            queue.ready_place(task.terms.key.as_ref(), place)
        };
        let first = queue.index.scheduled.first().map_or(u64::MAX, |(due_ms, _)| *due_ms);
        let first_expiring = queue.index.expiring.first().map_or(u64::MAX, |(at, _)| *at);
        // Hosts that sleep are to hear of work, and of anything that is due earlier than
        // all that they know of.
        let wakes = match place {
            Place::Scheduled { due_ms } => due_ms < first,
            Place::Line { .. } | Place::Lane { .. } => true,
            _ => false,
        };
        queue.insert(task.id, Kept { ties, ..Kept::new(seq, task, record.clone(), place, now) });
        queue.count(Total::Submitted, 1);
        queue.tell(EventKind::Submitted, task.id, now);
        if expires_at <= now.ms() {
            queue.expire(task.id, now);
        } else if wakes || expires_at < first_expiring {
            queue.wake(&task.task_type, Some(&task.tenant));
        }
        answer
    }
}

/// A task's record.
pub(crate) fn encode(task: &Task) -> Result<Bytes, QueueError> {
    codec::encode_task(task).map(Bytes::from).map_err(encoding)
}
