//! What happens to a task after an attempt.

use crate::{FailureKind, Outcome, RetryPolicy, UnixMs};

/// What happens to a task next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The task is completed; its output is kept.
    Complete,
    /// Another attempt follows, not before `at`.
    Retry {
        /// The earliest time of the next attempt.
        at: UnixMs,
    },
    /// The task becomes a dead letter.
    DeadLetter,
    /// The task is cancelled.
    Cancel,
    /// The task goes back to its line, and the attempt does not count.
    Return,
}

/// An attempt that ended, as policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Attempted<'a> {
    /// What it came to.
    pub outcome: &'a Outcome,
    /// Its number, starting at 1.
    pub attempt: u32,
    /// When the task was submitted.
    pub submitted_at: UnixMs,
    /// When every attempt must have ended.
    pub deadline_at: Option<UnixMs>,
}

/// Decide what follows from an attempt. `unit` is a uniform random number from 0.0 to 1.0
/// for the jitter.
#[must_use]
pub fn dispose(policy: &RetryPolicy, ended: Attempted<'_>, now: UnixMs, unit: f64) -> Disposition {
    let failure = match ended.outcome {
        Outcome::Done(_) => return Disposition::Complete,
        Outcome::Failed(failure) => failure,
    };
    match failure.kind {
        FailureKind::Cancelled => Disposition::Cancel,
        FailureKind::NoHandler => Disposition::Return,
        kind if policy.retries(kind) && ended.attempt < policy.max_attempts => {
            let delay =
                policy.delay_ms(ended.attempt, unit).max(failure.retry_after_ms.unwrap_or(0));
            let at = now.saturating_add(delay);
            let oldest = policy.max_age_ms.map(|age| ended.submitted_at.saturating_add(age));
            let latest = oldest.into_iter().chain(ended.deadline_at).min();
            match latest {
                Some(latest) if at >= latest => Disposition::DeadLetter,
                _ => Disposition::Retry { at },
            }
        }
        _ => Disposition::DeadLetter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backoff, Failure, Payload};

    fn policy() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 3,
            backoff: Backoff::Fixed { delay_ms: 100 },
            jitter: 0.0,
            ..Default::default()
        }
    }

    fn after(kind: FailureKind, attempt: u32) -> Disposition {
        let outcome = Outcome::Failed(Failure::new(kind, ""));
        let ended = Attempted { outcome: &outcome, attempt, submitted_at: 0, deadline_at: None };
        dispose(&policy(), ended, 1_000, 0.5)
    }

    #[test]
    fn done_completes() {
        let done = Outcome::Done(Payload::default());
        let ended = Attempted { outcome: &done, attempt: 1, submitted_at: 0, deadline_at: None };
        assert_eq!(dispose(&policy(), ended, 0, 0.5), Disposition::Complete);
    }

    #[test]
    fn every_failure_has_its_disposition() {
        let retry = Disposition::Retry { at: 1_100 };
        for kind in FailureKind::ALL {
            let expected = match kind {
                FailureKind::Retry
                | FailureKind::Trapped
                | FailureKind::TimedOut
                | FailureKind::LeaseLost => retry,
                FailureKind::Cancelled => Disposition::Cancel,
                FailureKind::NoHandler => Disposition::Return,
                _ => Disposition::DeadLetter,
            };
            assert_eq!(after(kind, 1), expected, "{kind}");
        }
    }

    #[test]
    fn the_last_attempt_is_not_retried() {
        assert_eq!(after(FailureKind::Retry, 2), Disposition::Retry { at: 1_100 });
        assert_eq!(after(FailureKind::Retry, 3), Disposition::DeadLetter);
        assert_eq!(after(FailureKind::Retry, u32::MAX), Disposition::DeadLetter);
    }

    #[test]
    fn the_guest_may_ask_for_a_longer_wait_but_not_a_shorter_one() {
        for (asked_ms, at) in [(5_000, 5_000), (1, 100)] {
            let mut failure = Failure::new(FailureKind::Retry, "");
            failure.retry_after_ms = Some(asked_ms);
            let outcome = Outcome::Failed(failure);
            let ended =
                Attempted { outcome: &outcome, attempt: 1, submitted_at: 0, deadline_at: None };
            assert_eq!(dispose(&policy(), ended, 0, 0.5), Disposition::Retry { at });
        }
    }

    #[test]
    fn no_retry_is_planned_beyond_the_deadline_or_the_greatest_age() {
        let outcome = Outcome::Failed(Failure::new(FailureKind::Retry, ""));
        let after = |max_age_ms, deadline_at| {
            let policy = RetryPolicy { max_age_ms, ..policy() };
            let ended = Attempted { outcome: &outcome, attempt: 1, submitted_at: 900, deadline_at };
            dispose(&policy, ended, 1_000, 0.5)
        };
        assert_eq!(after(Some(201), Some(1_101)), Disposition::Retry { at: 1_100 });
        assert_eq!(after(Some(200), None), Disposition::DeadLetter);
        assert_eq!(after(None, Some(1_100)), Disposition::DeadLetter);
    }
}
