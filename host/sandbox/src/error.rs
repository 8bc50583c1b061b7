//! What can go wrong here that is not an outcome: the host cannot build its sandbox,
//! cannot run an attempt now, or refuses a plugin.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a sandbox could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// The configuration makes no sense.
    #[error("the sandbox configuration is not usable: {0}")]
    Config(String),
    /// wasmtime refused the engine.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// The epoch thread could not be started.
    #[error("the epoch thread cannot start: {0}; check the process's thread limit")]
    Ticker(String),
    /// Worker processes cannot be started, or lack what they must have.
    #[error("worker processes cannot be used: {0}")]
    Workers(String),
}

/// Why an attempt could not run. Never the task's fault: give the task back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unavailable {
    /// All compartments are in use.
    #[error("all compartments are in use: {0}; run fewer attempts at once or raise `concurrency`")]
    PoolFull(String),
    /// The engine failed in a way that no guest can cause.
    #[error("the sandbox is broken: {0}")]
    Broken(String),
}

/// A gate that a plugin must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The manifest and the name make sense.
    Manifest,
    /// The file is not too large.
    Size,
    /// The file is WebAssembly and not machine code.
    Precompiled,
    /// The file is valid WebAssembly.
    Invalid,
    /// A core module can be adapted to a component.
    Adapt,
    /// It imports only what it is granted.
    Imports,
    /// It exports the handler world or a command.
    World,
    /// Its memories, tables and instances fit a compartment.
    Shape,
    /// Its owner's quotas have room for it. It may have later.
    Quota,
    /// The compiler takes it, in the memory that it has.
    Compile,
    /// It compiles in time.
    CompileBudget,
    /// It describes itself.
    Describe,
    /// Its description makes sense.
    Description,
    /// It can be instantiated.
    Smoke,
    /// It, and what its attempts need, fit into the host's memory.
    Memory,
}

impl Gate {
    /// The gate's name in tables and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Size => "size",
            Self::Precompiled => "precompiled",
            Self::Invalid => "invalid",
            Self::Adapt => "adapt",
            Self::Imports => "imports",
            Self::World => "world",
            Self::Shape => "shape",
            Self::Quota => "quota",
            Self::Compile => "compile",
            Self::CompileBudget => "compile_budget",
            Self::Describe => "describe",
            Self::Description => "description",
            Self::Smoke => "smoke",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a file did not become a plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (gate: {gate})")]
pub struct Rejection {
    /// The gate that it did not pass.
    pub gate: Gate,
    /// What is wrong and what to do. May quote the file: escape it before showing it.
    pub message: String,
}

impl Rejection {
    pub(crate) fn new(gate: Gate, message: impl Into<String>) -> Self {
        Self { gate, message: crate::text::bounded(message.into(), 4 << 10) }
    }
}
