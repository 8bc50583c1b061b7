//! When a failed attempt is tried again.

use serde::{Deserialize, Serialize};

use crate::FailureKind;

/// How the wait between attempts grows, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Backoff {
    /// The same wait each time.
    Fixed {
        /// The wait.
        delay_ms: u64,
    },
    /// `initial + step × (attempt − 1)`, at most `max`.
    Linear {
        /// The wait after the first attempt.
        initial_ms: u64,
        /// What each further attempt adds.
        step_ms: u64,
        /// The longest wait.
        max_ms: u64,
    },
    /// `initial × multiplier^(attempt − 1)`, at most `max`.
    Exponential {
        /// The wait after the first attempt.
        initial_ms: u64,
        /// What each further attempt multiplies by.
        multiplier: f64,
        /// The longest wait.
        max_ms: u64,
    },
    /// A wait for each attempt; the last one repeats.
    Delays {
        /// The waits; an empty list is no wait.
        delays_ms: Vec<u64>,
    },
}

impl Backoff {
    /// The wait after attempt number `attempt` (1 is the first), before jitter.
    #[must_use]
    pub fn delay_ms(&self, attempt: u32) -> u64 {
        let earlier = attempt.saturating_sub(1);
        match *self {
            Self::Delays { ref delays_ms } => {
                let at = usize::try_from(earlier).unwrap_or(usize::MAX);
                delays_ms.get(at).or(delays_ms.last()).copied().unwrap_or(0)
            }
            Self::Fixed { delay_ms } => delay_ms,
            Self::Linear { initial_ms, step_ms, max_ms } => {
                initial_ms.saturating_add(step_ms.saturating_mul(u64::from(earlier))).min(max_ms)
            }
            Self::Exponential { initial_ms, multiplier, max_ms } => {
                let factor = multiplier.max(1.0).powf(f64::from(earlier));
                let delay = initial_ms as f64 * factor;
                // An infinite or huge product saturates in the conversion.
                (delay as u64).min(max_ms)
            }
        }
    }
}

/// How often and how soon a task is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 0 counts as 1.
    pub max_attempts: u32,
    /// How the wait grows.
    pub backoff: Backoff,
    /// The share of the wait that jitter may add or take, from 0.0 to 1.0.
    pub jitter: f64,
    /// The failures that are tried again; all others become dead letters at once.
    pub retry_on: Vec<FailureKind>,
    /// No retry starts later than this after the task was submitted, in milliseconds.
    pub max_age_ms: Option<u64>,
}

/// What a handler, a manifest or a task asks of the retry policy; what is absent follows
/// the next wider policy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RetryRequest {
    /// See [`RetryPolicy::max_attempts`].
    pub max_attempts: Option<u32>,
    /// See [`RetryPolicy::backoff`].
    pub backoff: Option<Backoff>,
    /// See [`RetryPolicy::jitter`].
    pub jitter: Option<f64>,
    /// See [`RetryPolicy::retry_on`].
    pub retry_on: Option<Vec<FailureKind>>,
    /// See [`RetryPolicy::max_age_ms`].
    pub max_age_ms: Option<u64>,
}

impl RetryRequest {
    /// This request, completed by a wider one.
    #[must_use]
    pub fn or(self, wider: &Self) -> Self {
        Self {
            max_attempts: self.max_attempts.or(wider.max_attempts),
            backoff: self.backoff.or_else(|| wider.backoff.clone()),
            jitter: self.jitter.or(wider.jitter),
            retry_on: self.retry_on.or_else(|| wider.retry_on.clone()),
            max_age_ms: self.max_age_ms.or(wider.max_age_ms),
        }
    }
}

impl From<RetryPolicy> for RetryRequest {
    fn from(policy: RetryPolicy) -> Self {
        Self {
            max_attempts: Some(policy.max_attempts),
            backoff: Some(policy.backoff),
            jitter: Some(policy.jitter),
            retry_on: Some(policy.retry_on),
            max_age_ms: policy.max_age_ms,
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            backoff: Backoff::Exponential { initial_ms: 1_000, multiplier: 2.0, max_ms: 600_000 },
            jitter: 0.2,
            retry_on: vec![
                FailureKind::Retry,
                FailureKind::Trapped,
                FailureKind::TimedOut,
                FailureKind::LeaseLost,
            ],
            max_age_ms: None,
        }
    }
}

impl RetryPolicy {
    /// This policy with what `request` asks for in its place.
    #[must_use]
    pub fn with(&self, request: &RetryRequest) -> Self {
        Self {
            max_attempts: request.max_attempts.unwrap_or(self.max_attempts),
            backoff: request.backoff.clone().unwrap_or_else(|| self.backoff.clone()),
            jitter: request.jitter.unwrap_or(self.jitter),
            retry_on: request.retry_on.clone().unwrap_or_else(|| self.retry_on.clone()),
            max_age_ms: request.max_age_ms.or(self.max_age_ms),
        }
    }

    /// The wait after attempt number `attempt`, with jitter applied. `unit` is a
    /// uniform random number from 0.0 to 1.0; 0.5 means no change.
    #[must_use]
    pub fn delay_ms(&self, attempt: u32, unit: f64) -> u64 {
        let delay = self.backoff.delay_ms(attempt);
        let swing = self.jitter.clamp(0.0, 1.0) * (unit.clamp(0.0, 1.0) * 2.0 - 1.0);
        (delay as f64 * (1.0 + swing)) as u64
    }

    /// Whether a failure of this kind is tried again while attempts remain.
    #[must_use]
    pub fn retries(&self, kind: FailureKind) -> bool {
        self.retry_on.contains(&kind)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn backoff_follows_its_formula() {
        let fixed = Backoff::Fixed { delay_ms: 7 };
        let linear = Backoff::Linear { initial_ms: 100, step_ms: 50, max_ms: 220 };
        let exponential = Backoff::Exponential { initial_ms: 100, multiplier: 2.0, max_ms: 350 };
        let listed = Backoff::Delays { delays_ms: vec![5, 9] };
        let delays = |b: &Backoff| (1..=4).map(|n| b.delay_ms(n)).collect::<Vec<_>>();
        assert_eq!(delays(&fixed), [7, 7, 7, 7]);
        assert_eq!(delays(&listed), [5, 9, 9, 9]);
        assert_eq!(delays(&Backoff::Delays { delays_ms: vec![] }), [0; 4]);
        assert_eq!(delays(&linear), [100, 150, 200, 220]);
        assert_eq!(delays(&exponential), [100, 200, 350, 350]);
    }

    #[test]
    fn a_request_changes_only_what_it_names() {
        let asked = RetryRequest { max_attempts: Some(2), ..Default::default() };
        let wider = RetryRequest { jitter: Some(0.0), max_attempts: Some(9), ..Default::default() };
        let policy = RetryPolicy::default().with(&asked.or(&wider));
        assert_eq!((policy.max_attempts, policy.jitter), (2, 0.0));
        assert_eq!(policy.backoff, RetryPolicy::default().backoff);
    }

    proptest! {
        #[test]
        fn exponential_never_passes_its_maximum_nor_shrinks(
            initial_ms in 0u64..1_000_000, multiplier in 0.0f64..100.0,
            max_ms in 0u64..10_000_000, attempt in 1u32..10_000,
        ) {
            let backoff = Backoff::Exponential { initial_ms, multiplier, max_ms };
            prop_assert!(backoff.delay_ms(attempt) <= max_ms);
            prop_assert!(backoff.delay_ms(attempt) <= backoff.delay_ms(attempt + 1));
        }

        #[test]
        fn jitter_stays_within_its_share(jitter in 0.0f64..=1.0, unit in 0.0f64..=1.0) {
            let policy = RetryPolicy {
                backoff: Backoff::Fixed { delay_ms: 1_000 }, jitter, ..Default::default()
            };
            let delay = policy.delay_ms(1, unit) as f64;
            prop_assert!(delay >= 1_000.0 * (1.0 - jitter) - 1.0);
            prop_assert!(delay <= 1_000.0 * (1.0 + jitter) + 1.0);
        }
    }
}
