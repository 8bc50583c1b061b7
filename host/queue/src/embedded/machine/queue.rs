//! One queue: its tasks, what is derived from them, and the facts that are not.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bulkhead_core::{
    BatchId, MinuteBucket, Payload, QueueName, QueuePolicy, TaskId, TaskType, TenantName, TermKey,
};

use super::batch::Group;
use super::end::Ending;
use super::event::Events;
use super::history::History;
use super::index::Index;
use super::journal::{Journal, Touch};
use super::task::{Kept, Place, entry_bytes};
use super::{Note, Now};
use crate::schedule::ScheduleView;
use crate::usage::{Usage, UsageLine};
use crate::view::{Entry, Progress};

/// What one priority level is worth, so that a line has one order: a task waits at most
/// (level difference × head start) for later tasks of higher priority.
pub(super) const HEAD_START_US: i64 = 36_000_000;
/// Work that comes back without blame goes ahead of the last minute's.
pub(super) const RETURN_US: i64 = 60_000_000;
/// Ended tasks and remembered results that one call forgets at most.
const FORGET_AT_MOST: usize = 1_000;

#[derive(Debug)]
pub(super) struct Queue {
    /// Its place among the machine's queues.
    pub(super) number: usize,
    pub(super) name: QueueName,
    pub(super) facts: Facts,
    pub(super) tasks: HashMap<TaskId, Kept>,
    pub(super) index: Index,
    /// What running attempts say of themselves. Not kept over a restart.
    pub(super) progress: HashMap<TaskId, Progress>,
    pub(super) events: Events,
    pub(super) journal: Journal,
    /// Ends that dependants and batches have not been told of.
    pub(super) ends: Vec<Ending>,
    pub(super) notes: Vec<Note>,
    /// Whether a wake-up says whose work it is.
    pub(super) narrow: bool,
}

/// What is known of a queue beyond its tasks.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// It had a task, a schedule or a policy.
    pub(super) listed: bool,
    pub(super) policy: QueuePolicy,
    pub(super) paused: bool,
    pub(super) counters: Counters,
    pub(super) types: BTreeMap<TaskType, TypeFacts>,
    pub(super) shares: HashMap<TenantName, Share>,
    /// Token buckets of keys, as arrival times.
    pub(super) key_tokens: HashMap<TermKey, u64>,
    /// Keys without tasks whose buckets fill up, by when they are full, in microseconds.
    pub(super) keys_filling: BTreeSet<(u64, TermKey)>,
    pub(super) schedules: BTreeMap<String, ScheduleView>,
    pub(super) batches: BTreeMap<BatchId, Group>,
    /// Open and over batches by the end of their retention.
    pub(super) batches_kept: BTreeSet<(u64, BatchId)>,
    pub(super) usage: BTreeMap<(u32, UsageLine), Usage>,
    /// How many lines of usage each day has, without the one of all other tenants.
    pub(super) usage_rows: BTreeMap<u32, u32>,
    pub(super) memos: HashMap<String, Memo>,
    pub(super) memos_kept: BTreeSet<(u64, String)>,
    pub(super) history: History,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Counters {
    /// The newest fencing token.
    pub(super) token: u64,
    /// The present virtual time.
    pub(super) present: u64,
    /// The queue's token bucket, as arrival time.
    pub(super) tokens_us: u64,
    /// How long hosts say that a task is kept which ends without one.
    pub(super) kept_ms: Option<u64>,
    /// The newest number of an end.
    pub(super) ended: u64,
    pub(super) totals: [u64; Total::ALL.len()],
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct TypeFacts {
    pub(super) paused: bool,
    pub(super) tokens_us: u64,
}

/// A tenant's virtual time, token bucket and quotas of a minute.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Share {
    pub(super) virtual_time: u64,
    pub(super) tokens_us: u64,
    pub(super) fuel: MinuteBucket,
    pub(super) memory: MinuteBucket,
}

/// A remembered result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Memo {
    pub(super) output: Payload,
    pub(super) until_ms: u64,
}

/// What is counted since the queue was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Total {
    Submitted,
    Completed,
    Retried,
    DeadLettered,
    Cancelled,
    Expired,
    Returned,
    Unreadable,
    Reclaimed,
    Replayed,
    Purged,
}

impl Total {
    pub(super) const ALL: [(Self, &'static str); 11] = [
        (Self::Submitted, "submitted"),
        (Self::Completed, "completed"),
        (Self::Retried, "retried"),
        (Self::DeadLettered, "dead_lettered"),
        (Self::Cancelled, "cancelled"),
        (Self::Expired, "expired"),
        (Self::Returned, "returned"),
        (Self::Unreadable, "unreadable"),
        (Self::Reclaimed, "reclaimed"),
        (Self::Replayed, "replayed"),
        (Self::Purged, "purged"),
    ];
}

impl Queue {
    pub(super) fn new(number: usize, name: QueueName) -> Self {
        Self {
            number,
            name,
            facts: Facts::default(),
            tasks: HashMap::new(),
            index: Index::default(),
            progress: HashMap::new(),
            events: Events::default(),
            journal: Journal::default(),
            ends: Vec::new(),
            notes: Vec::new(),
            narrow: false,
        }
    }

    pub(super) fn take_notes(&mut self, notes: &mut Vec<Note>) {
        notes.append(&mut self.notes);
    }

    /// Say that a line of this type has work, this tenant's or any, once a call.
    pub(super) fn wake(&mut self, task_type: &TaskType, tenant: Option<&TenantName>) {
        let tenant = tenant.filter(|_| self.narrow);
        let said = self.notes.iter().rev().take(8).any(|note| {
            matches!(note, Note::Work(_, said, of) if said == task_type && of.as_ref() == tenant)
        });
        if !said {
            let note = Note::Work(self.name.clone(), task_type.clone(), tenant.cloned());
            self.notes.push(note);
        }
    }

    /// Say that this task's line has work.
    pub(super) fn wake_for(&mut self, id: TaskId) {
        let line = self.tasks.get(&id).map(|kept| (kept.task_type.clone(), kept.tenant.clone()));
        if let Some((task_type, tenant)) = line {
            self.wake(&task_type, Some(&tenant));
        }
    }

    pub(super) fn count(&mut self, total: Total, by: u64) {
        self.facts.counters.totals[total as usize] += by;
        self.journal.counters();
    }

    pub(super) fn list_it(&mut self) {
        if !self.facts.listed {
            self.facts.listed = true;
            self.journal.queue();
        }
    }

    /// The task, unless it is unknown or its retention is over.
    pub(super) fn kept(&self, id: TaskId, now: Now) -> Option<&Kept> {
        self.tasks.get(&id).filter(|kept| kept.is_kept(now))
    }

    /// Change a task's place (and what else decides its indexes) and keep all indexes.
    pub(super) fn shift(&mut self, id: TaskId, change: impl FnOnce(&mut Kept)) {
        let Some(kept) = self.tasks.get_mut(&id) else { return };
        self.index.leave(id, kept);
        change(kept);
        let joins = matches!(kept.place, Place::Line { .. });
        let at = if joins { self.facts.join_at(&kept.tenant) } else { 0 };
        self.index.enter(id, kept, at);
        self.journal.task(id);
    }

    /// Store a task that was unknown.
    pub(super) fn insert(&mut self, id: TaskId, kept: Kept) {
        let at = self.facts.join_at(&kept.tenant);
        self.index.enter(id, &kept, at);
        self.tasks.insert(id, kept);
        self.journal.task(id);
        self.journal.note(|| Touch::Record(id));
    }

    /// Put a task in line, or in its key's lane if the key is bounded.
    pub(super) fn make_ready(&mut self, id: TaskId, bonus_us: i64, now: Now) {
        let Some(kept) = self.tasks.get(&id) else { return };
        let score = score(now, kept.priority, bonus_us);
        let place = self.ready_place(kept.key(), score);
        self.shift(id, |kept| kept.place = place);
        self.wake_for(id);
    }

    /// Line or lane.
    pub(super) fn ready_place(&self, key: Option<&TermKey>, score: i64) -> Place {
        match key {
            Some(key) if self.key_bounds(key).is_some() => Place::Lane { score },
            _ => Place::Line { score },
        }
    }

    /// Append an entry to a task's record.
    pub(super) fn append(&mut self, id: TaskId, entry: &Entry) {
        self.append_bytes(id, entry_bytes(entry));
    }

    pub(super) fn append_bytes(&mut self, id: TaskId, entry: bytes::Bytes) {
        if let Some(kept) = self.tasks.get_mut(&id) {
            let at = u32::try_from(kept.history.len()).unwrap_or(u32::MAX);
            kept.history.push(entry);
            // The task's own row counts its entries.
            self.journal.task(id);
            self.journal.note(|| Touch::Entry(id, at));
        }
    }

    /// Forget a task that has ended, or that is purged.
    pub(super) fn forget(&mut self, id: TaskId) {
        let Some(kept) = self.tasks.remove(&id) else { return };
        self.index.leave(id, &kept);
        if let Some(hold) = kept.ties.as_ref().and_then(|ties| ties.unique.as_ref())
            && self.index.uniques.get(&hold.key) == Some(&id)
        {
            self.index.uniques.remove(&hold.key);
        }
        self.progress.remove(&id);
        let entries = u32::try_from(kept.history.len()).unwrap_or(u32::MAX);
        self.journal.note(|| Touch::Gone { seq: kept.seq, entries });
    }

    /// Forget what was kept long enough, so much at most.
    pub(super) fn sweep(&mut self, now: Now) {
        for _ in 0..FORGET_AT_MOST {
            match self.index.keeping.first() {
                Some((until_ms, id)) if *until_ms < now.ms() => {
                    let id = *id;
                    self.forget(id);
                }
                _ => break,
            }
        }
        self.sweep_usage(now, FORGET_AT_MOST);
        self.sweep_memos(now, FORGET_AT_MOST);
        self.sweep_tokens(now, FORGET_AT_MOST);
        self.sweep_batches(now, FORGET_AT_MOST);
    }
}

impl Facts {
    /// The virtual time at which a tenant joins a ring: idling earns nothing.
    pub(super) fn join_at(&self, tenant: &TenantName) -> u64 {
        let own = self.shares.get(tenant).map_or(0, |share| share.virtual_time);
        own.max(self.counters.present)
    }
}

/// A task's place in its line.
pub(super) fn score(now: Now, priority: u8, bonus_us: i64) -> i64 {
    let now_us = i64::try_from(now.us()).unwrap_or(i64::MAX);
    now_us - bonus_us - i64::from(priority) * HEAD_START_US
}
