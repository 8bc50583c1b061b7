//! Several attempts in one call: a fresh instance, one call, an end for each.
//!
//! They share what one attempt has to itself: fuel is the sum of their limits, memory and
//! time the least of them. Results and logs are bounded for each. What ends the call ends
//! all of them, because nobody can tell which of them did it; what they used together is
//! divided evenly. Which attempts may share a call is the caller's decision.

use std::sync::Arc;

use bulkhead_core::{Failure, FailureKind, Limits, Metering, Outcome};

use crate::attempt::{Attempt, AttemptEnd, Run, children, handler_outcome};
use crate::cancel::Cancels;
use crate::compartment::{Opening, Stdio, Stop};
use crate::handler::{HandlerProgram, Returned};
use crate::journal::Closed;
use crate::plugin::{Plugin, Program};
use crate::seat::{Seat, Seats};
use crate::{Cancel, Unavailable};

/// A plugin answered for more or fewer tasks than it was given.
#[derive(Debug, thiserror::Error)]
#[error("the handler returned {returned} results for a batch of {given} tasks")]
struct WrongNumber {
    returned: usize,
    given: usize,
}

/// How a batch ended.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchEnd {
    /// How each attempt ended, in their order.
    pub ends: Vec<AttemptEnd>,
    /// Whether the call failed as a whole: it trapped, met a limit or returned a wrong
    /// number of results. Every attempt that nobody cancelled has that failure then.
    pub fell: bool,
}

impl Plugin {
    /// Run attempts at tasks of one type in one call, in a fresh compartment. The caller
    /// gives no more than the type's `max_batch`; of a plugin that takes no batches, the
    /// attempts run one after another. Without attempts nothing runs.
    ///
    /// An error means that the host could not run them; the tasks are not to blame and
    /// the attempts do not count.
    pub async fn attempt_batch(&self, attempts: Vec<Attempt<'_>>) -> Result<BatchEnd, Unavailable> {
        match &self.program {
            Program::Elsewhere(elsewhere) => {
                Box::pin(self.sandbox.run_elsewhere(self, elsewhere, attempts)).await
            }
            Program::Handler(program)
                if program.takes_batches()
                    && let Some(first) = attempts.first() =>
            {
                self.together(program, first, &attempts).await
            }
            _ => {
                let mut ends = Vec::with_capacity(attempts.len());
                for attempt in attempts {
                    ends.push(self.attempt(attempt).await?);
                }
                Ok(BatchEnd { ends, fell: false })
            }
        }
    }

    async fn together(
        &self,
        program: &HandlerProgram,
        first: &Attempt<'_>,
        attempts: &[Attempt<'_>],
    ) -> Result<BatchEnd, Unavailable> {
        let own = attempts.iter().map(|attempt| self.sandbox.within_ceilings(attempt.limits));
        let own: Vec<Limits> = own.collect();
        let limits = shared(&own);
        let deadline_at = attempts.iter().map(|attempt| attempt.deadline_at).min();
        let cancels: Arc<[Cancel]> =
            attempts.iter().map(|attempt| attempt.cancel.clone()).collect();
        let stop = Stop::after(
            limits.wall_ms,
            deadline_at.unwrap_or_default(),
            Cancels::All(Arc::clone(&cancels)),
        );
        let seats = attempts
            .iter()
            .zip(&own)
            .map(|(attempt, own)| self.seat(attempt, stop.began, own.log_bytes));
        let seats = Seats::together(Seat::bare(stop.began, limits.log_bytes), seats.collect());
        let setting = self.setting(first, &limits);
        let powers = self.powers(&first.services);
        let opening = Opening { stop, stdio: Stdio::Logged, seats, setting, powers };
        let mut run = Run::open(&self.sandbox, limits, opening)?;
        let call = run.bounded(async |store, instantiated| {
            self.open_folders(store).await?;
            program.handle_batch(store, attempts, instantiated).await
        });
        let returned = call.await.and_then(|returned| complete(returned, attempts.len()));
        part(&mut run, returned, &own, &cancels)
    }
}

/// The limits of a call that attempts with these limits share.
pub(crate) fn shared(own: &[Limits]) -> Limits {
    let together = own.iter().copied().reduce(|a, b| Limits {
        fuel: a.fuel.saturating_add(b.fuel),
        memory_bytes: a.memory_bytes.min(b.memory_bytes),
        wall_ms: a.wall_ms.min(b.wall_ms),
        result_bytes: a.result_bytes.min(b.result_bytes),
        log_bytes: a.log_bytes.max(b.log_bytes),
        hostcall_bytes: a.hostcall_bytes.min(b.hostcall_bytes),
        handles: a.handles.min(b.handles),
        instances: a.instances.min(b.instances),
    });
    together.unwrap_or_default()
}

/// `returned`, if it has a result for each of `given` tasks.
fn complete(returned: Vec<Returned>, given: usize) -> wasmtime::Result<Vec<Returned>> {
    if returned.len() == given {
        return Ok(returned);
    }
    Err(wasmtime::Error::new(WrongNumber { returned: returned.len(), given }))
}

/// Each attempt's own end.
fn part(
    run: &mut Run,
    returned: wasmtime::Result<Vec<Returned>>,
    own: &[Limits],
    cancels: &[Cancel],
) -> Result<BatchEnd, Unavailable> {
    let common = run.seats().common.journal.close();
    let logs: Vec<Closed> = run.seats().tasks.iter().map(|seat| seat.journal.close()).collect();
    let (outcomes, fell): (Vec<Outcome>, bool) = match returned {
        Ok(returned) => {
            let outcomes = returned.into_iter().zip(own);
            (outcomes.map(|(returned, own)| handler_outcome(returned, own)).collect(), false)
        }
        Err(error) => {
            let panics = std::iter::once(&common).chain(&logs);
            let panic = panics.filter_map(|log| log.panic.as_deref()).next();
            let failure = run.judge(&error, panic)?;
            let fell = failure.kind != FailureKind::Cancelled;
            (own.iter().map(|_| Outcome::Failed(failure.clone())).collect(), fell)
        }
    };
    let used = run.metering(&common);
    let mut seats = std::mem::take(&mut run.seats_mut().tasks).into_iter();
    let ends = outcomes.into_iter().zip(logs).zip(own.iter().zip(cancels)).zip(0..);
    let ends = ends.map(|(((outcome, log), (own_limits, cancel)), at)| {
        let outcome = if cancel.is_cancelled() { cancelled() } else { outcome };
        let children = seats.next().map(|mut seat| children(&outcome, &mut seat));
        let share = share(&used, own.len() as u64, at);
        let log_bytes = share.log_bytes + log.written_bytes;
        let log = log.among(&common, own_limits.log_bytes);
        let metering = Metering { log_bytes, log_lines_dropped: log.dropped_lines, ..share };
        let children = children.unwrap_or_default();
        AttemptEnd { outcome, metering, logs: log.lines, children }
    });
    let mut ends: Vec<AttemptEnd> = ends.collect();
    ends.iter_mut().for_each(|end| run.redact(end));
    Ok(BatchEnd { ends, fell })
}

/// The output of a cancelled task is dropped, whatever it is.
fn cancelled() -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::Cancelled, "the task was cancelled while it ran"))
}

/// The share of attempt number `at` (from 0) of `count`. The shares add up to what was
/// used; memory is each one's, since memory counts by the time that it was held.
fn share(used: &Metering, count: u64, at: u64) -> Metering {
    let part = |whole: u64| whole / count + u64::from(at < whole % count);
    Metering {
        fuel: part(used.fuel),
        peak_memory_bytes: used.peak_memory_bytes,
        cpu_us: part(used.cpu_us),
        wall_us: part(used.wall_us),
        instantiate_us: part(used.instantiate_us),
        log_bytes: part(used.log_bytes),
        log_lines_dropped: used.log_lines_dropped,
        host_calls: part(used.host_calls),
        bytes_in: part(used.bytes_in),
        bytes_out: part(used.bytes_out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let used = Metering { fuel: 11, wall_us: 2, peak_memory_bytes: 7, ..Metering::default() };
        let shares: Vec<Metering> = (0..3).map(|at| share(&used, 3, at)).collect();
        assert_eq!(shares.iter().map(|share| share.fuel).collect::<Vec<_>>(), [4, 4, 3]);
        assert_eq!(shares.iter().map(|share| share.wall_us).sum::<u64>(), 2);
        assert!(shares.iter().all(|share| share.peak_memory_bytes == 7));
    }

    #[test]
    fn a_shared_call_has_all_fuel_and_the_least_of_the_rest() {
        let frugal = Limits { fuel: 5, wall_ms: 90, memory_bytes: 8, ..Limits::default() };
        let quick = Limits { fuel: 7, wall_ms: 10, memory_bytes: 9, ..Limits::default() };
        let limits = shared(&[frugal, quick]);
        assert_eq!((limits.fuel, limits.wall_ms, limits.memory_bytes), (12, 10, 8));
        let endless = Limits { fuel: u64::MAX, ..Limits::default() };
        assert_eq!(shared(&[endless, quick]).fuel, u64::MAX);
    }
}
