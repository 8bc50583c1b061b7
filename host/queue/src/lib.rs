//! The durable queue of Bulkhead and the producer's client.
//!
//! A [`Broker`] keeps tasks and hands out claims; [`Client`] is what producers use.
//! Every state edge of a task is one atomic step in the broker, and only the holder
//! of the newest claim can settle it. This crate knows nothing of WebAssembly, so a
//! producer that depends on it never compiles a Wasm runtime.

mod archive;
mod batch;
mod blob;
mod broker;
mod client;
mod codec;
mod document;
mod embedded;
mod error;
mod event;
mod figures;
mod finding;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod held;
mod history;
mod host;
mod journal;
mod kv;
mod redis;
mod schedule;
mod secret;
mod serves;
mod step;
mod usage;
mod view;

pub use archive::Archive;
pub use batch::{Batch, BatchView, Over};
pub use blob::{BlobDraft, BlobInfo, BlobPiece};
pub use broker::{Broker, Lines, Signal, Topic};
pub use client::{Client, NewBatch, NewTask, SubmitLimits, Submitted, SubmittedBatch};
pub use codec::Unreadable;
pub use document::{Document, DocumentId, DocumentKind, Expected};
pub use embedded::{Clock, EmbeddedBroker, machine};
pub use error::QueueError;
pub use event::{Event, EventId, EventKind};
pub use figures::{BrokerFigures, Spread, TIMES_MS, TIMES_US};
pub use finding::{Finding, FindingKind};
pub use held::{HeldBy, HeldTenant, QuotaUse};
pub use history::{Resolution, Sample};
pub use host::{
    HostInfo, HostLatency, HostMemory, HostScaling, PluginInfo, PushedState, PushedVersion,
    RejectedVersion, ScalingChange, ServingVersion, TenantLoad, TypeFigures,
};
pub use journal::{JournalEntry, JournalLine, JournalRange};
pub use kv::{
    KvBound, KvEdit, KvEntry, KvOwner, KvPage, KvQuota, KvRange, KvUsage, KvWrite, KvWritten,
};
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use redis::fuzzing::said as server_said;
pub use redis::{RedisBroker, RedisConfig, RedisUrl};
pub use schedule::{DueSchedules, Fire, FireAnswer, LastFire, ScheduleView};
pub use secret::{Sealed, SecretId};
pub use serves::Serves;
pub use step::{Apart, Claim, ClaimToken, End, Settlement, Step, Stepped};
pub use usage::{Day, Usage, UsageLine, UsageRow};
pub use view::{
    CancelAnswer, CancelReason, Entry, Holder, ListFilter, Mark, Next, Progress, QueueStats,
    RerunAnswer, SubmitAnswer, TaskPage, TaskView, TenantDepth, TypeDepth,
};
