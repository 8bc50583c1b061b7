//! Which rows a call changed, so that a store can write those and no others.

use bulkhead_core::{BatchId, TaskId, TaskType, TenantName, TermKey};
use bytes::Bytes;

use crate::history::Resolution;
use crate::usage::UsageLine;

/// A row to be written; without a value, to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Option<Value>,
}

/// A row's bytes, shared with the machine where it keeps them.
pub type Value = Bytes;

/// What changed, in order. What it came to is looked up when the rows are taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touch {
    /// A task is gone: its rows by number and length of history.
    Gone {
        seq: u64,
        entries: u32,
    },
    /// A batch is gone, with the number of its members.
    BatchGone(BatchId, u32),
    Queue,
    Counters,
    Policy,
    Type(TaskType),
    Share(TenantName),
    KeyTokens(TermKey),
    Task(TaskId),
    Record(TaskId),
    Entry(TaskId, u32),
    Schedule(String),
    Batch(BatchId),
    BatchCount(BatchId),
    BatchMember(BatchId, u32),
    Usage(u32, UsageLine),
    Memo(String),
    Sample(Resolution, u64),
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) on: bool,
    pub(super) touches: Vec<Touch>,
}

impl Journal {
    pub(super) fn note(&mut self, touch: impl FnOnce() -> Touch) {
        if self.on {
            self.touches.push(touch());
        }
    }

    pub(super) fn queue(&mut self) {
        self.note(|| Touch::Queue);
    }

    pub(super) fn counters(&mut self) {
        if self.touches.last() != Some(&Touch::Counters) {
            self.note(|| Touch::Counters);
        }
    }

    pub(super) fn task(&mut self, id: TaskId) {
        self.note(|| Touch::Task(id));
    }
}
