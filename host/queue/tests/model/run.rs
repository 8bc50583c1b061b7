//! One world from its first step to its end, on fresh brokers.

use std::sync::Arc;

use bulkhead_queue::{Broker, Clock, EmbeddedBroker};
use bulkhead_stage::{RedisServer, StageClock};

use crate::chance::Chance;
use crate::world::{Disagreement, World};

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
    pub(crate) async fn run(&self, seed: u64, plan: &[u64]) -> Result<(), Failure> {
        self.server.run(&[b"FLUSHALL"]);
        self.clock.set_us(BEGIN_US);
        let clock = Arc::clone(&self.clock);
        let read = Clock::read_by(move || clock.now_us());
        let model: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory_at(read));
        // A fresh broker: what one remembers of an emptied server must not count.
        let real = Arc::new(self.server.broker().await);
        let mut world = World::new(real, model, Arc::clone(&self.clock), seed.is_multiple_of(4));
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
                if plan.len() < 13 {
                    self.dump();
                } // DUMP
                return Err(Failure { at, disagreement, done: world.done });
            }
        }
        let ended = world.quiesce(&mut Chance::of_step(seed, u64::MAX)).await;
        let ended = match ended {
            Ok(()) => self.is_empty(),
            failed => failed,
        };
        if ended.is_err() && plan.len() < 13 {
            self.dump();
        } // DUMP
        ended.map_err(|disagreement| Failure { at: plan.len(), disagreement, done: world.done })
    }
}

impl Stage {
    // DUMP
    fn dump(&self) {
        eprintln!("=== DUMP");
        for key in self.keys() {
            if key.contains(":task:") {
                continue;
            }
            let t = format!("{:?}", self.server.run(&[b"TYPE", key.as_bytes()]));
            let k = key.as_bytes();
            let v = if t.contains("zset") {
                self.server.run(&[b"ZRANGE", k, b"0", b"-1", b"WITHSCORES"])
            } else if t.contains("hash") {
                self.server.run(&[b"HGETALL", k])
            } else if t.contains("list") {
                self.server.run(&[b"LRANGE", k, b"0", b"-1"])
            } else if t.contains("set") {
                self.server.run(&[b"SMEMBERS", k])
            } else if t.contains("stream") {
                continue;
            } else {
                self.server.run(&[b"GET", k])
            };
            eprintln!("{key} {}", format!("{v:?}").replace("bulk-string", ""));
        }
    }
}
