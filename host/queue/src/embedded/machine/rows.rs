//! The machine as rows: what a store keeps of it.
//!
//! A key begins with a tag, and tags are ordered so that rows in the order of their keys
//! can be read back one by one: facts before tasks, a task's record and entries before its
//! place. Numbers in keys are big-endian. `docs/embedded.md` lists the rows.

use bulkhead_core::{State, TaskId};
use bytes::Bytes;
use serde::Serialize;

use super::Machine;
use super::journal::{Row, Touch};
use super::queue::Queue;
use super::task::{Kept, Place};

pub(super) mod tag {
    pub(in super::super) const QUEUE: u8 = 1;
    pub(in super::super) const COUNTERS: u8 = 2;
    pub(in super::super) const POLICY: u8 = 3;
    pub(in super::super) const TYPE: u8 = 4;
    pub(in super::super) const SHARE: u8 = 5;
    pub(in super::super) const KEY_TOKENS: u8 = 6;
    pub(in super::super) const SCHEDULE: u8 = 7;
    pub(in super::super) const BATCH: u8 = 8;
    pub(in super::super) const BATCH_COUNT: u8 = 9;
    pub(in super::super) const BATCH_MEMBER: u8 = 10;
    pub(in super::super) const USAGE: u8 = 11;
    pub(in super::super) const MEMO: u8 = 12;
    pub(in super::super) const RECORD: u8 = 13;
    pub(in super::super) const ENTRY: u8 = 14;
    pub(in super::super) const TASK: u8 = 15;
    pub(in super::super) const KV_NEWEST: u8 = 16;
    pub(in super::super) const KV_VALUE: u8 = 17;
    pub(in super::super) const SECRET: u8 = 18;
    pub(in super::super) const DOCUMENT: u8 = 19;
    pub(in super::super) const BLOB: u8 = 20;
    pub(in super::super) const BLOB_PIECE: u8 = 21;
    pub(in super::super) const AUDIT: u8 = 22;
    pub(in super::super) const HISTORY: u8 = 23;
}

/// Bits of a task row's flags.
pub(super) const STARTED: u8 = 1;
pub(super) const CANCEL: u8 = 2;
pub(super) const HOLDS_KEY: u8 = 4;
/// Bytes of a task row before the holder's name.
pub(super) const TASK_ROW_BYTES: usize = 54;

impl Machine {
    /// Every row of the machine, in no particular order: what [`super::Restoring`] reads,
    /// once sorted.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for queue in &self.queues {
            for touch in queue.all_touches() {
                queue.write(&touch, &mut rows);
            }
        }
        self.kv.all_rows(&mut rows);
        rows.extend(self.secrets.keys().map(|id| self.secret_row(id)));
        self.documents.all_rows(&mut rows);
        self.blobs.all_rows(&mut rows);
        self.audit.all_rows(&mut rows);
        rows
    }
}

impl Queue {
    /// The rows that changed since they were last taken.
    pub(super) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        let mut touches = std::mem::take(&mut self.journal.touches);
        touches.sort_unstable();
        touches.dedup();
        for touch in &touches {
            self.write(touch, rows);
        }
        touches.clear();
        self.journal.touches = touches;
    }

    fn all_touches(&self) -> Vec<Touch> {
        let facts = &self.facts;
        let mut all = vec![Touch::Queue, Touch::Counters, Touch::Policy];
        all.extend(facts.types.keys().cloned().map(Touch::Type));
        all.extend(facts.shares.keys().cloned().map(Touch::Share));
        all.extend(facts.key_tokens.keys().cloned().map(Touch::KeyTokens));
        all.extend(facts.schedules.keys().cloned().map(Touch::Schedule));
        for (id, group) in &facts.batches {
            all.extend([Touch::Batch(*id), Touch::BatchCount(*id)]);
            let counted = (0u32..).zip(&group.batch.members);
            let counted = counted.filter(|(_, member)| !group.open.contains_key(*member));
            all.extend(counted.map(|(at, _)| Touch::BatchMember(*id, at)));
        }
        all.extend(facts.usage.keys().cloned().map(|(day, line)| Touch::Usage(day, line)));
        all.extend(facts.memos.keys().cloned().map(Touch::Memo));
        all.extend(facts.history.keys().map(|(of, slot)| Touch::Sample(*of, *slot)));
        for (id, kept) in &self.tasks {
            all.extend([Touch::Task(*id), Touch::Record(*id)]);
            let entries = u32::try_from(kept.history.len()).unwrap_or(u32::MAX);
            all.extend((0..entries).map(|at| Touch::Entry(*id, at)));
        }
        all
    }

    /// The rows that something comes to; a row that stands for nothing any more is removed.
    fn write(&self, touch: &Touch, rows: &mut Vec<Row>) {
        let facts = &self.facts;
        let mut put = |key, value: Option<Bytes>| rows.push(Row { key, value });
        match touch {
            Touch::Gone { seq, entries } => {
                put(task_key(tag::TASK, *seq), None);
                put(task_key(tag::RECORD, *seq), None);
                (0..*entries).for_each(|at| put(entry_key(*seq, at), None));
            }
            Touch::BatchGone(id, members) => {
                put(self.key(tag::BATCH, id.0.as_bytes()), None);
                put(self.key(tag::BATCH_COUNT, id.0.as_bytes()), None);
                (0..*members).for_each(|at| put(self.member_key(id.0.as_bytes(), at), None));
            }
            Touch::Queue => {
                put(self.key(tag::QUEUE, &[]), value(&(self.name.as_str(), facts.listed)));
            }
            Touch::Counters => {
                let counters = &facts.counters;
                let numbers = (
                    counters.token,
                    counters.present,
                    counters.tokens_us,
                    counters.ended,
                    counters.kept_ms,
                );
                put(self.key(tag::COUNTERS, &[]), value(&(numbers, &counters.totals[..])));
            }
            Touch::Policy => {
                put(self.key(tag::POLICY, &[]), value(&(&facts.policy, facts.paused)));
            }
            Touch::Type(task_type) => {
                let row = facts.types.get(task_type);
                let row = row.and_then(|facts| value(&(facts.paused, facts.tokens_us)));
                put(self.key(tag::TYPE, task_type.as_str().as_bytes()), row);
            }
            Touch::Share(tenant) => {
                let row = facts.shares.get(tenant);
                let row = row.and_then(|share| {
                    value(&(share.virtual_time, share.tokens_us, share.fuel, share.memory))
                });
                put(self.key(tag::SHARE, tenant.as_str().as_bytes()), row);
            }
            Touch::KeyTokens(key) => {
                let row = facts.key_tokens.get(key).and_then(value);
                put(self.key(tag::KEY_TOKENS, key.as_str().as_bytes()), row);
            }
            Touch::Schedule(name) => {
                let row = facts.schedules.get(name).and_then(value);
                put(self.key(tag::SCHEDULE, name.as_bytes()), row);
            }
            Touch::Batch(id) => {
                let row = facts.batches.get(id).and_then(|group| value(&group.batch));
                put(self.key(tag::BATCH, id.0.as_bytes()), row);
            }
            Touch::BatchCount(id) => {
                let row = facts.batches.get(id).and_then(|group| {
                    let tally = &group.tally;
                    let times = (tally.opened_ms, tally.over_ms, tally.until_ms);
                    let counts = (tally.completed, tally.failed, tally.cancelled, tally.expired);
                    value(&(times, counts))
                });
                put(self.key(tag::BATCH_COUNT, id.0.as_bytes()), row);
            }
            Touch::BatchMember(id, at) => {
                let counted = facts.batches.get(id).is_some_and(|group| {
                    let member = group.batch.members.get(*at as usize);
                    member.is_some_and(|member| !group.open.contains_key(member))
                });
                put(self.member_key(id.0.as_bytes(), *at), counted.then(Bytes::new));
            }
            Touch::Usage(day, line) => {
                let row = facts.usage.get(&(*day, line.clone())).and_then(value);
                let mut rest = day.to_be_bytes().to_vec();
                rest.extend_from_slice(line.to_string().as_bytes());
                put(self.key(tag::USAGE, &rest), row);
            }
            Touch::Memo(key) => {
                let row = facts.memos.get(key);
                let row = row.and_then(|memo| value(&(&memo.output, memo.until_ms)));
                put(self.key(tag::MEMO, key.as_bytes()), row);
            }
            Touch::Sample(resolution, slot) => {
                let row = facts.history.get(&(*resolution, *slot)).and_then(value);
                let rest = [resolution.as_str().as_bytes(), b"/", &slot.to_be_bytes()].concat();
                put(self.key(tag::HISTORY, &rest), row);
            }
            Touch::Task(id) => {
                if let Some(kept) = self.tasks.get(id) {
                    put(task_key(tag::TASK, kept.seq), Some(self.task_row(*id, kept)));
                }
            }
            Touch::Record(id) => {
                if let Some(kept) = self.tasks.get(id) {
                    put(task_key(tag::RECORD, kept.seq), Some(kept.record.clone()));
                }
            }
            Touch::Entry(id, at) => {
                if let Some(kept) = self.tasks.get(id) {
                    put(entry_key(kept.seq, *at), kept.history.get(*at as usize).cloned());
                }
            }
        }
    }

    fn key(&self, tag: u8, rest: &[u8]) -> Vec<u8> {
        let number = u32::try_from(self.number).unwrap_or(u32::MAX);
        let mut key = Vec::with_capacity(5 + rest.len());
        key.push(tag);
        key.extend_from_slice(&number.to_be_bytes());
        key.extend_from_slice(rest);
        key
    }

    fn member_key(&self, batch: &[u8], at: u32) -> Vec<u8> {
        let mut key = self.key(tag::BATCH_MEMBER, batch);
        key.extend_from_slice(&at.to_be_bytes());
        key
    }

    fn task_row(&self, id: TaskId, kept: &Kept) -> Bytes {
        let hold = kept.ties.as_ref().and_then(|ties| ties.unique.as_ref());
        let holds = hold.is_some_and(|hold| self.index.uniques.get(&hold.key) == Some(&id));
        let flags = if kept.started { STARTED } else { 0 }
            | if kept.cancel { CANCEL } else { 0 }
            | if holds { HOLDS_KEY } else { 0 };
        let (kind, a, b, host) = match &kept.place {
            Place::Blocked { linked } => (u8::from(*linked), 0, 0, ""),
            Place::Scheduled { due_ms } => (2, *due_ms, 0, ""),
            Place::Lane { score } => (3, score.cast_unsigned(), 0, ""),
            Place::Line { score } => (4, score.cast_unsigned(), 0, ""),
            // No lease outlives the process that keeps it, so a renewal writes nothing.
            Place::Running { token, host, .. } => (5, *token, 0, &**host),
            Place::Ended { state, until_ms, number } => {
                let kind = match state {
                    State::Completed => 6,
                    State::Failed => 7,
                    State::Cancelled => 8,
                    _ => 9,
                };
                (kind, *until_ms, *number, "")
            }
        };
        let entries = u32::try_from(kept.history.len()).unwrap_or(u32::MAX);
        let mut row = Vec::with_capacity(TASK_ROW_BYTES + host.len());
        row.extend_from_slice(&u32::try_from(self.number).unwrap_or(u32::MAX).to_be_bytes());
        row.extend_from_slice(id.0.as_bytes());
        let hold_until_ms = hold.and_then(|hold| hold.until_ms).unwrap_or(0);
        row.extend_from_slice(&hold_until_ms.to_be_bytes());
        row.extend_from_slice(&kept.attempts.to_be_bytes());
        row.extend_from_slice(&entries.to_be_bytes());
        row.extend_from_slice(&[flags, kind]);
        row.extend_from_slice(&a.to_be_bytes());
        row.extend_from_slice(&b.to_be_bytes());
        row.extend_from_slice(host.as_bytes());
        row.into()
    }
}

fn task_key(tag: u8, seq: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(tag);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

fn entry_key(seq: u64, at: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(13);
    key.push(tag::ENTRY);
    key.extend_from_slice(&seq.to_be_bytes());
    key.extend_from_slice(&at.to_be_bytes());
    key
}

/// A value's bytes, names included, since some of the types need them. Writing to memory
/// fails for none of them.
fn value<T: Serialize + ?Sized>(row: &T) -> Option<Bytes> {
    rmp_serde::to_vec_named(row).ok().map(Bytes::from)
}
