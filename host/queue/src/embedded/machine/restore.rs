//! The machine from its rows, in the order of their keys.
//!
//! Everything that is derived is derived anew, so that a damaged index cannot outlive its
//! process. Rows that do not belong together are an error that says which.

use std::collections::HashMap;
use std::sync::Arc;

use bulkhead_core::{
    BatchId, QueueName, QueuePolicy, State, TaskId, TaskType, TenantName, TermKey,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Machine;
use super::batch::{Group, Tally};
use super::queue::{Counters, Memo, Queue, Share, TypeFacts};
use super::rows::{CANCEL, HOLDS_KEY, STARTED, TASK_ROW_BYTES, tag};
use super::task::{Kept, Place, Ties};
use crate::batch::Batch;
use crate::codec;
use crate::history::Resolution;
use crate::secret::Sealed;
use crate::usage::UsageLine;
use crate::view::Entry;

/// A machine that is being read.
#[derive(Debug, Default)]
pub struct Restoring {
    machine: Machine,
    batches: HashMap<(usize, BatchId), (Batch, Tally, Vec<u32>)>,
    tasks: HashMap<u64, (Bytes, Vec<Bytes>)>,
}

type Read<T> = Result<T, String>;

impl Restoring {
    /// Take the next row, in the order of keys.
    pub fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.read(key, value).map_err(|reason| format!("row {}: {reason}", shown(key)))
    }

    fn read(&mut self, key: &[u8], value: &[u8]) -> Read<()> {
        let (tag, rest) = key.split_first().ok_or("it has no key")?;
        match *tag {
            tag::RECORD => {
                let seq = number(rest)?;
                self.tasks.insert(seq, (Bytes::copy_from_slice(value), Vec::new()));
                Ok(())
            }
            tag::ENTRY => {
                let (seq, at) = rest.split_at_checked(8).ok_or("its key is short")?;
                let (_, history) = self.tasks.get_mut(&number(seq)?).ok_or("it has no record")?;
                if at != u32::try_from(history.len()).unwrap_or(u32::MAX).to_be_bytes() {
                    return Err("an entry before it is missing".into());
                }
                history.push(Bytes::copy_from_slice(value));
                Ok(())
            }
            tag::TASK => self.task(number(rest)?, value),
            tag::KV_NEWEST | tag::KV_VALUE => self.machine.kv.restore(*tag, rest, value),
            tag::SECRET => {
                self.machine.secrets.insert(name(rest)?, Sealed(value.to_vec()));
                Ok(())
            }
            tag::DOCUMENT => self.machine.documents.restore(rest, value),
            tag::BLOB => self.machine.blobs.restore_head(rest, value),
            tag::BLOB_PIECE => self.machine.blobs.restore_piece(rest, value),
            tag::AUDIT => self.machine.audit.restore(rest, value),
            tag => {
                let (at, rest) = rest.split_at_checked(4).ok_or("its key is short")?;
                let at = u32::from_be_bytes(at.try_into().map_err(|_| "its key is short")?);
                self.fact(tag, at as usize, rest, value)
            }
        }
    }

    fn fact(&mut self, tag: u8, at: usize, rest: &[u8], value: &[u8]) -> Read<()> {
        if tag == tag::QUEUE {
            let (name, listed): (QueueName, bool) = decode(value)?;
            if at != self.machine.queues.len() {
                return Err("a queue before it is missing".into());
            }
            let mut queue = Queue::new(at, name.clone());
            queue.facts.listed = listed;
            self.machine.queues.push(queue);
            self.machine.names.insert(name, at);
            return Ok(());
        }
        let queue = self.machine.queues.get_mut(at).ok_or("its queue is missing")?;
        let facts = &mut queue.facts;
        match tag {
            tag::COUNTERS => {
                type Numbers = (u64, u64, u64, u64, Option<u64>);
                let ((token, present, tokens_us, ended, kept_ms), totals): (Numbers, Vec<u64>) =
                    decode(value)?;
                let mut counters =
                    Counters { token, present, tokens_us, ended, kept_ms, ..Counters::default() };
                for (total, count) in counters.totals.iter_mut().zip(totals) {
                    *total = count;
                }
                facts.counters = counters;
            }
            tag::POLICY => {
                let (policy, paused): (QueuePolicy, bool) = decode(value)?;
                (facts.policy, facts.paused) = (policy, paused);
            }
            tag::TYPE => {
                let (paused, tokens_us) = decode(value)?;
                let name: TaskType = name(rest)?;
                facts.types.insert(name, TypeFacts { paused, tokens_us });
            }
            tag::SHARE => {
                let (virtual_time, tokens_us, fuel, memory) = decode(value)?;
                let name: TenantName = name(rest)?;
                facts.shares.insert(name, Share { virtual_time, tokens_us, fuel, memory });
            }
            tag::KEY_TOKENS => {
                let (key, tokens_us): (TermKey, u64) = (name(rest)?, decode(value)?);
                facts.keys_filling.insert((tokens_us, key.clone()));
                facts.key_tokens.insert(key, tokens_us);
            }
            tag::SCHEDULE => {
                facts.schedules.insert(text(rest)?.to_owned(), decode(value)?);
            }
            tag::BATCH => {
                let batch: Batch = decode(value)?;
                self.batches.insert((at, batch.id), (batch, Tally::default(), Vec::new()));
            }
            tag::BATCH_COUNT => {
                let ((opened_ms, over_ms, until_ms), (completed, failed, cancelled, expired)) =
                    decode(value)?;
                let (_, tally, _) =
                    self.batches.get_mut(&(at, batch_id(rest)?)).ok_or("its batch is missing")?;
                *tally =
                    Tally { opened_ms, over_ms, until_ms, completed, failed, cancelled, expired };
            }
            tag::BATCH_MEMBER => {
                let (id, place) = rest.split_at_checked(16).ok_or("its key is short")?;
                let place = u32::from_be_bytes(place.try_into().map_err(|_| "its key is short")?);
                let (_, _, counted) =
                    self.batches.get_mut(&(at, batch_id(id)?)).ok_or("its batch is missing")?;
                counted.push(place);
            }
            tag::USAGE => {
                let (day, line) = rest.split_at_checked(4).ok_or("its key is short")?;
                let day = u32::from_be_bytes(day.try_into().map_err(|_| "its key is short")?);
                let line = UsageLine::parse(text(line)?).ok_or("its key has no line")?;
                facts.put_usage((day, line), decode(value)?);
            }
            tag::MEMO => {
                let (output, until_ms) = decode(value)?;
                let key = text(rest)?.to_owned();
                facts.memos_kept.insert((until_ms, key.clone()));
                facts.memos.insert(key, Memo { output, until_ms });
            }
            tag::HISTORY => {
                let (of, slot) =
                    rest.split_at_checked(rest.len().saturating_sub(8)).unwrap_or_default();
                let of = [Resolution::Minute, Resolution::Hour]
                    .into_iter()
                    .find(|known| of.strip_suffix(b"/") == Some(known.as_str().as_bytes()))
                    .ok_or("its key names no resolution")?;
                facts.history.insert((of, number(slot)?), decode(value)?);
            }
            tag => return Err(format!("its tag {tag} is unknown")),
        }
        Ok(())
    }

    fn task(&mut self, seq: u64, row: &[u8]) -> Read<()> {
        let (record, history) = self.tasks.remove(&seq).ok_or("it has no record")?;
        let Some((fixed, host)) = row.split_at_checked(TASK_ROW_BYTES) else {
            return Err(format!("it has {} bytes, which are too few", row.len()));
        };
        let word = |at: usize| number(&fixed[at..at + 8]);
        let half = |at: usize| number(&fixed[at..at + 4]).map(|n| n as u32);
        let at = half(0)? as usize;
        let id = TaskId(Uuid::from_slice(&fixed[4..20]).map_err(|e| e.to_string())?);
        let (hold_until_ms, attempts, entries) = (word(20)?, half(28)?, half(32)?);
        let (flags, kind, a, b) = (fixed[36], fixed[37], word(38)?, word(46)?);
        if entries as usize != history.len() {
            return Err(format!("it has {} entries where {entries} belong", history.len()));
        }
        let ended = |state| Place::Ended { state, until_ms: a, number: b };
        let place = match kind {
            0 | 1 => Place::Blocked { linked: kind == 1 },
            2 => Place::Scheduled { due_ms: a },
            3 => Place::Lane { score: a.cast_signed() },
            4 => Place::Line { score: a.cast_signed() },
            5 => Place::Running { token: a, host: Arc::from(text(host)?), until_ms: b },
            6 => ended(State::Completed),
            7 => ended(State::Failed),
            8 => ended(State::Cancelled),
            9 => ended(State::Expired),
            kind => return Err(format!("its place {kind} is unknown")),
        };
        let queue = self.machine.queues.get_mut(at).ok_or("its queue is missing")?;
        let task = codec::decode(&queue.name, id, &record).map_err(|e| e.to_string())?.task;
        let mut ties = Ties::of(&task.terms, 0);
        if let Some(ties) = &mut ties {
            if matches!(place, Place::Blocked { .. }) {
                for entry in &history {
                    if let Entry::Parent { parent, .. } = codec::decode_entry(entry)? {
                        ties.waits.retain(|waited| *waited != parent);
                    }
                }
            } else {
                ties.waits.clear();
            }
            if let Some(hold) = &mut ties.unique {
                hold.until_ms = hold.window_ms.map(|_| hold_until_ms);
                if flags & HOLDS_KEY != 0 {
                    queue.index.uniques.insert(hold.key.clone(), id);
                }
            }
        }
        let kept = Kept {
            seq,
            task_type: task.task_type,
            tenant: task.tenant,
            priority: task.priority.level(),
            place,
            record,
            history,
            attempts,
            started: flags & STARTED != 0,
            cancel: flags & CANCEL != 0,
            watched: false,
            ties,
        };
        let join_at = queue.facts.join_at(&kept.tenant);
        queue.index.enter(id, &kept, join_at);
        if queue.tasks.insert(id, kept).is_some() {
            return Err(format!("the task {id} is there twice"));
        }
        self.machine.next_seq = self.machine.next_seq.max(seq + 1);
        Ok(())
    }

    /// The machine, once all rows were taken.
    pub fn finish(self) -> Result<Machine, String> {
        let mut machine = self.machine;
        machine.blobs.restored()?;
        if let Some(seq) = self.tasks.keys().next() {
            return Err(format!("the record {seq} belongs to no task"));
        }
        for ((at, id), (batch, tally, counted)) in self.batches {
            let facts = &mut machine.queues[at].facts;
            facts.batches_kept.insert((tally.until_ms, id));
            facts.batches.insert(id, Group::new(batch, tally, &counted));
        }
        machine.link_all();
        Ok(machine)
    }
}

impl Machine {
    /// Link every blocked task to the parents that it waits for, anew.
    pub(super) fn link_all(&mut self) {
        self.links.clear();
        for at in 0..self.queues.len() {
            let blocked = self.queues[at].tasks.iter();
            let blocked: Vec<_> = blocked
                .filter(|(_, kept)| kept.place == Place::Blocked { linked: true })
                .map(|(id, kept)| (*id, kept.waits().to_vec()))
                .collect();
            for (id, parents) in blocked {
                for parent in parents {
                    if let Some(node) = self.node(&parent) {
                        self.links.entry(node).or_default().insert((at, id));
                    }
                }
            }
        }
    }
}

fn shown(key: &[u8]) -> String {
    key.iter().take(40).map(|byte| format!("{byte:02x}")).collect()
}

fn number(bytes: &[u8]) -> Read<u64> {
    if bytes.len() > 8 {
        return Err("its number is too long".into());
    }
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn text(bytes: &[u8]) -> Read<&str> {
    std::str::from_utf8(bytes).map_err(|e| e.to_string())
}

fn name<T: std::str::FromStr<Err: std::fmt::Display>>(bytes: &[u8]) -> Read<T> {
    text(bytes)?.parse().map_err(|e: T::Err| e.to_string())
}

fn batch_id(bytes: &[u8]) -> Read<BatchId> {
    Uuid::from_slice(bytes).map(BatchId).map_err(|e| e.to_string())
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Read<T> {
    rmp_serde::from_slice(bytes).map_err(|e| e.to_string())
}
