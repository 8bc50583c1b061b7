//! Making a failure small: the same seed with fewer steps.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::run::{Failure, Stage};

/// How long a failure is made smaller.
const BOUND: Duration = Duration::from_secs(10);

/// Leave out steps as long as some failure remains, in ever smaller pieces.
pub(crate) async fn shrink(
    stage: &Stage,
    seed: u64,
    mut plan: Vec<u64>,
    mut failure: Failure,
) -> (Vec<u64>, Failure) {
    let started = Instant::now();
    plan.truncate(failure.at + 1);
    let mut piece = plan.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < plan.len() {
            if started.elapsed() > BOUND {
                return (plan, failure);
            }
            let mut fewer = plan.clone();
            fewer.drain(at..(at + piece).min(plan.len()));
            match stage.run(seed, &fewer).await {
                Err(smaller) => {
                    fewer.truncate(smaller.at + 1);
                    (plan, failure) = (fewer, smaller);
                }
                Ok(_) => at += piece,
            }
        }
        piece /= 2;
    }
    (plan, failure)
}

/// A failure in words.
pub(crate) fn tell(seed: u64, plan: &[u64], failure: &Failure) -> String {
    let mut told = format!(
        "the brokers disagree with seed {seed} after {} steps (shrunk; BULKHEAD_MODEL_SEED={seed} \
         BULKHEAD_MODEL_STEPS=2000 repeats the whole world)\n{}\nsteps {plan:?}, the last:\n",
        plan.len(),
        failure.disagreement.0
    );
    for line in &failure.done {
        let _ = writeln!(told, "  {line}");
    }
    told
}
