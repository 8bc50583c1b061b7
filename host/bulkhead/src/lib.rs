//! Bulkhead: a task queue whose handlers are sandboxed WebAssembly components.
//!
//! This crate is the only place where the queue and the sandbox meet. [`Host`] claims
//! tasks from a broker, runs each in a fresh compartment, settles the outcome, and
//! follows a folder of plugins while it runs. The binary `bulkhead` is a thin layer
//! over it; `examples/embed.rs` shows a host inside another program.

pub mod alerts;
mod clock;
pub mod config;
pub mod fleet;
pub mod gatehouse;
pub mod grants;
mod host;
pub mod layers;
mod log_control;
mod log_tail;
mod machine;
pub mod manifest;
mod memory;
pub mod metrics;
mod options;
mod plugins;
mod scheduler;
pub mod secrets;
mod serve;
mod shutdown;
pub mod traces;
pub mod trust;
mod web;

pub use alerts::{AlertOptions, AlertStatus, Alerts};
pub use bulkhead_api as api;
pub use bulkhead_core as core;
pub use bulkhead_queue as queue;
pub use bulkhead_sandbox::{
    AttemptEnd, CacheFolder, Cancel, Compiler, ENGINE, Isolation, Layer, UpstreamRefused,
    Upstreams, WorkerProcesses, WorkerProgram, compile_worker, guest_worker,
};
pub use host::{Host, HostBuilder, HostError, HostFacts, Phases, VitalCounts, Vitals};
pub use log_control::LogControl;
pub use log_tail::LogTail;
pub use machine::{CpuTime, Linux, Machine, MemoryUse};
pub use metrics::Metrics;
pub use options::{
    AdmissionOptions, AutoscaleOptions, FleetPolicy, HostOptions, IsolationOptions, QueueOptions,
    QueueSchedule,
};
pub use plugins::{
    EVERY, GrantsFrom, Identity, LiveSettings, PluginQuota, PluginSettings, SettingsWriter,
    Sharing, TenantPlugins, Values,
};
pub use serve::offers;
pub use shutdown::{Shutdown, Trigger};
pub use traces::Traces;
pub use web::WebAddress;
