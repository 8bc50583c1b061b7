//! What a producer asks of the retry policy.

use bulkhead_core::quantity::Span;
use bulkhead_core::{Backoff, FailureKind, RetryRequest};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use utoipa::ToSchema;

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// Not at all.
    Fixed,
    /// By the same step each time.
    Linear,
    /// By a factor each time.
    Exponential,
}

/// The retry policy of one task; what is not said follows its handler and its queue.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Retries")]
pub struct Retry {
    /// Attempts in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: Option<u32>,
    /// No retry starts later than this after the submission
    #[arg(long, value_name = "DURATION")]
    pub max_age: Option<Span>,
    /// How the wait between attempts grows: fixed, linear or exponential
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    pub backoff: Option<Growth>,
    /// The first wait [with --backoff; default: 1s]
    #[arg(long, value_name = "DURATION")]
    pub retry_delay: Option<Span>,
    /// What each further attempt adds [with linear; default: the first wait]
    #[arg(long, value_name = "DURATION")]
    pub retry_step: Option<Span>,
    /// What each further attempt multiplies by [with exponential; default: 2]
    #[arg(long, value_name = "FACTOR")]
    pub retry_multiplier: Option<f64>,
    /// The longest wait [with linear and exponential; default: 10m]
    #[arg(long, value_name = "DURATION")]
    pub retry_max_delay: Option<Span>,
    /// The waits one by one, such as 1s,5s,30s; the last one repeats
    #[arg(long, value_name = "DURATIONS", value_delimiter = ',', conflicts_with = "backoff")]
    pub retry_delays: Option<Vec<Span>>,
    /// The share of a wait that chance may add or take, from 0 to 1
    #[arg(long, value_name = "SHARE")]
    pub retry_jitter: Option<f64>,
    /// The failures that are tried again, such as retry,trapped,timed_out
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub retry_on: Option<Vec<FailureKind>>,
}

impl Retry {
    /// This, completed by what is said for many tasks. The waits belong together: who says
    /// one of them says all.
    pub(crate) fn over(self, wider: &Self) -> Self {
        let waits = if self.speaks_of_waits() { self.clone() } else { wider.clone() };
        Self {
            max_attempts: self.max_attempts.or(wider.max_attempts),
            max_age: self.max_age.or(wider.max_age),
            retry_jitter: self.retry_jitter.or(wider.retry_jitter),
            retry_on: self.retry_on.or_else(|| wider.retry_on.clone()),
            ..waits
        }
    }

    fn speaks_of_waits(&self) -> bool {
        self.backoff.is_some() || self.retry_delays.is_some() || self.speaks_of_growth()
    }

    fn speaks_of_growth(&self) -> bool {
        self.retry_delay.is_some()
            || self.retry_step.is_some()
            || self.retry_multiplier.is_some()
            || self.retry_max_delay.is_some()
    }

    /// The request; nothing if nothing is asked for.
    pub(crate) fn request(&self) -> Result<Option<RetryRequest>, String> {
        if self.max_attempts == Some(0) {
            return Err("a task has at least 1 attempt; write 1 or more as the most".into());
        }
        if let Some(jitter) = self.retry_jitter
            && !(0.0..=1.0).contains(&jitter)
        {
            return Err(format!("the retry jitter is {jitter}; use a share from 0 to 1"));
        }
        let request = RetryRequest {
            max_attempts: self.max_attempts,
            backoff: self.waits()?,
            jitter: self.retry_jitter,
            retry_on: self.retry_on.clone(),
            max_age_ms: self.max_age.map(Span::as_ms),
        };
        Ok((request != RetryRequest::default()).then_some(request))
    }

    fn waits(&self) -> Result<Option<Backoff>, String> {
        let Some(growth) = self.backoff else {
            if self.speaks_of_growth() {
                return Err(
                    "it is not said how the wait grows; add a backoff of fixed, linear or \
                            exponential"
                        .into(),
                );
            }
            return match self.retry_delays.as_deref() {
                None => Ok(None),
                Some([]) => Err("the list of retry delays is empty; write one at least".into()),
                Some(delays) if delays.len() > MAX_DELAYS => {
                    Err(format!("{} retry delays are over {MAX_DELAYS}", delays.len()))
                }
                Some(delays) => {
                    let delays_ms = delays.iter().map(|delay| delay.as_ms()).collect();
                    Ok(Some(Backoff::Delays { delays_ms }))
                }
            };
        };
        let other = [
            (self.retry_delays.is_some(), "a list of delays", false),
            (self.retry_step.is_some(), "a step", growth == Growth::Linear),
            (self.retry_multiplier.is_some(), "a multiplier", growth == Growth::Exponential),
            (self.retry_max_delay.is_some(), "a longest delay", growth != Growth::Fixed),
        ];
        if let Some((_, what, _)) = other.iter().find(|(given, _, fits)| *given && !fits) {
            let name = format!("{growth:?}").to_lowercase();
            return Err(format!("a backoff that is {name} has no use for {what}; keep one"));
        }
        let initial_ms = self.retry_delay.map_or(1_000, Span::as_ms);
        let max_ms = self.retry_max_delay.map_or(600_000, Span::as_ms);
        Ok(Some(match growth {
            Growth::Fixed => Backoff::Fixed { delay_ms: initial_ms },
            Growth::Linear => {
                let step_ms = self.retry_step.map_or(initial_ms, Span::as_ms);
                Backoff::Linear { initial_ms, step_ms, max_ms }
            }
            Growth::Exponential => {
                let multiplier = self.retry_multiplier.unwrap_or(2.0);
                if !(1.0..=1_000.0).contains(&multiplier) {
                    return Err(format!("the multiplier is {multiplier}; use 1 to 1000"));
                }
                Backoff::Exponential { initial_ms, multiplier, max_ms }
            }
        }))
    }
}

/// Most entries of a list of delays; the task's record carries it.
const MAX_DELAYS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(growth: Option<Growth>) -> Retry {
        Retry { backoff: growth, ..Retry::default() }
    }

    fn ms(ms: u64) -> Option<Span> {
        Some(Span::from_ms(ms))
    }

    fn backoff(retry: &Retry) -> Backoff {
        retry.request().unwrap().unwrap().backoff.unwrap()
    }

    #[test]
    fn each_growth_has_its_defaults() {
        assert_eq!(asked(None).request(), Ok(None));
        assert_eq!(backoff(&asked(Some(Growth::Fixed))), Backoff::Fixed { delay_ms: 1_000 });
        let linear = Retry { retry_delay: ms(300), ..asked(Some(Growth::Linear)) };
        let grown = Backoff::Linear { initial_ms: 300, step_ms: 300, max_ms: 600_000 };
        assert_eq!(backoff(&linear), grown);
        let exponential = Retry { retry_max_delay: ms(9), ..asked(Some(Growth::Exponential)) };
        let grown = Backoff::Exponential { initial_ms: 1_000, multiplier: 2.0, max_ms: 9 };
        assert_eq!(backoff(&exponential), grown);
        let delays = vec![Span::from_ms(1), Span::from_ms(5)];
        let listed = Retry { retry_delays: Some(delays), ..asked(None) };
        assert_eq!(backoff(&listed), Backoff::Delays { delays_ms: vec![1, 5] });
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (retry, says) in [
            (Retry { retry_delay: ms(1), ..asked(None) }, "how the wait grows"),
            (Retry { retry_step: ms(1), ..asked(Some(Growth::Fixed)) }, "a step"),
            (Retry { retry_multiplier: Some(2.0), ..asked(Some(Growth::Linear)) }, "multiplier"),
            (Retry { retry_max_delay: ms(1), ..asked(Some(Growth::Fixed)) }, "longest"),
            (
                Retry { retry_multiplier: Some(0.5), ..asked(Some(Growth::Exponential)) },
                "use 1 to 1000",
            ),
            (Retry { retry_delays: Some(vec![]), ..asked(None) }, "empty"),
            (Retry { retry_delays: Some(vec![]), ..asked(Some(Growth::Fixed)) }, "a list"),
            (Retry { retry_jitter: Some(1.5), ..asked(None) }, "from 0 to 1"),
            (Retry { max_attempts: Some(0), ..asked(None) }, "at least 1"),
        ] {
            let error = retry.request().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_line_that_speaks_of_waits_says_all_of_them() {
        let flags = Retry {
            max_attempts: Some(3),
            retry_delay: ms(7),
            retry_max_delay: ms(9),
            ..asked(Some(Growth::Linear))
        };
        let line = Retry { retry_jitter: Some(0.0), ..asked(Some(Growth::Fixed)) };
        let both = line.over(&flags).request().unwrap().unwrap();
        assert_eq!(both.backoff, Some(Backoff::Fixed { delay_ms: 1_000 }));
        assert_eq!((both.max_attempts, both.jitter), (Some(3), Some(0.0)));
        let silent = Retry { max_attempts: Some(1), ..asked(None) };
        let both = silent.over(&flags).request().unwrap().unwrap();
        let kept = Backoff::Linear { initial_ms: 7, step_ms: 7, max_ms: 9 };
        assert_eq!((both.max_attempts, both.backoff), (Some(1), Some(kept)));
    }
}
