//! The queue as a pure state machine: every edge of a task's life, nothing else.
//!
//! Time is an argument, in microseconds; there is no I/O, no clock, no randomness and no
//! lock inside. It is what the embedded broker runs on and the reference that the Redis
//! scripts are held to. All queues live in one machine, so what ends in one is applied to
//! the tasks and batches of another within the same call. Indexes are derived from tasks;
//! [`Machine::examine`] proves that they agree. It knows nothing of files or sockets.

mod audit;
mod batch;
mod blob;
mod cancel;
mod claim;
mod dependency;
mod document;
mod end;
mod event;
mod examine;
mod history;
mod index;
mod inspect;
mod journal;
mod kv;
mod lane;
mod limit;
mod list;
mod memo;
mod policy;
mod promote;
mod purge;
mod queue;
mod reclaim;
mod renew;
mod rerun;
mod restore;
mod rows;
mod schedule;
mod secret;
mod settle;
mod stats;
mod step;
mod submit;
mod task;
#[cfg(test)]
mod tests;
mod unique;
mod usage;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bulkhead_core::{QueueName, TaskId, TaskRef, TaskType, TenantName};

pub use journal::{Row, Value};
use queue::Queue;
pub use restore::Restoring;
pub(crate) use step::{decode_claims, write_settlements};
pub(crate) use submit::encode;

use crate::codec::FOREVER_MS;
use crate::error::QueueError;
use crate::secret::{Sealed, SecretId};

/// How long a task is kept that ends without a host, if neither it nor any host says.
const KEPT_MS: u64 = 7 * 86_400_000;

/// All queues of one namespace, and what plugins and operators keep.
#[derive(Debug, Default)]
pub struct Machine {
    queues: Vec<Queue>,
    names: BTreeMap<QueueName, usize>,
    /// The tasks that wait for a task, by the awaited one.
    links: HashMap<Node, BTreeSet<Node>>,
    kv: kv::Kv,
    next_seq: u64,
    /// Stored secrets, which belong to no queue.
    secrets: BTreeMap<SecretId, Sealed>,
    changed_secrets: BTreeSet<SecretId>,
    documents: document::Documents,
    blobs: blob::Blobs,
    audit: audit::Audit,
    /// Queues that the present call changed.
    touched: BTreeSet<usize>,
    journaling: bool,
    /// Whether a host ever served a type for some tenants only. Not kept over a restart.
    narrow: bool,
}

/// A task in one of the machine's queues.
type Node = (usize, TaskId);

/// What the outside should hear of after a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A line of this type has work, or the queue has something to do earlier than before:
    /// that of one tenant, or any. Tenants are told apart once a host served a type for some
    /// only.
    Work(QueueName, TaskType, Option<TenantName>),
    /// A watched task has ended.
    Done(QueueName, TaskId),
    /// Somebody asked to cancel a running task.
    Cancel(QueueName, TaskId),
    /// A queue has new lifecycle events.
    Events(QueueName),
}

/// A moment of the broker's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Now(u64);

impl Now {
    fn us(self) -> u64 {
        self.0
    }

    fn ms(self) -> u64 {
        self.0 / 1_000
    }
}

impl Machine {
    /// A machine without queues.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every queue that ever had a task, a schedule or a policy, sorted.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueName> {
        self.names
            .iter()
            .filter(|(_, at)| self.queues[**at].facts.listed)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Take what the outside should hear of since it was last taken, in no particular order
    /// between queues.
    pub fn take_notes(&mut self) -> Vec<Note> {
        let mut notes = Vec::new();
        for at in &self.touched {
            self.queues[*at].take_notes(&mut notes);
        }
        notes
    }

    /// Record which rows change from now on, for [`Machine::take_rows`].
    pub fn keep_journal(&mut self) {
        self.journaling = true;
        self.kv.journaling = true;
        self.documents.journaling = true;
        self.blobs.journaling = true;
        self.audit.journaling = true;
        for queue in &mut self.queues {
            queue.journal.on = true;
        }
    }

    /// Take the rows that changed since they were last taken. Nothing unless
    /// [`Machine::keep_journal`] was called. Forgets which queues were touched, so
    /// [`Machine::take_notes`] goes first.
    pub fn take_rows(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        for at in std::mem::take(&mut self.touched) {
            self.queues[at].take_rows(&mut rows);
        }
        self.kv.take_rows(&mut rows);
        self.take_secret_rows(&mut rows);
        self.documents.take_rows(&mut rows);
        self.blobs.take_rows(&mut rows);
        self.audit.take_rows(&mut rows);
        rows
    }

    fn at(&self, name: &QueueName) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The queue, made if there is none, and marked as changed.
    fn open(&mut self, name: &QueueName) -> usize {
        let at = match self.at(name) {
            Some(at) => at,
            None => {
                let at = self.queues.len();
                let mut queue = Queue::new(at, name.clone());
                queue.journal.on = self.journaling;
                queue.narrow = self.narrow;
                queue.journal.queue();
                self.queues.push(queue);
                self.names.insert(name.clone(), at);
                at
            }
        };
        self.touched.insert(at);
        at
    }

    /// The queue if there is one, marked as changed.
    fn enter(&mut self, name: &QueueName) -> Option<usize> {
        let at = self.at(name)?;
        self.touched.insert(at);
        Some(at)
    }

    fn node(&self, task: &TaskRef) -> Option<Node> {
        Some((self.at(&task.queue)?, task.id))
    }

    /// Carry what happened in a queue to where it matters: lanes move on, what waited for
    /// ended tasks is told, batches count. Ends when nothing is left to carry.
    fn calm(&mut self, at: usize, now: Now) {
        let mut agenda = vec![at];
        while let Some(at) = agenda.pop() {
            self.touched.insert(at);
            for (child, parents) in std::mem::take(&mut self.queues[at].index.unblocked) {
                self.unlink((at, child), &parents);
            }
            self.queues[at].stir(now);
            let ends = std::mem::take(&mut self.queues[at].ends);
            if !ends.is_empty() {
                agenda.push(at);
            }
            for end in ends {
                if let Some(home) = self.count_member(at, &end, now) {
                    agenda.push(home);
                }
                for child in self.links.remove(&(at, end.id)).unwrap_or_default() {
                    let parent = TaskRef { queue: self.queues[at].name.clone(), id: end.id };
                    self.resolve(child, &parent, Some(end.state), end.output(), now);
                    agenda.push(child.0);
                }
            }
        }
    }
}

fn encoding(error: rmp_serde::encode::Error) -> QueueError {
    QueueError::Refused(format!("a record cannot be encoded: {error}"))
}
