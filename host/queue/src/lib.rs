//! The durable queue of Bulkhead and the producer's client.
//!
//! A [`Broker`] keeps tasks and hands out claims; [`Client`] is what producers use.
//! Every state edge of a task is one atomic step in the broker, and only the holder
//! of the newest claim can settle it. This crate knows nothing of WebAssembly, so a
//! producer that depends on it never compiles a Wasm runtime.

mod broker;
mod client;
mod codec;
mod error;
mod host;
mod redis;
mod view;

pub use broker::{Broker, Claim, ClaimToken, End, Lines, Settlement, Signal, Step, Stepped, Topic};
pub use client::{Client, NewTask, SubmitLimits, Submitted};
pub use codec::Unreadable;
pub use error::QueueError;
pub use host::{HostInfo, PluginInfo, RejectedVersion, ServingVersion};
pub use redis::{RedisBroker, RedisConfig};
pub use view::{
    CancelAnswer, Entry, Holder, ListFilter, Next, QueueStats, RerunAnswer, TaskView, TypeDepth,
};
