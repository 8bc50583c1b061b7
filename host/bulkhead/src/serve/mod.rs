//! Serving queues: claim, run, settle.

mod attempt;
mod ledger;
mod line;
mod listen;
mod permits;

pub(crate) use ledger::Interrupt;
pub(crate) use line::{Line, Shared};
pub(crate) use listen::listen;
pub(crate) use permits::Permits;
