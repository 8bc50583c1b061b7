//! What a host and a guest worker say to one another, in MessagePack.
//!
//! What goes down to the child is the host's word. What comes up is hostile: each type here
//! only says what it may look like, and the parent's `check` what it may mean. Descriptors go
//! down only.

use std::borrow::Cow;
use std::time::Duration;

use bulkhead_core::{Child, Digest, Limits, LogLine, Metering, Outcome, Parent, Task, UnixMs};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::Layer;
use crate::bindings::bulkhead::handler::types;
use crate::engine::CodeSettings;
use crate::grants::Grants;
use crate::load::Facts;
use crate::service::{KvEntry, KvError, KvPage, SecretError};
use crate::{CapabilitySet, ChildBounds, Gate, Unavailable};

/// Largest frame that goes up, besides what results, host calls and logs may have.
pub(super) const UP_BYTES: u64 = 32 << 20;

/// What the host says.
#[derive(Serialize, Deserialize)]
pub(super) enum Down<'a> {
    /// What the child is for. With the folders that it may reach, in the order of `reach`.
    Hello(Box<Hello>),
    /// A plugin of the tenant. With its machine code.
    Plugin { plugin: u64, ware: Box<Ware> },
    /// A plugin that no attempt will be at any more.
    Forget { plugin: u64 },
    /// Let a plugin say what it handles.
    Describe { plugin: u64 },
    /// An attempt, or a batch of them.
    Attempt { attempt: u64, plugin: u64, given: Given, tasks: Vec<Assigned<'a>> },
    /// Somebody cancelled a task of an attempt.
    Cancel { attempt: u64, task: u32 },
    /// Whose certificates are believed.
    Roots { roots: u64, certificates: Vec<ByteBuf> },
    /// The answer to what was asked. With the descriptors that it speaks of.
    Answer { ask: u64, answer: Answer },
}

/// What a child is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) code: CodeSettings,
    pub(crate) compatibility: [u8; 32],
    pub(crate) shape: Shape,
    pub(crate) threads: usize,
    /// For each folder, whether it may be written to.
    pub(crate) reach: Vec<bool>,
    /// Largest file that it may write; none says nothing.
    pub(crate) file_bytes: Option<u64>,
    /// Whether to go on without a layer that the kernel does not have.
    pub(crate) strict: bool,
}

/// What of the sandbox's configuration a child needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) concurrency: u32,
    pub(crate) ceilings: Limits,
    pub(crate) describe_limits: Limits,
    pub(crate) epoch_tick: Duration,
    pub(crate) stack_bytes: usize,
    pub(crate) keep_resident_bytes: usize,
    pub(crate) table_elements: usize,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    pub(crate) random_bytes: u64,
    pub(crate) open_files: u32,
    pub(crate) offers: CapabilitySet,
    pub(crate) children: ChildBounds,
}

/// A plugin on its way to a child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ware {
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) facts: Facts,
    pub(crate) grants: Grants,
    pub(crate) code_bytes: u64,
}

/// Which services an attempt was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Given {
    pub(super) kv: bool,
    pub(super) config: bool,
    pub(super) secrets: bool,
    pub(super) http: bool,
    pub(super) fs: bool,
}

/// One task of an attempt.
#[derive(Serialize, Deserialize)]
pub(super) struct Assigned<'a> {
    pub(super) task: Cow<'a, Task>,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) deadline_at: UnixMs,
    pub(super) limits: Limits,
    pub(super) cancelled: bool,
    /// Whether anybody wants to know of its progress.
    pub(super) progress: bool,
    pub(super) parents: Option<Cow<'a, [Parent]>>,
}

/// What a child says.
#[derive(Serialize, Deserialize)]
pub(super) enum Up {
    /// It gave up its rights and waits.
    Ready { layers: Vec<Layer> },
    /// It cannot be what it is to be.
    Unfit { why: String },
    /// What a plugin handles, or why it is refused.
    Described { plugin: u64, described: Result<Described, (Gate, String)> },
    /// An attempt is over.
    Ended { attempt: u64, end: Result<Ends, Unavailable> },
    /// How far a guest is.
    Progress { attempt: u64, task: u32, fraction: f32, message: String },
    /// An attempt needs something.
    Ask { ask: u64, attempt: u64, what: Ask },
    /// A connection is done with.
    Closed { connection: u64 },
    /// An attempt's own folder is done with.
    Left { folder: u64 },
    /// Why a request failed, for the operator.
    Note { attempt: u64, to: String, why: String },
}

/// How an attempt ended: one end for each task.
#[derive(Serialize, Deserialize)]
pub(super) struct Ends {
    pub(super) ends: Vec<End>,
    pub(super) fell: bool,
}

/// How one task's attempt ended.
#[derive(Serialize, Deserialize)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) metering: Metering,
    pub(super) logs: Vec<LogLine>,
    pub(super) children: Vec<Child>,
}

/// What an attempt asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Config { key: String },
    Secret { name: String },
    Kv(KvAsk),
    Connect(Box<ConnectAsk>),
    Folders,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum KvAsk {
    Get {
        key: String,
    },
    Set {
        key: String,
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    },
    Delete {
        key: String,
    },
    List {
        prefix: String,
        after: Option<String>,
        limit: u32,
    },
    Increment {
        key: String,
        by: i64,
        ttl_ms: Option<u64>,
    },
    CompareAndSet {
        key: String,
        expected: Option<u64>,
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    },
}

/// A connection for a request like this.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ConnectAsk {
    pub(super) method: String,
    pub(super) scheme: String,
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) within: Duration,
}

/// What comes of an [`Ask`].
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    /// The host's own code panicked.
    Panicked,
    Config(Option<String>),
    Secret(Result<String, SecretError>),
    Entry(Result<Option<KvEntry>, KvError>),
    Version(Result<u64, KvError>),
    Deleted(Result<bool, KvError>),
    Page(Result<KvPage, KvError>),
    Sum(Result<i64, KvError>),
    Swapped(Result<Option<u64>, KvError>),
    /// With a connected socket.
    Connected {
        connection: u64,
        roots: Option<u64>,
    },
    Unreached {
        reason: Unreached,
        why: String,
    },
    /// With a folder for each that was granted; the attempt's own first, if it has one.
    Folders {
        own: Option<u64>,
    },
    NoFolders {
        why: String,
    },
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unreached {
    NoAddress,
    ResolvingTimedOut,
    Unavailable,
    TimedOut,
    Prohibited,
    Unroutable,
    Terminated,
    Refused,
    NoCertificates,
}

/// What a plugin says of itself, unchecked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) handlers: Vec<DescribedHandler>,
    pub(super) takes_batches: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DescribedHandler {
    task_type: String,
    description: String,
    input_schema: Option<String>,
    limits: [Option<u64>; 3],
    retry: Option<DescribedRetry>,
    max_batch: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DescribedRetry {
    max_attempts: Option<u32>,
    backoff: Option<DescribedBackoff>,
    max_age_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
enum DescribedBackoff {
    Fixed(u64),
    Linear(u64, u64, u64),
    Exponential(u64, f64, u64),
    Delays(Vec<u64>),
}

impl Described {
    pub(super) fn of(described: types::PluginDescription, takes_batches: bool) -> Self {
        let types::PluginDescription { name, version, handlers } = described;
        let handlers = handlers.into_iter().map(DescribedHandler::of).collect();
        Self { name, version, handlers, takes_batches }
    }

    /// As a plugin in this process would have said it.
    pub(super) fn into_description(self) -> types::PluginDescription {
        let Self { name, version, handlers, .. } = self;
        let handlers = handlers.into_iter().map(DescribedHandler::into_handler).collect();
        types::PluginDescription { name, version, handlers }
    }
}

impl DescribedHandler {
    fn of(handler: types::HandlerDescription) -> Self {
        let types::LimitsSuggestion { fuel, memory_bytes, wall_ms } = handler.limits;
        let retry = handler.retry.map(|retry| DescribedRetry {
            max_attempts: retry.max_attempts,
            max_age_ms: retry.max_age_ms,
            backoff: retry.backoff.map(|backoff| match backoff {
                types::Backoff::Fixed(delay_ms) => DescribedBackoff::Fixed(delay_ms),
                types::Backoff::Linear(b) => {
                    DescribedBackoff::Linear(b.initial_ms, b.step_ms, b.max_ms)
                }
                types::Backoff::Exponential(b) => {
                    DescribedBackoff::Exponential(b.initial_ms, b.multiplier, b.max_ms)
                }
                types::Backoff::Delays(delays) => DescribedBackoff::Delays(delays),
            }),
        });
        Self {
            task_type: handler.task_type,
            description: handler.description,
            input_schema: handler.input_schema,
            limits: [fuel, memory_bytes, wall_ms],
            retry,
            max_batch: handler.max_batch,
        }
    }

    fn into_handler(self) -> types::HandlerDescription {
        let [fuel, memory_bytes, wall_ms] = self.limits;
        let retry = self.retry.map(|retry| types::RetrySuggestion {
            max_attempts: retry.max_attempts,
            max_age_ms: retry.max_age_ms,
            backoff: retry.backoff.map(|backoff| match backoff {
                DescribedBackoff::Fixed(delay_ms) => types::Backoff::Fixed(delay_ms),
                DescribedBackoff::Linear(initial_ms, step_ms, max_ms) => {
                    types::Backoff::Linear(types::LinearBackoff { initial_ms, step_ms, max_ms })
                }
                DescribedBackoff::Exponential(initial_ms, multiplier, max_ms) => {
                    let backoff = types::ExponentialBackoff { initial_ms, multiplier, max_ms };
                    types::Backoff::Exponential(backoff)
                }
                DescribedBackoff::Delays(delays) => types::Backoff::Delays(delays),
            }),
        });
        types::HandlerDescription {
            task_type: self.task_type,
            description: self.description,
            input_schema: self.input_schema,
            limits: types::LimitsSuggestion { fuel, memory_bytes, wall_ms },
            retry,
            max_batch: self.max_batch,
        }
    }
}
