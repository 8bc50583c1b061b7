//! The queue on every deployment that it supports: one server, TLS, Sentinels, a Cluster,
//! Valkey, and a user with the documented rights and no others.

// A panic is how a test reports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail where it stands"
)]

mod acl;
mod chaos;
mod check;
mod cluster;
mod examples;
mod failover;
mod flow;
mod one;
mod terms;
mod tls;
mod worker;
