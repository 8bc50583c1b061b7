//! Runs one attempt at a task inside a WebAssembly component, under limits.
//!
//! [`Sandbox::load`] takes a file through the gates and gives a [`Plugin`];
//! [`Plugin::attempt`] runs one attempt in a fresh compartment and gives an
//! [`AttemptEnd`], [`Plugin::attempt_batch`] several in one. Whatever a guest does ends in an [`bulkhead_core::Outcome`]; an error
//! from this crate is always the host's own trouble. It knows neither queues nor Redis nor
//! configuration formats: bytes and plain data come in, values go out. The only files that it
//! touches are those in folders that a guest was granted, and its own cache of compiled plugins.

mod account;
mod attempt;
mod batch;
mod bindings;
mod budget;
mod cache;
mod cancel;
mod capability;
mod command;
mod compartment;
mod config;
mod engine;
mod error;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod grants;
mod handler;
mod journal;
mod last_words;
mod load;
mod memory;
mod need;
mod outbound;
mod plugin;
mod powers;
mod redact;
mod sandbox;
mod scratch;
mod seat;
mod secret;
mod service;
mod stdio;
mod text;
mod turns;
mod worker;

pub use account::{Account, CompileTime};
pub use attempt::{Attempt, AttemptEnd};
pub use batch::BatchEnd;
pub use budget::{Budget, BudgetStatus, Hold};
pub use cache::CacheFolder;
pub use cancel::Cancel;
pub use capability::{CapabilitySet, Granted, Inspection, Missing, ProgressSink};
pub use config::SandboxConfig;
pub use engine::ENGINE;
pub use error::{Gate, Rejection, SandboxError, Unavailable};
pub use grants::{
    Clocks, EnqueueGrant, FolderGrant, FolderQuota, FsGrant, Grants, HttpGrant, KvGrant, Named,
    Randomness,
};
pub use load::{Compiler, WorkerProgram, compile_worker};
pub use need::SETTLING_COPIES;
pub use outbound::{HttpAccess, Outbound, Resolver, SystemResolver, UpstreamRefused, Upstreams};
pub use plugin::{
    HandlerDescription, LoadTimes, Manifest, Plugin, PluginDescription, PluginKind, PluginSource,
};
pub use powers::ChildBounds;
pub use sandbox::{PoolStatus, Sandbox};
pub use scratch::ScratchHome;
pub use secret::SecretValue;
pub use service::{
    Call, CallObserver, ConfigSource, KvEntry, KvError, KvPage, KvSpace, SecretError, SecretSource,
    Services,
};
pub use turns::{Turn, Turnstile};
pub use worker::{Isolation, Layer, WorkerProcesses, give_up_rights, guest_worker};
