//! The one wasmtime engine of a host: its settings, its pool of compartments and the
//! thread that ticks its epoch.
//!
//! The pool is shaped so that `concurrency` attempts of any component that passed the
//! shape check fit at one time. A machine without the address space for it gets bounds
//! checks instead of guard pages, and at last the on-demand allocator; slower, never
//! less strict. This file must not know what a task is.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::{SandboxConfig, SandboxError};

/// Most frames of a backtrace.
pub(crate) const MAX_FRAMES: usize = 32;

/// Stack that host functions have to themselves.
const HOST_STACK_BYTES: usize = 512 << 10;

/// Bytes of each table slot that stay resident between attempts.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// Build the engine and start its ticker.
pub(crate) fn build(config: &SandboxConfig) -> Result<Engine, SandboxError> {
    let engine = build_engine(config)?;
    tick(&engine, config.epoch_tick)?;
    Ok(engine)
}

fn build_engine(config: &SandboxConfig) -> Result<Engine, SandboxError> {
    let pooled = Engine::new(base(config).allocation_strategy(pool(config)));
    let refused = match pooled {
        Ok(engine) => return Ok(engine),
        Err(error) => error,
    };
    tracing::warn!(
        error = %format!("{refused:#}"),
        "no address space for guard pages; guests run with explicit bounds checks"
    );
    let mut compact = base(config);
    compact.memory_reservation(config.ceilings.memory_bytes).memory_guard_size(0);
    let refused = match Engine::new(compact.allocation_strategy(pool(config))) {
        Ok(engine) => return Ok(engine),
        Err(error) => error,
    };
    tracing::warn!(
        error = %format!("{refused:#}"),
        "no address space for a pool; every attempt allocates its memory anew"
    );
    let mut scarce = base(config);
    scarce.memory_reservation(0).memory_reservation_for_growth(1 << 20).memory_guard_size(0);
    Engine::new(&scarce).map_err(|error| SandboxError::Engine(format!("{error:#}")))
}

fn base(config: &SandboxConfig) -> Config {
    let mut engine = Config::new();
    engine
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(config.stack_bytes)
        .async_stack_size(config.stack_bytes + HOST_STACK_BYTES)
        .wasm_backtrace_max_frames(NonZeroUsize::new(MAX_FRAMES))
        .wasm_memory64(false)
        // No guest language needs it, and every feature is one more thing to attack.
        .wasm_gc(false)
        .memory_init_cow(true)
        // Guests run on a plain fiber each: the contract has no async functions, and
        // the concurrent event loop costs time in every call.
        .concurrency_support(false);
    engine
}

fn pool(config: &SandboxConfig) -> InstanceAllocationStrategy {
    let slots = config.concurrency.saturating_add(config.concurrent_loads);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(config.ceilings.instances))
        .total_memories(slots.saturating_mul(config.memories))
        .total_tables(slots.saturating_mul(config.tables))
        .total_stacks(slots)
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
fn tick(engine: &Engine, every: Duration) -> Result<(), SandboxError> {
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
