//! Retry policies: of a queue in full, of a schedule as far as it says.

use std::time::Duration;

use bulkhead_core::{Backoff, FailureKind, RetryRequest};

use super::{Check, DAY};
use crate::config::quantity::Span;
use crate::config::raw::{RawBackoff, RawRetry};

/// Longest list of delays.
const MAX_DELAYS: usize = 64;

impl Check<'_> {
    /// What is asked of a retry policy, at the path of its section.
    pub(super) fn retry(&mut self, at: &[&str], raw: &RawRetry) -> RetryRequest {
        if let Some(attempts) = raw.max_attempts {
            self.within(&[at, &["max_attempts"]].concat(), attempts, 1..=1_000_000);
        }
        if let Some(jitter) = raw.jitter {
            self.within(&[at, &["jitter"]].concat(), jitter, 0.0..=1.0);
        }
        let age = Duration::from_secs(1)..=366 * DAY;
        let path = [at, &["max_age"]].concat();
        let max_age_ms = raw.max_age.map(|span| Span(self.span(&path, span, age)).as_ms());
        let path = [at, &["retry_on"]].concat();
        let retry_on = raw.retry_on.as_ref().map(|kinds| {
            let known = |kind: &String| {
                let all = FailureKind::ALL.map(FailureKind::as_str).join(", ");
                kind.parse::<FailureKind>()
                    .map_err(|error| self.problem(&path, format!("{error}; use some of {all}")))
                    .ok()
            };
            kinds.iter().filter_map(known).collect()
        });
        let path = [at, &["backoff"]].concat();
        RetryRequest {
            max_attempts: raw.max_attempts,
            max_age_ms,
            jitter: raw.jitter,
            retry_on,
            backoff: self.backoff(&path, &raw.backoff),
        }
    }

    fn backoff(&mut self, at: &[&str], raw: &RawBackoff) -> Option<Backoff> {
        let given = [
            ("delay", raw.delay.is_some()),
            ("delays", raw.delays.is_some()),
            ("initial", raw.initial.is_some()),
            ("step", raw.step.is_some()),
            ("multiplier", raw.multiplier.is_some()),
            ("max", raw.max.is_some()),
        ];
        if raw.kind.is_none() && given.iter().all(|(_, given)| !given) {
            return None;
        }
        let kind = raw.kind.as_deref().unwrap_or("exponential");
        let belongs: &[&str] = match kind {
            "fixed" => &["delay"],
            "linear" => &["initial", "step", "max"],
            "exponential" => &["initial", "multiplier", "max"],
            "delays" => &["delays"],
            other => {
                let message = format!(
                    "`{}` is no kind of backoff; use fixed, linear, exponential or delays",
                    other.escape_debug()
                );
                self.problem(&[at, &["kind"]].concat(), message);
                return None;
            }
        };
        for (key, _) in given.iter().filter(|(key, given)| *given && !belongs.contains(key)) {
            let message = format!("a {kind} backoff has {} and no `{key}`", belongs.join(", "));
            self.problem(&[at, &[key]].concat(), message);
        }
        if let Some(multiplier) = raw.multiplier {
            self.within(&[at, &["multiplier"]].concat(), multiplier, 1.0..=1_000.0);
        }
        let delays = raw.delays.as_deref().unwrap_or_default();
        if kind == "delays" && !(1..=MAX_DELAYS).contains(&delays.len()) {
            let message = format!("{} delays are listed; use 1 to {MAX_DELAYS}", delays.len());
            self.problem(&[at, &["delays"]].concat(), message);
        }
        let ms = |span: Option<Span>, default| span.map_or(default, Span::as_ms);
        let initial_ms = ms(raw.initial, 1_000);
        let max_ms = ms(raw.max, 600_000);
        Some(match kind {
            "fixed" => Backoff::Fixed { delay_ms: ms(raw.delay, 1_000) },
            "linear" => Backoff::Linear { initial_ms, step_ms: ms(raw.step, initial_ms), max_ms },
            "delays" => Backoff::Delays { delays_ms: delays.iter().map(|d| d.as_ms()).collect() },
            _ => Backoff::Exponential {
                initial_ms,
                multiplier: raw.multiplier.unwrap_or(2.0),
                max_ms,
            },
        })
    }
}
