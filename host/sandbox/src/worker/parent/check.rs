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

/// The most calls, or lines, in a microsecond: no machine makes more.
const CALLS_PER_US: u64 = 100;

/// The most bytes in a microsecond: no machine copies more.
const BYTES_PER_US: u64 = 20_000;

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
    let mut left = Left::of(own, u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    let elapsed_ms = left.wall_us / 1_000;
    let checked = ends.into_iter().zip(attempts).zip(own).map(|((end, attempt), limits)| {
        let End { outcome, metering, mut logs, children } = end;
        check_outcome(&outcome, attempt, limits)?;
        check_logs(&logs, limits)?;
        let children = check_children(plugin, attempt, &outcome, children)?;
        logs.iter_mut().for_each(|line| line.at_ms = line.at_ms.min(elapsed_ms));
        let metering = left.believe(&metering, limits);
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

/// What attempts can have used that nobody has said yet: those of a batch share one call's fuel
/// and time.
struct Left {
    fuel: u64,
    cpu_us: u64,
    wall_us: u64,
    instantiate_us: u64,
    host_calls: u64,
    lines: u64,
    log_bytes: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Left {
    fn of(own: &[Limits], elapsed_us: u64) -> Self {
        let calls = elapsed_us.saturating_mul(CALLS_PER_US);
        let bytes = elapsed_us.saturating_mul(BYTES_PER_US);
        Self {
            fuel: own.iter().fold(0_u64, |sum, limits| sum.saturating_add(limits.fuel)),
            cpu_us: elapsed_us,
            wall_us: elapsed_us,
            instantiate_us: elapsed_us,
            host_calls: calls,
            lines: calls,
            log_bytes: bytes,
            bytes_in: bytes,
            bytes_out: bytes,
        }
    }

    /// What an attempt used, within what is possible.
    fn believe(&mut self, said: &Metering, limits: &Limits) -> Metering {
        let take = |left: &mut u64, said: u64| {
            let taken = said.min(*left);
            *left -= taken;
            taken
        };
        Metering {
            fuel: take(&mut self.fuel, said.fuel),
            peak_memory_bytes: said.peak_memory_bytes.min(limits.memory_bytes),
            cpu_us: take(&mut self.cpu_us, said.cpu_us),
            wall_us: take(&mut self.wall_us, said.wall_us),
            instantiate_us: take(&mut self.instantiate_us, said.instantiate_us),
            log_bytes: take(&mut self.log_bytes, said.log_bytes),
            log_lines_dropped: take(&mut self.lines, said.log_lines_dropped),
            host_calls: take(&mut self.host_calls, said.host_calls),
            bytes_in: take(&mut self.bytes_in, said.bytes_in),
            bytes_out: take(&mut self.bytes_out, said.bytes_out),
        }
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
        let own =
            [Limits { fuel: 3, ..Limits::default() }, Limits { fuel: 4, ..Limits::default() }];
        let all = Metering {
            fuel: 5,
            peak_memory_bytes: u64::MAX,
            cpu_us: u64::MAX,
            wall_us: 2,
            bytes_in: u64::MAX,
            host_calls: 7,
            ..Metering::default()
        };
        let mut left = Left::of(&own, 5);
        let (first, second) = (left.believe(&all, &own[0]), left.believe(&all, &own[1]));
        assert_eq!((first.fuel, first.cpu_us, first.wall_us), (5, 5, 2));
        assert_eq!((second.fuel, second.cpu_us, second.wall_us), (2, 0, 2), "what is left");
        assert_eq!(first.peak_memory_bytes, own[0].memory_bytes);
        assert_eq!((first.bytes_in, second.bytes_in), (5 * BYTES_PER_US, 0));
        assert_eq!((first.host_calls, second.host_calls), (7, 7));
    }
}
