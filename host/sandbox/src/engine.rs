//! The one wasmtime engine of a host: its settings, its pool of compartments and the
//! thread that ticks its epoch.
//!
//! The pool is shaped so that `concurrency` attempts of any component that passed the
//! shape check fit at one time. A machine without the address space for it gets bounds
//! checks instead of guard pages, and at last the on-demand allocator; slower, never
//! less strict. Machine code depends on some of the settings: a compiler in another process
//! builds its engine from the same [`CodeSettings`], without the pool. This file must not know
//! what a task is.

use std::hash::{Hash as _, Hasher};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::{SandboxConfig, SandboxError};

/// The engine and its version, as `wasmtime 48.0.8`: advisories are about versions. A test
/// holds it against `Cargo.lock`.
pub const ENGINE: &str = "wasmtime 48.0.8";

/// Most frames of a backtrace.
pub(crate) const MAX_FRAMES: usize = 32;

/// Stack that host functions have to themselves.
const HOST_STACK_BYTES: usize = 512 << 10;

/// Bytes of each table slot that stay resident between attempts.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// What the engine keeps of a component and all core instances in it besides memories and
/// tables, at most; a component that needs more does not fit the pool.
pub(crate) const MAX_INSTANCES_BYTES: u64 = 1 << 20;

/// What stays resident of the pool when nothing runs, at most: every compartment has been used
/// to the full. What runs in one holds it as part of its own.
pub(crate) fn resident_bytes(config: &SandboxConfig) -> u64 {
    let slots = u64::from(slots(config));
    let stack = (config.stack_bytes + HOST_STACK_BYTES) as u64;
    let (mut memory, mut table) = (0, 0);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        (memory, table) = (config.keep_resident_bytes as u64, TABLE_KEEP_RESIDENT_BYTES as u64);
    }
    let memories = u64::from(config.memories).saturating_mul(memory);
    let tables = u64::from(config.tables).saturating_mul(table);
    slots.saturating_mul(memories.saturating_add(tables).saturating_add(stack))
}

pub(crate) fn slots(config: &SandboxConfig) -> u32 {
    config.concurrency.saturating_add(config.concurrent_loads)
}

/// How guests' memories are guarded, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Guards {
    /// By guard pages, in a pool.
    Pages,
    /// By bounds checks, in a pool.
    Checks,
    /// By bounds checks; every memory is allocated anew.
    Scarce,
}

/// The settings that machine code depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodeSettings {
    guards: Guards,
    stack_bytes: usize,
    /// Most bytes of one memory.
    memory_bytes: u64,
}

/// Build the engine and start its ticker.
pub(crate) fn build(config: &SandboxConfig) -> Result<(Engine, CodeSettings), SandboxError> {
    let built = build_engine(config)?;
    tick(&built.0, config.epoch_tick)?;
    Ok(built)
}

/// The engine of a worker process, which runs what an engine of these settings runs. It does
/// not tick yet.
pub(crate) fn for_worker(
    config: &SandboxConfig,
    settings: &CodeSettings,
) -> wasmtime::Result<Engine> {
    let mut base = base(settings);
    if settings.guards != Guards::Scarce {
        base.allocation_strategy(pool(config));
    }
    Engine::new(&base)
}

/// An engine that compiles what an engine of these settings runs, and runs nothing.
pub(crate) fn for_compiling(settings: &CodeSettings) -> wasmtime::Result<Engine> {
    Engine::new(&base(settings))
}

/// What the machine code of an engine fits, and no other.
pub(crate) fn compatibility(engine: &Engine) -> [u8; 32] {
    struct Fed(Sha256);
    impl Hasher for Fed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut fed = Fed(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut fed);
    fed.0.finalize().into()
}

fn build_engine(config: &SandboxConfig) -> Result<(Engine, CodeSettings), SandboxError> {
    let settings = |guards| CodeSettings {
        guards,
        stack_bytes: config.stack_bytes,
        memory_bytes: config.ceilings.memory_bytes,
    };
    let pages = settings(Guards::Pages);
    let pooled = Engine::new(base(&pages).allocation_strategy(pool(config)));
    let refused = match pooled {
        Ok(engine) => return Ok((engine, pages)),
        Err(error) => error,
    };
    tracing::warn!(
        error = %format!("{refused:#}"),
        "no address space for guard pages; guests run with explicit bounds checks"
    );
    let checks = settings(Guards::Checks);
    let refused = match Engine::new(base(&checks).allocation_strategy(pool(config))) {
        Ok(engine) => return Ok((engine, checks)),
        Err(error) => error,
    };
    tracing::warn!(
        error = %format!("{refused:#}"),
        "no address space for a pool; every attempt allocates its memory anew"
    );
    let scarce = settings(Guards::Scarce);
    let engine = Engine::new(&base(&scarce));
    engine
        .map(|engine| (engine, scarce))
        .map_err(|error| SandboxError::Engine(format!("{error:#}")))
}

fn base(settings: &CodeSettings) -> Config {
    let mut engine = Config::new();
    engine
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(settings.stack_bytes)
        .async_stack_size(settings.stack_bytes + HOST_STACK_BYTES)
        .wasm_backtrace_max_frames(NonZeroUsize::new(MAX_FRAMES))
        .wasm_memory64(false)
        // No guest language needs it, and every feature is one more thing to attack.
        .wasm_gc(false)
        .memory_init_cow(true)
        // Guests run on a plain fiber each: the contract has no async functions, and
        // the concurrent event loop costs time in every call.
        .concurrency_support(false);
    match settings.guards {
        Guards::Pages => {}
        Guards::Checks => {
            engine.memory_reservation(settings.memory_bytes).memory_guard_size(0);
        }
        Guards::Scarce => {
            engine
                .memory_reservation(0)
                .memory_reservation_for_growth(1 << 20)
                .memory_guard_size(0);
        }
    }
    engine
}

fn pool(config: &SandboxConfig) -> InstanceAllocationStrategy {
    let slots = slots(config);
    let instance_bytes = usize::try_from(MAX_INSTANCES_BYTES).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(config.ceilings.instances))
        .total_memories(slots.saturating_mul(config.memories))
        .total_tables(slots.saturating_mul(config.tables))
        .total_stacks(slots)
        .max_core_instance_size(instance_bytes)
        .max_component_instance_size(instance_bytes)
        .max_unused_warm_slots(slots)
        .max_core_instances_per_component(config.ceilings.instances)
        .max_memories_per_component(config.memories)
        .max_memories_per_module(config.memories)
        .max_tables_per_component(config.tables)
        .max_tables_per_module(config.tables)
        .max_memory_size(usize::try_from(config.ceilings.memory_bytes).unwrap_or(usize::MAX))
        .table_elements(config.table_elements);
    // Without the kernel's page scan, keeping pages resident means clearing all of
    // them by hand, which costs more than the page faults it avoids.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(config.keep_resident_bytes)
            .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

/// Start the thread that ticks the epoch until the engine is gone.
pub(crate) fn tick(engine: &Engine, every: Duration) -> Result<(), SandboxError> {
    let engine = engine.weak();
    thread::Builder::new()
        .name("epoch".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(every);
            }
        })
        .map(drop)
        .map_err(|error| SandboxError::Ticker(error.to_string()))
}
