//! Worker processes: attempts of one tenant in a child process that can do nothing but run
//! them.
//!
//! The [`parent`] starts a child for each tenant that has work, hands it plugins and attempts
//! over a socket, and answers what the attempts ask for. The [`child`] gives up every right it
//! does not need ([`harden`]) before it is sent the first plugin. Whatever a child says may have
//! been said by a guest that broke out of the engine: the parent checks it against what it
//! handed over, and kills a child that says what no child could mean. Neither knows queues.

mod child;
mod frame;
mod harden;
#[cfg(test)]
mod liars;
mod parent;
mod wire;

use std::time::Duration;

use crate::load::WorkerProgram;

pub use child::guest_worker;
pub(crate) use child::{Connecting, Lent};
pub use harden::{Layer, give_up_rights};
pub(crate) use parent::{Elsewhere, Workers};
pub(crate) use wire::Unreached;
pub(crate) use wire::{Hello, Shape, Ware};

/// Where guests run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Isolation {
    /// On threads of this process.
    #[default]
    Thread,
    /// In child processes, those of different tenants in different ones.
    Process(WorkerProcesses),
}

/// How worker processes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerProcesses {
    /// A program that calls [`crate::guest_worker`], of the same build as this one.
    pub program: WorkerProgram,
    /// Processes at one time, those of different tenants together.
    pub most: u32,
    /// Threads that run guests, in each.
    pub threads: usize,
    /// How long a process without attempts is kept.
    pub idle: Duration,
    /// Whether to refuse to start where the kernel lacks a layer of protection.
    pub strict: bool,
}
