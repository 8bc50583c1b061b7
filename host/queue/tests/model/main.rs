//! Redis held to the model: random operations on both, compared after each step.
//!
//! The same calls go to a Redis broker on a real server and to the embedded broker, whose
//! state machine is the model; both live by one clock that only this test moves. Hosts crash
//! (their claims are forgotten), answers get lost (calls are repeated, claims asked for
//! again), time jumps over leases, windows and retentions. A disagreement is shrunk to few steps
//! and printed with its seed.
//!
//! Worlds are of several kinds (`world::Kind`). In a loose one ends also wait in Redis's
//! outboxes, which the model does not have, so only Redis itself is looked at: it must be sound
//! all the time, and everything must end.
//!
//! `BULKHEAD_MODEL_SEED` and `BULKHEAD_MODEL_STEPS` choose another run, and
//! `BULKHEAD_MODEL_WORKERS` how many run at once, each with seeds of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a panic is how a test fails, in its own functions too; a long run says how far it is"
)]

mod act;
mod chance;
mod compare;
mod group;
mod host;
mod plan;
mod produce;
mod quiesce;
mod run;
mod shrink;
mod world;

use std::sync::Mutex;
use std::time::Instant;

use bulkhead_stage::setting;
use run::Stage;
use world::{Kind, Tally};

/// Steps of one world: then all its tasks must end, and it begins anew.
const WORLD_STEPS: u64 = 2_000;
/// Worlds after which a long run says how far it is.
const TOLD_EVERY: u64 = 50;

#[test]
fn redis_agrees_with_the_model() {
    let steps: u64 = setting("BULKHEAD_MODEL_STEPS").unwrap_or(20_000);
    let seed: u64 = setting("BULKHEAD_MODEL_SEED").unwrap_or(1);
    let workers: u64 = setting("BULKHEAD_MODEL_WORKERS").unwrap_or(2);
    let run = Run { seed, steps, started: Instant::now(), played: Mutex::default() };
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let run = &run;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let worlds = (worker..run.worlds()).step_by(workers as usize);
                runtime.unwrap().block_on(run.play(worlds));
            });
        }
    });
    println!("{}: Redis and the model agree", run.told());
}

/// Worlds of seeds in a row, played by several workers.
struct Run {
    seed: u64,
    steps: u64,
    started: Instant,
    played: Mutex<Played>,
}

/// What was done so far.
#[derive(Default)]
struct Played {
    worlds: u64,
    steps: u64,
    /// Those in worlds that are not loose.
    compared: u64,
    tally: Tally,
}

impl Run {
    fn worlds(&self) -> u64 {
        self.steps.div_ceil(WORLD_STEPS)
    }

    /// Play these worlds, one after the other, on one server.
    async fn play(&self, worlds: impl Iterator<Item = u64>) {
        let stage = Stage::new();
        for world in worlds {
            let seed = self.seed + world;
            let length = WORLD_STEPS.min(self.steps - world * WORLD_STEPS);
            let plan: Vec<u64> = (0..length).collect();
            match stage.run(seed, &plan).await {
                Ok(tally) => self.count(seed, length, tally),
                Err(failure) => {
                    let (plan, failure) = shrink::shrink(&stage, seed, plan, failure).await;
                    panic!("{}", shrink::tell(seed, &plan, &failure));
                }
            }
        }
    }

    fn count(&self, seed: u64, steps: u64, tally: Tally) {
        let mut played = self.played.lock().unwrap();
        played.worlds += 1;
        played.steps += steps;
        played.compared += if Kind::of(seed) == Kind::Loose { 0 } else { steps };
        for (kind, count) in tally {
            *played.tally.entry(kind).or_default() += count;
        }
        let is_told = played.worlds.is_multiple_of(TOLD_EVERY);
        drop(played);
        if is_told {
            println!("{}", self.told());
        }
    }

    fn told(&self) -> String {
        let Played { worlds, steps, compared, tally } = &*self.played.lock().unwrap();
        let done: Vec<_> = tally.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        format!(
            "{worlds} worlds from seed {}, {steps} steps ({compared} compared with the model), \
             {:.0} a second: {}",
            self.seed,
            *steps as f64 / self.started.elapsed().as_secs_f64(),
            done.join(", ")
        )
    }
}
