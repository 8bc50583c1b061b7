//! What tests of the queue stand on: Redis servers of their own, a network that can be cut.
//!
//! Everything a test starts ends with it. Tests wait for events that they can observe, with
//! a bound; none sleeps for luck.

mod proxy;
mod redis_server;
mod wait;

pub use proxy::Proxy;
pub use redis_server::{Persistence, RedisServer};
pub use wait::{eventually, eventually_within};
