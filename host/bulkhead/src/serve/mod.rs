//! Serving queues: claim, run, settle.

mod attempt;
mod backends;
mod bell;
mod berth;
mod beside;
mod calls;
mod carry;
mod conclude;
mod events;
mod holds;
mod layered;
mod ledger;
mod line;
mod listen;
mod permits;
mod progress;
mod recall;
mod recover;
mod room;
mod shelf;
mod tally;
mod together;
mod values;
mod windows;

pub(crate) use backends::Backends;
pub use backends::offers;
pub(crate) use bell::RoomBell;
pub(crate) use calls::{Noted, Notes};
pub(crate) use carry::{carry, carry_last, carry_others};
pub(crate) use ledger::Interrupt;
pub(crate) use line::{Line, Shared};
pub(crate) use listen::listen;
pub(crate) use permits::Permits;
pub(crate) use shelf::Shelf;
pub(crate) use tally::Tally;
