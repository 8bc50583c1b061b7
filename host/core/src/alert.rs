//! When a figure is worth a warning: a rule, what it was so far, and the next value. Pure.
//!
//! A figure has to be beyond its bound without a break for as long as the rule says before the
//! alert fires, and to come back to `clear` before it stops. Between the two nothing changes, so
//! that a figure which wavers around the bound warns once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::UnixMs;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSignal {
    /// Pending tasks.
    Depth,
    /// How long the oldest pending task has been in line, in seconds.
    OldestAge,
    /// The share of attempts that failed.
    ErrorRate,
    /// The share of attempts that did not.
    SuccessRate,
    /// The time, from when a task could begin to its completion, that 95 of 100 keep to, in
    /// seconds.
    P95Latency,
    /// The same to when its first attempt began.
    Wait,
}

impl AlertSignal {
    /// Every signal.
    pub const ALL: [Self; 6] = [
        Self::Depth,
        Self::OldestAge,
        Self::ErrorRate,
        Self::SuccessRate,
        Self::P95Latency,
        Self::Wait,
    ];

    /// Its name in configuration, JSON and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::OldestAge => "oldest_age",
            Self::ErrorRate => "error_rate",
            Self::SuccessRate => "success_rate",
            Self::P95Latency => "p95_latency",
            Self::Wait => "wait",
        }
    }

    /// Whether its values are seconds.
    #[must_use]
    pub fn is_time(self) -> bool {
        matches!(self, Self::OldestAge | Self::P95Latency | Self::Wait)
    }

    /// Whether its values are from 0 to 1.
    #[must_use]
    pub fn is_share(self) -> bool {
        matches!(self, Self::ErrorRate | Self::SuccessRate)
    }
}

impl fmt::Display for AlertSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AlertSignal {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|signal| signal.as_str() == text).ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("`{}` is no signal; use one of {all}", text.escape_debug())
        })
    }
}

/// Which side of which value is bad.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// More than this.
    Above(f64),
    /// Less than this.
    Below(f64),
}

impl Bound {
    /// The value itself.
    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            Self::Above(value) | Self::Below(value) => value,
        }
    }
}

/// When an alert fires and when it stops.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AlertRule {
    /// What is watched.
    pub signal: AlertSignal,
    /// What is too much or too little.
    pub bound: Bound,
    /// What a firing alert has to come back to. On the good side of the bound, or the bound.
    pub clear: f64,
    /// How long the signal has to be beyond its bound, in milliseconds.
    pub for_ms: u64,
}

impl AlertRule {
    fn is_bad(&self, value: f64) -> bool {
        match self.bound {
            Bound::Above(bound) => value > bound,
            Bound::Below(bound) => value < bound,
        }
    }

    fn is_good(&self, value: f64) -> bool {
        match self.bound {
            Bound::Above(_) => value <= self.clear,
            Bound::Below(_) => value >= self.clear,
        }
    }
}

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum AlertState {
    /// Nothing is wrong.
    #[default]
    Quiet,
    /// The signal is beyond its bound, not yet for long enough.
    Pending {
        /// Since when.
        since: UnixMs,
    },
    /// It was for long enough, and has not come back.
    Firing {
        /// Since when the alert fires.
        since: UnixMs,
    },
}

/// What is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertChange {
    /// It fires now.
    Fired,
    /// It does not any more.
    Resolved,
}

impl AlertState {
    /// The state after the signal had this value. Without a value (no attempt ended, say) nothing
    /// is wrong. Time may stand still, but a time before the last one counts as the last one.
    #[must_use]
    pub fn after(
        self,
        rule: &AlertRule,
        now: UnixMs,
        value: Option<f64>,
    ) -> (Self, Option<AlertChange>) {
        let is_bad = value.is_some_and(|value| rule.is_bad(value));
        let is_good = value.is_none_or(|value| rule.is_good(value));
        match self {
            Self::Firing { .. } if is_good => (Self::Quiet, Some(AlertChange::Resolved)),
            Self::Firing { .. } => (self, None),
            _ if !is_bad => (Self::Quiet, None),
            Self::Quiet => Self::bad_since(now, rule, now),
            Self::Pending { since } => Self::bad_since(since, rule, now),
        }
    }

    fn bad_since(since: UnixMs, rule: &AlertRule, now: UnixMs) -> (Self, Option<AlertChange>) {
        match now.saturating_sub(since) >= rule.for_ms {
            true => (Self::Firing { since: now.max(since) }, Some(AlertChange::Fired)),
            false => (Self::Pending { since }, None),
        }
    }
}

/// The value that this share of what was counted keeps to, by counts in buckets of these upper
/// bounds and one beyond; within a bucket the values are taken as evenly spread, and beyond the
/// last bound as at it. Nothing if nothing was counted.
#[must_use]
pub fn quantile(bounds: &[u64], counts: &[u64], share: f64) -> Option<f64> {
    let total = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    if total == 0 {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "a percentile is an estimate")]
    let float = |number: u64| number as f64;
    let wanted = float(total) * share.clamp(0.0, 1.0);
    let mut below = 0.0;
    let mut lower = 0.0;
    for (count, bound) in counts.iter().zip(bounds) {
        let (count, bound) = (float(*count), float(*bound));
        if count > 0.0 && below + count >= wanted {
            return Some(lower + (bound - lower) * ((wanted - below) / count));
        }
        below += count;
        lower = bound;
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(bound: Bound, clear: f64, for_ms: u64) -> AlertRule {
        AlertRule { signal: AlertSignal::Depth, bound, clear, for_ms }
    }

    /// The state after these values, a second apart, and what was told.
    fn watch(rule: &AlertRule, values: &[Option<f64>]) -> (AlertState, Vec<(usize, AlertChange)>) {
        let mut state = AlertState::default();
        let mut told = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let (next, change) = state.after(rule, at as u64 * 1_000, *value);
            told.extend(change.map(|change| (at, change)));
            state = next;
        }
        (state, told)
    }

    #[test]
    fn it_fires_after_long_enough_and_stops_at_the_other_threshold() {
        let rule = rule(Bound::Above(10.0), 5.0, 2_000);
        let values = [11.0, 12.0, 9.0, 11.0, 11.0, 11.0, 8.0, 6.0, 11.0, 5.0, 4.0].map(Some);
        let (state, told) = watch(&rule, &values);
        assert_eq!(told, [(5, AlertChange::Fired), (9, AlertChange::Resolved)]);
        assert_eq!(state, AlertState::Quiet);
    }

    #[test]
    fn too_little_is_the_same_the_other_way_round() {
        let rule = rule(Bound::Below(0.9), 0.95, 0);
        let values = [Some(0.99), Some(0.89), Some(0.92), Some(0.95)];
        let (_, told) = watch(&rule, &values);
        assert_eq!(told, [(1, AlertChange::Fired), (3, AlertChange::Resolved)]);
    }

    #[test]
    fn without_a_value_nothing_is_wrong() {
        let rule = rule(Bound::Above(1.0), 1.0, 1_000);
        let values = [Some(2.0), None, Some(2.0), Some(2.0), None];
        let (_, told) = watch(&rule, &values);
        assert_eq!(told, [(3, AlertChange::Fired), (4, AlertChange::Resolved)]);
    }

    #[test]
    fn percentiles_are_of_their_bucket() {
        let bounds = [10, 20, 40];
        assert_eq!(quantile(&bounds, &[0, 0, 0, 0], 0.95), None);
        assert_eq!(quantile(&bounds, &[10, 0, 0, 0], 0.5), Some(5.0));
        assert_eq!(quantile(&bounds, &[0, 0, 100, 0], 0.95), Some(39.0));
        assert_eq!(quantile(&bounds, &[0, 0, 0, 7], 0.95), Some(40.0));
        assert_eq!(quantile(&bounds, &[95, 0, 0, 5], 0.95), Some(10.0));
    }

    proptest! {
        #[test]
        fn firing_and_resolving_take_turns_and_need_their_reasons(
            values in proptest::collection::vec(proptest::option::of(0.0..20.0_f64), 0..200),
            bound in 1.0..19.0_f64,
            gap in 0.0..5.0_f64,
            for_s in 0..5_usize,
        ) {
            let rule = rule(Bound::Above(bound), bound - gap, for_s as u64 * 1_000);
            let (state, told) = watch(&rule, &values);
            for (number, (at, change)) in told.iter().enumerate() {
                let expected =
                    if number % 2 == 0 { AlertChange::Fired } else { AlertChange::Resolved };
                prop_assert_eq!(*change, expected);
                match change {
                    AlertChange::Fired => {
                        prop_assert!(*at >= for_s);
                        let run = &values[at - for_s..=*at];
                        prop_assert!(run.iter().all(|value| value.is_some_and(|v| v > bound)));
                    }
                    AlertChange::Resolved => {
                        prop_assert!(values[*at].is_none_or(|value| value <= bound - gap));
                    }
                }
            }
            prop_assert_eq!(matches!(state, AlertState::Firing { .. }), told.len() % 2 == 1);
        }

        #[test]
        fn a_mirrored_signal_is_a_mirrored_alert(
            values in proptest::collection::vec(proptest::option::of(-9.0..9.0_f64), 0..100),
            bound in -8.0..8.0_f64,
        ) {
            let above = watch(&rule(Bound::Above(bound), bound - 1.0, 1_000), &values);
            let mirrored: Vec<Option<f64>> = values.iter().map(|value| value.map(|v| -v)).collect();
            let below = watch(&rule(Bound::Below(-bound), -(bound - 1.0), 1_000), &mirrored);
            prop_assert_eq!(above, below);
        }

        #[test]
        fn a_percentile_lies_within_the_bounds_and_grows_with_its_share(
            counts in proptest::collection::vec(0..50_u64, 4),
            low in 0.0..1.0_f64,
            high in 0.0..1.0_f64,
        ) {
            let bounds = [10, 20, 40];
            let (low, high) = (low.min(high), low.max(high));
            let (low, high) = (quantile(&bounds, &counts, low), quantile(&bounds, &counts, high));
            prop_assert_eq!(low.is_some(), counts.iter().sum::<u64>() > 0);
            if let (Some(low), Some(high)) = (low, high) {
                prop_assert!(0.0 <= low && low <= high && high <= 40.0);
            }
        }
    }
}
