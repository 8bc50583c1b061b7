//! Bulkhead: a task queue whose handlers are sandboxed WebAssembly components.
//!
//! This crate is the only place where the queue and the sandbox meet. [`Host`] claims
//! tasks from a broker, runs each in a fresh compartment, settles the outcome, and
//! follows a folder of plugins while it runs. The binary `bulkhead` is a thin layer
//! over it; `examples/embed.rs` shows a host inside another program.

mod clock;
pub mod config;
pub mod grants;
mod host;
pub mod layers;
mod machine;
pub mod manifest;
mod memory;
mod options;
mod plugins;
mod scheduler;
pub mod secrets;
mod serve;
mod shutdown;
pub mod trust;

pub use bulkhead_core as core;
pub use bulkhead_queue as queue;
pub use bulkhead_sandbox::{
    AttemptEnd, CacheFolder, Cancel, Compiler, ENGINE, Isolation, Layer, UpstreamRefused,
    Upstreams, WorkerProcesses, WorkerProgram, compile_worker, guest_worker,
};
pub use host::{Host, HostBuilder, HostError, VitalCounts, Vitals};
pub use machine::{CpuTime, Linux, Machine, MemoryUse};
pub use options::{
    AdmissionOptions, AutoscaleOptions, HostOptions, IsolationOptions, QueueOptions, QueueSchedule,
};
pub use plugins::{
    EVERY, GrantsFrom, Identity, LiveSettings, PluginQuota, PluginSettings, SettingsWriter,
    Sharing, TenantPlugins, Values,
};
pub use serve::offers;
pub use shutdown::{Shutdown, Trigger};
