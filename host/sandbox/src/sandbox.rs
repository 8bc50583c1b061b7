//! The door to this crate: one engine, shared by every plugin of a host.

use std::sync::Arc;

use bulkhead_core::Limits;
use tokio::sync::Semaphore;
use wasmtime::Engine;

use crate::{SandboxConfig, SandboxError, engine};

/// Loads plugins. Clones share one engine and one pool of compartments.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

struct Shared {
    engine: Engine,
    config: SandboxConfig,
    loads: Arc<Semaphore>,
}

impl Sandbox {
    /// A sandbox with its own engine and pool. One is enough for a host.
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        if config.concurrency == 0 || config.concurrent_loads == 0 {
            return Err(SandboxError::Config(
                "`concurrency` and `concurrent_loads` must be at least 1".to_owned(),
            ));
        }
        let engine = engine::build(&config)?;
        let loads = Arc::new(Semaphore::new(config.concurrent_loads as usize));
        Ok(Self(Arc::new(Shared { engine, config, loads })))
    }

    /// What the host decided.
    #[must_use]
    pub fn config(&self) -> &SandboxConfig {
        &self.0.config
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Permits for loading. A plugin that is being compiled holds one even after its
    /// budget has passed, so that hostile files cannot take every core.
    pub(crate) fn loads(&self) -> &Arc<Semaphore> {
        &self.0.loads
    }

    /// `limits`, none above the host's ceiling.
    pub(crate) fn within_ceilings(&self, limits: Limits) -> Limits {
        let ceilings = &self.0.config.ceilings;
        Limits {
            fuel: limits.fuel.min(ceilings.fuel),
            memory_bytes: limits.memory_bytes.min(ceilings.memory_bytes),
            wall_ms: limits.wall_ms.min(ceilings.wall_ms),
            result_bytes: limits.result_bytes.min(ceilings.result_bytes),
            log_bytes: limits.log_bytes.min(ceilings.log_bytes),
            hostcall_bytes: limits.hostcall_bytes.min(ceilings.hostcall_bytes),
            handles: limits.handles.min(ceilings.handles),
            instances: limits.instances.min(ceilings.instances),
        }
    }
}
