//! One world from its first step to its end, on fresh brokers.

use std::sync::Arc;

use bulkhead_queue::{Broker, Clock, EmbeddedBroker};
use bulkhead_stage::{RedisServer, StageClock};

use crate::chance::Chance;
use crate::world::{Disagreement, Kind, Tally, World};

/// When every world begins: a time in 2030.
pub(crate) const BEGIN_US: u64 = 1_900_000_000_000_123;

/// A server that worlds are played on, one after the other.
pub(crate) struct Stage {
    server: RedisServer,
    clock: Arc<StageClock>,
}

/// Where a world went wrong.
pub(crate) struct Failure {
    /// The place in the plan.
    pub(crate) at: usize,
    pub(crate) disagreement: Disagreement,
    /// What was done, newest last.
    pub(crate) done: Vec<String>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(StageClock::frozen(BEGIN_US));
        let server = RedisServer::start_at(Arc::clone(&clock));
        Self { server, clock }
    }

    /// The keys that the server holds, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.server.keys()
    }

    /// Play these steps of a seed's world, compare after each, and see everything end.
    /// Returns how often each kind of operation was done.
    pub(crate) async fn run(&self, seed: u64, plan: &[u64]) -> Result<Tally, Failure> {
        self.server.run(&[b"FLUSHALL"]);
        self.clock.set_us(BEGIN_US);
        let clock = Arc::clone(&self.clock);
        let read = Clock::read_by(move || clock.now_us());
        let model: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory_at(read));
        // A fresh broker: what one remembers of an emptied server must not count.
        let real = Arc::new(self.server.broker().await);
        let mut world = World::new(real, model, Arc::clone(&self.clock), Kind::of(seed));
        if let Err(disagreement) = world.found(&mut Chance::of_step(seed, u64::MAX - 1)).await {
            return Err(Failure { at: 0, disagreement, done: world.done });
        }
        for (at, step) in plan.iter().enumerate() {
            let mut chance = Chance::of_step(seed, *step);
            let result = world.step(&mut chance).await;
            let result = match result {
                Ok(()) => world.compare(at).await,
                failed => failed,
            };
            if let Err(disagreement) = result {
                return Err(Failure { at, disagreement, done: world.done });
            }
        }
        let ended = world.quiesce(&mut Chance::of_step(seed, u64::MAX)).await;
        let ended = match ended {
            Ok(()) => self.is_empty(),
            failed => failed,
        };
        match ended {
            Ok(()) => Ok(world.tally),
            Err(disagreement) => Err(Failure { at: plan.len(), disagreement, done: world.done }),
        }
    }
}
