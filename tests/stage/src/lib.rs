//! What tests of the queue stand on: Redis servers of their own, alone, behind Sentinels, as
//! a Cluster or behind TLS; a network that can be cut; the words that they share.
//!
//! Everything a test starts ends with it. Tests wait for events that they can observe, with
//! a bound; none sleeps for luck.

mod clock;
mod cluster;
mod disk;
mod languages;
mod preload;
mod process;
mod proxy;
mod redis_server;
mod sentinel;
mod setting;
mod tls;
mod wait;
pub mod words;

pub use clock::StageClock;
pub use cluster::{Move, RedisCluster};
pub use disk::{Loss, StageDisk};
pub use languages::{Node, Python};
pub use process::Program;
pub use proxy::Proxy;
pub use redis_server::{Persistence, RedisServer};
pub use sentinel::SentinelGroup;
pub use setting::setting;
pub use tls::TlsServer;
pub use wait::{eventually, eventually_within};
