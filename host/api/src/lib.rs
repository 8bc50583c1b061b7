//! The API of a host.
//!
//! [`broker`] lets other processes use the broker that a host has in its own process: the
//! host serves it on a Unix socket ([`Socket`]), and [`RemoteBroker`] is a
//! [`Broker`](bulkhead_queue::Broker) that speaks to it, so that whatever works with a
//! broker works with a running host. This crate knows the queue and nothing of Wasm.

pub mod asked;
pub mod broker;
pub mod document;
mod problem;
mod socket;
pub mod v1;

pub use broker::RemoteBroker;
pub use problem::Problem;
pub use socket::{Socket, SocketError};
