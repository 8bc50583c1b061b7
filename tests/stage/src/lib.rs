//! What tests of the queue stand on: Redis servers of their own, a network that can be cut.
//!
//! Everything a test starts ends with it. Tests wait for events that they can observe, with
//! a bound; none sleeps for luck.

mod clock;
mod proxy;
mod redis_server;
mod setting;
mod wait;

pub use clock::StageClock;
pub use proxy::Proxy;
pub use redis_server::{Persistence, RedisServer};
pub use setting::setting;
pub use wait::{eventually, eventually_within};
