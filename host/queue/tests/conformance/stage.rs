//! The brokers that a test can run on, and the clock that each lives by.

use std::sync::Arc;

use bulkhead_queue::Broker;
use bulkhead_stage::{RedisServer, StageClock};

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A Redis server of the test's own.
    Redis,
}

/// A broker with nothing in it.
pub(crate) struct Stage {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) clock: Arc<StageClock>,
    /// What must outlive the broker.
    pub(crate) server: Option<RedisServer>,
}

impl Stage {
    pub(crate) async fn new(kind: Kind) -> Self {
        let clock = Arc::new(StageClock::running());
        match kind {
            Kind::Redis => {
                let server = RedisServer::start_at(Arc::clone(&clock));
                Self { broker: Arc::new(server.broker().await), clock, server: Some(server) }
            }
        }
    }
}
