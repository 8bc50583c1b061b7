//! What a worker says of an attempt's end, held against what the attempt was.
//!
//! A child process that a guest has taken over can say anything. Here is decided what it may
//! mean: outcomes within the attempt's own limits, figures within what this process measured,
//! children that the grant allows. What is beyond is a lie, and the worker is killed for it.

use std::time::Instant;

use bulkhead_core::{Child, Failure, FailureKind, Limits, LogLine, Metering, Outcome};

use crate::Unavailable;
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

/// Why a worker could not run an attempt, as it may be shown.
pub(super) fn told(unavailable: &Unavailable) -> String {
    bounded(unavailable.to_string().escape_debug().to_string(), MAX_MESSAGE_BYTES)
}

fn check_outcome(outcome: &Outcome, attempt: &Attempt<'_>, limits: &Limits) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use bulkhead_core::{LimitsRequest, LogLevel, Payload, Priority, Task, TaskId, UnixMs};
    use uuid::Uuid;

    use super::*;
    use crate::{Cancel, Services};

    fn task() -> Task {
        Task {
            id: TaskId(Uuid::nil()),
            task_type: "t".parse().unwrap(),
            queue: Default::default(),
            tenant: Default::default(),
            priority: Priority::NORMAL,
            payload: Payload::default(),
            metadata: Vec::new(),
            trace: None,
            limits: LimitsRequest::default(),
            submitted_at: 0,
            terms: Default::default(),
        }
    }

    fn attempt(task: &Task) -> Attempt<'_> {
        Attempt {
            task,
            attempt: 1,
            max_attempts: 1,
            deadline_at: UnixMs::MAX,
            limits: Limits::default(),
            cancel: Cancel::new(),
            progress: None,
            parents: None,
            services: Services::default(),
        }
    }

    #[test]
    fn only_outcomes_that_an_attempt_can_have_are_believed() {
        let (task, limits) = (task(), Limits { result_bytes: 10, ..Limits::default() });
        let attempt = attempt(&task);
        let judged = |outcome| check_outcome(&outcome, &attempt, &limits).is_ok();
        assert!(judged(Outcome::Done(Payload::new("t", vec![0; 9]))));
        assert!(!judged(Outcome::Done(Payload::new("t", vec![0; 10]))));
        let failed = |kind| Outcome::Failed(Failure::new(kind, "x"));
        assert!(judged(failed(FailureKind::Trapped)) && judged(failed(FailureKind::Retry)));
        for kind in [FailureKind::LeaseLost, FailureKind::NoHandler, FailureKind::Unreadable] {
            assert!(!judged(failed(kind)), "{kind}");
        }
        assert!(!judged(failed(FailureKind::Cancelled)), "nobody cancelled it");
        attempt.cancel.cancel();
        assert!(judged(failed(FailureKind::Cancelled)));
        let long = "x".repeat(1 << 20);
        assert!(!judged(Outcome::Failed(Failure::new(FailureKind::Retry, long.clone()))));
        let frames = Failure {
            backtrace: vec![String::new(); MAX_FRAMES + 1],
            ..Failure::new(FailureKind::Retry, "x")
        };
        assert!(!judged(Outcome::Failed(frames)));
    }

    #[test]
    fn logs_are_believed_up_to_their_limit() {
        let limits = Limits { log_bytes: 1 << 10, ..Limits::default() };
        let line = |message: String| LogLine {
            at_ms: 0,
            level: LogLevel::Info,
            message,
            fields: Vec::new(),
        };
        assert!(check_logs(&[line("x".repeat(900))], &limits).is_ok());
        assert!(check_logs(&[line("x".repeat(2_000))], &limits).is_err());
        assert!(check_logs(&vec![line(String::new()); 1_000_000], &limits).is_err());
    }

    #[test]
    fn figures_are_believed_up_to_what_was_measured() {
        let limits = Limits::default();
        let all = Metering {
            fuel: u64::MAX,
            peak_memory_bytes: u64::MAX,
            cpu_us: u64::MAX,
            wall_us: u64::MAX,
            bytes_in: u64::MAX,
            ..Metering::default()
        };
        let believed = believed(all, 7, &limits, 5);
        assert_eq!((believed.fuel, believed.cpu_us, believed.wall_us), (7, 5, 5));
        assert_eq!(believed.peak_memory_bytes, limits.memory_bytes);
        assert_eq!(believed.bytes_in, MOST_COUNTED);
    }
}
