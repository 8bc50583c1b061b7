//! A task as the machine keeps it: its place, its record's bytes and what binds it to
//! others. The place is the only record of its state.

use std::sync::Arc;

use bulkhead_core::{
    BatchRef, OnFailedParent, State, Task, TaskId, TaskRef, TaskType, TenantName, TermKey, Terms,
    UnixMs,
};
use bytes::Bytes;

use super::claim::RawClaim;
use super::{FOREVER_MS, Now};
use crate::view::Entry;

/// One task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    /// Its place in the order of submission, over all queues.
    pub(super) seq: u64,
    pub(super) task_type: TaskType,
    pub(super) tenant: TenantName,
    pub(super) priority: u8,
    pub(super) place: Place,
    /// Head and envelope.
    pub(super) record: Bytes,
    /// Entries, oldest first.
    pub(super) history: Vec<Bytes>,
    /// Attempts that ended since it last got fresh ones.
    pub(super) attempts: u32,
    /// Its expiry no longer concerns it: an attempt was claimed, or it was rerun.
    pub(super) started: bool,
    /// Somebody asked to cancel it while it ran.
    pub(super) cancel: bool,
    /// Somebody waits for its end. Not kept over a restart.
    pub(super) watched: bool,
    /// What binds it to others, if anything does.
    pub(super) ties: Option<Box<Ties>>,
}

/// Where a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Waits for parents; `linked` once they were looked for.
    Blocked { linked: bool },
    /// Waits for its time.
    Scheduled { due_ms: u64 },
    /// In its key's lane.
    Lane { score: i64 },
    /// In line.
    Line { score: i64 },
    /// Under a lease.
    Running { token: u64, host: Arc<str>, until_ms: u64 },
    /// Ended; `number` is its place in the queue's order of ends.
    Ended { state: State, until_ms: u64, number: u64 },
}

impl Place {
    pub(super) fn state(&self) -> State {
        match self {
            Self::Blocked { .. } => State::Blocked,
            Self::Scheduled { .. } => State::Scheduled,
            Self::Lane { .. } | Self::Line { .. } => State::Pending,
            Self::Running { .. } => State::Running,
            Self::Ended { state, .. } => *state,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }
}

/// The terms that the machine acts on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Ties {
    pub(super) key: Option<TermKey>,
    pub(super) unique: Option<Hold>,
    /// Parents that have not ended yet, without repetition.
    pub(super) waits: Vec<TaskRef>,
    pub(super) on_failed_parent: OnFailedParent,
    pub(super) batch: Option<BatchRef>,
    pub(super) expires_at: Option<UnixMs>,
    pub(super) not_before: Option<UnixMs>,
    pub(super) retention_ms: Option<u64>,
}

/// A unique key and how long it is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) key: TermKey,
    pub(super) window_ms: Option<u64>,
    /// The end of its window; without it the key is taken until the task has ended.
    pub(super) until_ms: Option<u64>,
}

impl Ties {
    /// The ties of a task submitted at `submitted_ms`; nothing if there are none.
    pub(super) fn of(terms: &Terms, submitted_ms: u64) -> Option<Box<Self>> {
        let mut waits: Vec<TaskRef> = Vec::with_capacity(terms.after.len());
        let mut seen = std::collections::HashSet::with_capacity(terms.after.len());
        waits.extend(terms.after.iter().filter(|parent| seen.insert(*parent)).cloned());
        let ties = Self {
            key: terms.key.clone(),
            unique: terms.unique.as_ref().map(|unique| Hold {
                key: unique.key.clone(),
                window_ms: unique.window_ms.map(|ms| ms.min(FOREVER_MS)),
                until_ms: unique.window_ms.map(|ms| submitted_ms + ms.min(FOREVER_MS)),
            }),
            waits,
            on_failed_parent: terms.on_failed_parent,
            batch: terms.batch.clone(),
            expires_at: terms.expires_at,
            not_before: terms.not_before.map(|at| at.min(FOREVER_MS)),
            retention_ms: terms.retention_ms,
        };
        (ties != Self::default()).then(|| Box::new(ties))
    }
}

impl Kept {
    /// Bytes of its record and all that happened to it.
    pub(super) fn bytes(&self) -> u64 {
        (self.record.len() + self.history.iter().map(Bytes::len).sum::<usize>()) as u64
    }

    /// What happened to a task that is bound to others: its parents' ends are among it.
    pub(super) fn tied_history(&self) -> Vec<Bytes> {
        if self.ties.is_some() { self.history.clone() } else { Vec::new() }
    }

    /// A claim on it under this token, for its next attempt.
    pub(super) fn claim(&self, id: TaskId, token: u64) -> RawClaim {
        RawClaim {
            id,
            token,
            tenant: self.tenant.clone(),
            task_type: self.task_type.clone(),
            record: self.record.clone(),
            history: self.tied_history(),
            attempt: self.attempts.saturating_add(1),
            cancelled: self.cancel,
            bytes: self.bytes(),
        }
    }

    pub(super) fn new(seq: u64, task: &Task, record: Bytes, place: Place, now: Now) -> Self {
        Self {
            seq,
            task_type: task.task_type.clone(),
            tenant: task.tenant.clone(),
            priority: task.priority.level(),
            place,
            record,
            history: Vec::new(),
            attempts: 0,
            started: false,
            cancel: false,
            watched: false,
            ties: Ties::of(&task.terms, now.ms()),
        }
    }

    pub(super) fn key(&self) -> Option<&TermKey> {
        self.ties.as_ref()?.key.as_ref()
    }

    /// When it expires, if that still concerns it.
    pub(super) fn expires_at(&self) -> Option<UnixMs> {
        self.ties.as_ref()?.expires_at.filter(|_| !self.started)
    }

    pub(super) fn own_retention_ms(&self) -> Option<u64> {
        self.ties.as_ref()?.retention_ms
    }

    pub(super) fn waits(&self) -> &[TaskRef] {
        self.ties.as_ref().map_or(&[], |ties| &ties.waits)
    }

    /// Whether it is kept at `now`, which is not so for an ended one whose time is over.
    pub(super) fn is_kept(&self, now: Now) -> bool {
        !matches!(self.place, Place::Ended { until_ms, .. } if until_ms < now.ms())
    }
}

/// An entry's bytes. Writing to memory fails for no value of this type.
pub(super) fn entry_bytes(entry: &Entry) -> Bytes {
    rmp_serde::to_vec(entry).unwrap_or_default().into()
}
