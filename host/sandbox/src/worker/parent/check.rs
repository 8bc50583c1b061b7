//! What a worker says of an attempt's end, held against what the attempt was.
//!
//! A child process that a guest has taken over can say anything. Here is decided what it may
//! mean: outcomes within the attempt's own limits, figures within what this process measured,
//! children that the grant allows. What is beyond is a lie, and the worker is killed for it.

use std::time::Instant;

use bulkhead_core::{Child, Failure, FailureKind, Limits, LogLine, Metering, Outcome};

use crate::attempt::{Attempt, AttemptEnd, MAX_CONTENT_TYPE_BYTES};
use crate::batch::BatchEnd;
use crate::capability::enqueue;
use crate::engine::MAX_FRAMES;
use crate::failure::{MAX_DETAILS_BYTES, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES};
use crate::journal::{self, MAX_LINE_BYTES};
use crate::plugin::Plugin;
use crate::powers::Powers;
use crate::text::bounded;
use crate::worker::wire::{End, Ends};
use crate::Unavailable;

/// What one text may grow by where secrets were taken out of it.
const REDACTED_BYTES: u64 = 256;

/// The most that a count is believed to be: no attempt reaches it.
const MOST_COUNTED: u64 = 1 << 48;

/// The ends of attempts, or in what the worker lied.
pub(super) fn ends(
    plugin: &Plugin,
    attempts: &[Attempt<'_>],
    own: &[Limits],
    ends: Ends,
    began: Instant,
    powers: Option<&Powers>,
) -> Result<BatchEnd, String> {
    let Ends { ends, fell } = ends;
    if ends.len() != attempts.len() || (fell && attempts.len() < 2) {
        return Err(format!("{} ends for {} tasks", ends.len(), attempts.len()));
    }
    let fuel = own.iter().fold(0_u64, |sum, limits| sum.saturating_add(limits.fuel));
    let elapsed_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let checked = ends.into_iter().zip(attempts).zip(own).map(|((end, attempt), limits)| {
        let End { outcome, metering, logs, children } = end;
        check_outcome(&outcome, attempt, limits)?;
        check_logs(&logs, limits)?;
        let children = check_children(plugin, attempt, &outcome, children)?;
        let metering = believed(metering, fuel, limits, elapsed_us);
        let mut end = AttemptEnd { outcome, metering, logs, children };
        if let Some(powers) = powers {
            powers.redact(&mut end);
        }
        Ok(end)
    });
    let ends: Result<Vec<AttemptEnd>, String> = checked.collect();
    Ok(BatchEnd { ends: ends?, fell })
}

/// Why a worker could not run an attempt. Its words go to the log.
pub(super) fn unavailable(unavailable: Unavailable) -> Unavailable {
    let told = |text: String| bounded(text.escape_debug().to_string(), MAX_MESSAGE_BYTES);
    match unavailable {
        Unavailable::PoolFull(why) => Unavailable::PoolFull(told(why)),
        Unavailable::Broken(why) => Unavailable::Broken(told(why)),
    }
}

fn check_outcome(
    outcome: &Outcome,
    attempt: &Attempt<'_>,
    limits: &Limits,
) -> Result<(), String> {
    match outcome {
        Outcome::Done(output) => {
            let bytes = (output.content_type.len() + output.data.len()) as u64;
            if output.content_type.len() > MAX_CONTENT_TYPE_BYTES || bytes > limits.result_bytes {
                return Err(format!("an output of {bytes} bytes"));
            }
            Ok(())
        }
        Outcome::Failed(failure) => check_failure(failure, attempt),
    }
}

fn check_failure(failure: &Failure, attempt: &Attempt<'_>) -> Result<(), String> {
    let possible = match failure.kind {
        FailureKind::LeaseLost | FailureKind::NoHandler | FailureKind::Unreadable => false,
        FailureKind::Cancelled => attempt.cancel.is_cancelled(),
        _ => true,
    };
    if !possible {
        return Err(format!("a failure of the kind {}", failure.kind));
    }
    let most = |text: &str, bytes: usize| text.len() <= bytes + REDACTED_BYTES as usize;
    let kept = most(&failure.message, MAX_MESSAGE_BYTES)
        && failure.details.as_deref().is_none_or(|text| most(text, MAX_DETAILS_BYTES))
        && failure.backtrace.len() <= MAX_FRAMES
        && failure.backtrace.iter().all(|frame| most(frame, MAX_FRAME_BYTES));
    if kept { Ok(()) } else { Err("a failure longer than any is".to_owned()) }
}

/// Lines within their limit, but for what they grow by where secrets were taken out.
fn check_logs(logs: &[LogLine], limits: &Limits) -> Result<(), String> {
    let mut bytes = 0_u64;
    let mut texts = 0_u64;
    for line in logs {
        let longest = line.fields.iter().flat_map(|(key, value)| [key.len(), value.len()]);
        let longest = longest.chain([line.message.len()]).max().unwrap_or(0);
        if longest > MAX_LINE_BYTES + REDACTED_BYTES as usize {
            return Err("a log line longer than any is".to_owned());
        }
        bytes = bytes.saturating_add(journal::cost(&line.message, &line.fields));
        texts = texts.saturating_add(1 + 2 * line.fields.len() as u64);
    }
    // Every line and every field costs something besides its text, so that there is a bound.
    let least = texts.saturating_mul(journal::FIELD_COST_BYTES / 2);
    let most = limits.log_bytes.saturating_add(texts.saturating_mul(REDACTED_BYTES));
    if bytes > most || least > limits.log_bytes {
        return Err(format!("{bytes} bytes of log"));
    }
    Ok(())
}

/// Children that the grant allows, made anew: of what the worker says of them, only what the
/// guest could have chosen counts.
fn check_children(
    plugin: &Plugin,
    attempt: &Attempt<'_>,
    outcome: &Outcome,
    children: Vec<Child>,
) -> Result<Vec<Child>, String> {
    if children.is_empty() {
        return Ok(children);
    }
    let grant = plugin.grants.enqueue.as_ref().filter(|_| plugin.uses.enqueue);
    let (Some(grant), Outcome::Done(_)) = (grant, outcome) else {
        return Err("children of an attempt that has none".to_owned());
    };
    let bounds = plugin.sandbox.config().children;
    enqueue::again(children, attempt.task, grant, bounds)
        .map_err(|error| format!("a child that is not allowed: {error:?}"))
}

/// What an attempt used, within what is possible.
fn believed(said: Metering, fuel: u64, limits: &Limits, elapsed_us: u64) -> Metering {
    Metering {
        fuel: said.fuel.min(fuel),
        peak_memory_bytes: said.peak_memory_bytes.min(limits.memory_bytes),
        cpu_us: said.cpu_us.min(elapsed_us),
        wall_us: said.wall_us.min(elapsed_us),
        instantiate_us: said.instantiate_us.min(elapsed_us),
        log_bytes: said.log_bytes.min(MOST_COUNTED),
        log_lines_dropped: said.log_lines_dropped.min(MOST_COUNTED),
        host_calls: said.host_calls.min(MOST_COUNTED),
        bytes_in: said.bytes_in.min(MOST_COUNTED),
        bytes_out: said.bytes_out.min(MOST_COUNTED),
    }
}
