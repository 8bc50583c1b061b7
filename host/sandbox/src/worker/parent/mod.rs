//! The host's side: who has a worker, what is handed over, what comes back.

mod check;
mod hand;
mod lendings;
mod pool;
mod process;
mod serve;
mod ware;

pub(crate) use pool::Workers;
pub(crate) use ware::Elsewhere;
