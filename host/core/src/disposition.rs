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

/// Decide what follows from `outcome` of attempt number `attempt`. `unit` is a
/// uniform random number from 0.0 to 1.0 for the jitter.
#[must_use]
pub fn dispose(
    policy: &RetryPolicy,
    outcome: &Outcome,
    attempt: u32,
    now: UnixMs,
    unit: f64,
) -> Disposition {
    let failure = match outcome {
        Outcome::Done(_) => return Disposition::Complete,
        Outcome::Failed(failure) => failure,
    };
    match failure.kind {
        FailureKind::Cancelled => Disposition::Cancel,
        FailureKind::NoHandler => Disposition::Return,
        kind if policy.retries(kind) && attempt < policy.max_attempts => {
            let delay = policy.delay_ms(attempt, unit).max(failure.retry_after_ms.unwrap_or(0));
            Disposition::Retry { at: now.saturating_add(delay) }
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
        dispose(&policy(), &Outcome::Failed(Failure::new(kind, "")), attempt, 1_000, 0.5)
    }

    #[test]
    fn done_completes() {
        let done = Outcome::Done(Payload::default());
        assert_eq!(dispose(&policy(), &done, 1, 0, 0.5), Disposition::Complete);
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
        let mut failure = Failure::new(FailureKind::Retry, "");
        failure.retry_after_ms = Some(5_000);
        let longer = dispose(&policy(), &Outcome::Failed(failure.clone()), 1, 0, 0.5);
        assert_eq!(longer, Disposition::Retry { at: 5_000 });
        failure.retry_after_ms = Some(1);
        let shorter = dispose(&policy(), &Outcome::Failed(failure), 1, 0, 0.5);
        assert_eq!(shorter, Disposition::Retry { at: 100 });
    }
}
