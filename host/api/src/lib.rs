//! What a host answers by HTTP.
//!
//! [`v1`] is the API and its OpenAPI document, [`auth`] tells callers apart, [`service`] puts
//! both together with the probes and the dashboard, and [`Listener`] and [`Socket`] serve that.
//! Other programs nest [`router`] in routers of their own, or put `actix::scope` (feature `actix`)
//! into their actix-web application.
//!
//! [`broker`] is for other processes of one machine: a host serves the broker that it has in its
//! own process on a Unix socket, and [`RemoteBroker`] is a [`Broker`](bulkhead_queue::Broker)
//! that speaks to it. This crate knows the queue and nothing of Wasm: what only a host knows it
//! asks by [`Local`] and [`Plugins`].

#[cfg(feature = "actix")]
pub mod actix;
pub mod asked;
pub mod auth;
pub mod broker;
mod dashboard;
pub mod document;
mod listen;
mod local;
mod plugins;
mod problem;
mod service;
mod socket;
pub mod v1;

pub use axum::Router;
pub use broker::RemoteBroker;
pub use listen::{ListenError, Listener, Tls, TlsError, TlsFiles};
pub use local::{
    About, Alert, Complaint, Local, LocalType, Percentiles, Phase, Recent, RecentQueue, RecentType,
    SettingDocument, TypeLimits,
};
pub use plugins::{CanaryAsk, PluginActivated, PluginPushed, PluginRef, PluginUpload, Plugins};
pub use problem::Problem;
pub use service::{router, service};
pub use socket::{Socket, SocketError};

/// The wall clock, which stamps what is submitted. The broker's own decides when anything is due.
fn unix_ms() -> bulkhead_core::UnixMs {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
