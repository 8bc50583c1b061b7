//! The history of a queue: how deep it was and what it had done, minute by minute.
//!
//! Samples live in rings, so a queue's history never takes more than its slots. Whoever asks
//! first in a minute makes its sample; throughput is the difference of two samples' totals.

use std::collections::BTreeMap;

use bulkhead_core::UnixMs;
use serde::{Deserialize, Serialize};

/// How far apart samples are, and so how long they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// One a minute, for 24 hours.
    Minute,
    /// One an hour, for 30 days.
    Hour,
}

impl Resolution {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    /// Between two samples, in milliseconds.
    #[must_use]
    pub fn step_ms(self) -> u64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
        }
    }

    /// Samples kept.
    #[must_use]
    pub fn slots(self) -> u64 {
        match self {
            Self::Minute => 24 * 60,
            Self::Hour => 30 * 24,
        }
    }

    /// The slot of a time.
    pub(crate) fn slot(self, at: UnixMs) -> u64 {
        (at / self.step_ms()) % self.slots()
    }

    /// The slots of a range of times, if they are fewer than all.
    pub(crate) fn slots_of(self, from: UnixMs, to: UnixMs) -> Option<Vec<u64>> {
        let (first, last) = (from / self.step_ms(), to / self.step_ms());
        let few = last.checked_sub(first).is_none_or(|apart| apart < self.slots() - 1);
        few.then(|| (first..=last).map(|step| step % self.slots()).collect())
    }
}

/// How a queue stood at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Sample {
    /// When, by the broker's clock.
    pub at: UnixMs,
    /// Tasks in line, those held back by their keys included.
    pub pending: u64,
    /// Tasks that wait for their time.
    pub scheduled: u64,
    /// Tasks that wait for others.
    pub blocked: u64,
    /// Tasks that ran.
    pub running: u64,
    /// Dead letters.
    pub failed: u64,
    /// How long the oldest pending task had been in line, in milliseconds.
    pub oldest_pending_ms: Option<u64>,
    /// What was counted since the queue was made, under the names of its statistics.
    pub totals: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_its_slots_and_a_long_one_all() {
        let minute = Resolution::Minute;
        assert_eq!(minute.slots_of(60_000, 179_999), Some(vec![1, 2]));
        assert_eq!(minute.slots_of(1439 * 60_000, 1440 * 60_000), Some(vec![1439, 0]));
        assert_eq!(minute.slots_of(5 * 60_000, 60_000), Some(vec![]), "an empty range");
        assert_eq!(minute.slots_of(0, u64::MAX), None);
        assert_eq!(Resolution::Hour.slot(721 * 3_600_000), 1);
    }
}
