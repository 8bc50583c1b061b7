//! The brokers that a test can run on, and the clock that each lives by.

use std::sync::Arc;

use bulkhead_queue::{Broker, Clock, EmbeddedBroker};
use bulkhead_stage::{RedisServer, StageClock};
use tempfile::TempDir;

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A Redis server of the test's own.
    Redis,
    /// In this process.
    Memory,
    /// In this process and a file.
    Durable,
}

/// A broker with nothing in it.
pub(crate) struct Stage {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) clock: Arc<StageClock>,
    pub(crate) server: Option<RedisServer>,
    pub(crate) folder: Option<TempDir>,
}

impl Stage {
    pub(crate) async fn new(kind: Kind) -> Self {
        let clock = Arc::new(StageClock::running());
        let read = Arc::clone(&clock);
        let read = Clock::read_by(move || read.now_us());
        let (mut server, mut folder) = (None, None);
        let broker: Arc<dyn Broker> = match kind {
            Kind::Redis => {
                let started = server.insert(RedisServer::start_at(Arc::clone(&clock)));
                Arc::new(started.broker().await)
            }
            Kind::Memory => Arc::new(EmbeddedBroker::in_memory_at(read)),
            Kind::Durable => {
                let made = folder.insert(tempfile::tempdir().unwrap());
                Arc::new(EmbeddedBroker::open_at(made.path(), read).unwrap())
            }
        };
        Self { broker, clock, server, folder }
    }
}
