//! Machine code on its way into the engine: the one place that loads it, and the one place in
//! this workspace where code is not safe by construction.
//!
//! An [`Artifact`] comes from the host's own compiler or from its own cache, after the seal
//! was checked; in a worker process, from the host, which had it from one of these. Nothing else makes one; a file that a plugin folder holds never becomes one.

use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::inspect::Entry;

/// What is known of a component besides its machine code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The interfaces that it imports.
    pub(crate) imports: Vec<String>,
    /// How it is entered.
    pub(super) entry: Entry,
    /// Whether it was a core module.
    pub(super) adapted: bool,
}

/// A compiled component.
pub(super) struct Artifact {
    pub(super) facts: Facts,
    code: Vec<u8>,
}

impl Artifact {
    /// What the host's own compiler made, in this process or in a worker that it started.
    pub(super) fn from_compiler(facts: Facts, code: Vec<u8>) -> Self {
        Self { facts, code }
    }

    /// What the host's own cache holds, its seal checked over exactly these bytes.
    pub(super) fn from_cache(head: &[u8], code: Vec<u8>) -> Option<Self> {
        Some(Self { facts: serde_json::from_slice(head).ok()?, code })
    }

    /// What the host sent its worker process: bytes of one of the two, which passed no hands but
    /// its own.
    pub(super) fn from_host(facts: Facts, code: Vec<u8>) -> Self {
        Self { facts, code }
    }

    /// The facts as the cache keeps them.
    pub(super) fn head(&self) -> Vec<u8> {
        serde_json::to_vec(&self.facts).unwrap_or_default()
    }

    /// The machine code.
    pub(super) fn code(&self) -> &[u8] {
        &self.code
    }

    /// Load it.
    #[allow(unsafe_code, reason = "machine code cannot be checked; where it comes from can")]
    pub(super) fn component(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` wants bytes that `precompile_component` made and that nobody
        // changed. All constructors promise that: a compiler's answer comes through a pipe
        // that only the worker and this process hold, or from this process; a cached one was
        // sealed with a key that only the host's user can read, and the seal was checked over
        // this buffer, not over a file that could change in between; a guest worker's was read
        // from memory that the host sealed against writing and passed over their own socket.
        // None is written to afterwards. That it was made for another engine is found by `deserialize` itself.
        unsafe { Component::deserialize(engine, &self.code) }
    }
}
