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
    reason = "a panic is how a test fails, in its own functions too"
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

use std::time::Instant;

use bulkhead_stage::setting;
use run::Stage;

/// Steps of one world: then all its tasks must end, and it begins anew.
const WORLD_STEPS: u64 = 2_000;

#[test]
fn redis_agrees_with_the_model() {
    let steps: u64 = setting("BULKHEAD_MODEL_STEPS").unwrap_or(20_000);
    let seed: u64 = setting("BULKHEAD_MODEL_SEED").unwrap_or(1);
    let workers: u64 = setting("BULKHEAD_MODEL_WORKERS").unwrap_or(2);
    let started = Instant::now();
    let worlds = steps.div_ceil(WORLD_STEPS);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(work(
                    seed,
                    steps,
                    (worker..worlds).step_by(workers as usize),
                ));
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{steps} steps from seed {seed} in {worlds} worlds: Redis and the model agree \
         ({:.0} steps/s)",
        steps as f64 / seconds
    );
}

/// Run these worlds, one after the other, on one server.
async fn work(seed: u64, steps: u64, worlds: impl Iterator<Item = u64>) {
    let stage = Stage::new();
    for world in worlds {
        let seed = seed + world;
        let length = WORLD_STEPS.min(steps - world * WORLD_STEPS);
        let plan: Vec<u64> = (0..length).collect();
        if let Err(failure) = stage.run(seed, &plan).await {
            let (plan, failure) = shrink::shrink(&stage, seed, plan, failure).await;
            panic!("{}", shrink::tell(seed, &plan, &failure));
        }
    }
}
