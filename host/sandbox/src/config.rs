//! What a host decides about its sandboxes. Plain data with defaults that suit a host
//! of a few cores; every bound of this crate that an operator may change is here.

use std::time::Duration;

use bulkhead_core::Limits;

use crate::{Budget, CacheFolder, CapabilitySet, ChildBounds, Compiler, Isolation};

/// What a host decides about its sandboxes.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Attempts that run at one time. The pool holds this many compartments and a few
    /// more for describing plugins; an attempt beyond it is [`crate::Unavailable`].
    pub concurrency: u32,
    /// The host's ceilings. No attempt gets more than this, whatever it is given.
    pub ceilings: Limits,
    /// The limits under which a plugin describes itself at load.
    pub describe_limits: Limits,
    /// How often a busy guest yields and looks at its deadline. A guest that spins is
    /// stopped within about two ticks of its deadline or of being cancelled.
    pub epoch_tick: Duration,
    /// Stack of one guest, in bytes.
    pub stack_bytes: usize,
    /// Bytes of each memory slot that stay resident between attempts; this avoids
    /// page faults and costs up to this much memory per compartment.
    pub keep_resident_bytes: usize,
    /// Largest accepted plugin file, in bytes.
    pub max_component_bytes: usize,
    /// Where plugins are checked and compiled.
    pub compiler: Compiler,
    /// Longest wall time for checking and compiling one plugin.
    pub compile_budget: Duration,
    /// Most CPU time for it, of all threads together. Only a worker is held to it.
    pub compile_cpu: Duration,
    /// Most memory that compiling one plugin may take, beyond the worker itself, in bytes of
    /// address space. Only a worker is held to it.
    pub compile_memory_bytes: u64,
    /// Plugins that are compiled at one time, and plugins that describe themselves at one
    /// time.
    pub concurrent_loads: u32,
    /// Where compiled plugins are kept, if they are.
    pub cache: Option<CacheFolder>,
    /// Largest table of a component, in elements.
    pub table_elements: usize,
    /// Most memories of one component.
    pub memories: u32,
    /// Most tables of one component.
    pub tables: u32,
    /// Most bytes of random data that a guest gets from one call.
    pub random_bytes: u64,
    /// The capabilities that attempts can be given. One that is not among them refuses a
    /// plugin that was granted it and uses it.
    pub offers: CapabilitySet,
    /// Bounds on the tasks that guests submit.
    pub children: ChildBounds,
    /// Where guests run.
    pub isolation: Isolation,
    /// The memory that plugins and their attempts may hold together. Loading holds of it by
    /// itself; who starts attempts holds [`crate::Plugin::need_bytes`] for each.
    pub budget: Budget,
}

impl SandboxConfig {
    /// What the pool of compartments keeps resident when nothing runs, at most, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        crate::engine::resident_bytes(self)
    }
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            concurrency: 64,
            ceilings: Limits::default(),
            describe_limits: Limits {
                fuel: 2_000_000_000,
                wall_ms: 5_000,
                result_bytes: 1 << 20,
                log_bytes: 16 << 10,
                hostcall_bytes: 1 << 20,
                ..Limits::default()
            },
            epoch_tick: Duration::from_millis(5),
            stack_bytes: 512 << 10,
            keep_resident_bytes: 1 << 20,
            max_component_bytes: 64 << 20,
            compiler: Compiler::InProcess,
            compile_budget: Duration::from_secs(60),
            compile_cpu: Duration::from_secs(120),
            compile_memory_bytes: 2 << 30,
            concurrent_loads: 2,
            cache: None,
            table_elements: 65_536,
            memories: 4,
            tables: 10,
            random_bytes: 1 << 20,
            offers: CapabilitySet::default(),
            children: ChildBounds::default(),
            budget: Budget::unbounded(),
            isolation: Isolation::Thread,
        }
    }
}
