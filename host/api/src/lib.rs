//! The API of a host.
//!
//! [`broker`] lets other processes use the broker that a host has in its own process: the
//! host serves it on a Unix socket ([`Socket`]), and [`RemoteBroker`] is a
//! [`Broker`](bulkhead_queue::Broker) that speaks to it, so that whatever works with a
//! broker works with a running host. This crate knows the queue and nothing of Wasm.

pub mod asked;
pub mod auth;
pub mod broker;
mod dashboard;
pub mod document;
mod listen;
mod problem;
mod service;
mod socket;
pub mod v1;

pub use axum::Router;
pub use broker::RemoteBroker;
pub use listen::{ListenError, Listener, Tls, TlsError, TlsFiles};
pub use problem::Problem;
pub use service::{Alert, Local, Phase, service};
pub use socket::{Socket, SocketError};

/// The wall clock, which stamps what is submitted. The broker's own decides when anything is due.
fn unix_ms() -> bulkhead_core::UnixMs {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
