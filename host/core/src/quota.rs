//! Quotas of a minute: a bucket that is paid from after the fact.
//!
//! What an attempt uses is known when it has ended, so it is taken then, and the bucket may go
//! into debt. It holds one minute's quota and refills all the time; while it is empty nothing
//! is to start. Kept as one time, as a [`crate::Rate`] is: whoever starts only while it is not
//! empty uses within any N minutes at most N + 1 quotas and what was under way at the end.

use serde::{Deserialize, Serialize};

const MINUTE_US: u64 = 60_000_000;
/// The longest debt, 71 years: a time that scripts can still reckon with.
const DEBT_US: u64 = 1 << 51;
/// The most that is told as used: the largest number that scripts can still count by one.
const USED_MAX: u64 = 1 << 53;

/// What is left of a minute's quota. One of another quota than is asked about counts as full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MinuteBucket {
    /// When it will be full, in microseconds.
    full_at_us: u64,
    /// The quota it is of.
    quota: u64,
}

impl MinuteBucket {
    /// The largest quota.
    pub const MAX_QUOTA: u64 = 1 << 52;

    /// The bucket after so much was used, of a quota of at least 1. The time that it takes to
    /// come back is rounded up to a microsecond.
    #[must_use]
    pub fn take(self, quota: u64, used: u64, now_us: u64) -> Self {
        if used == 0 {
            return self;
        }
        // As the scripts of Redis reckon, which have no other numbers.
        let back_us = (used as f64 * MINUTE_US as f64 / quota as f64).ceil() as u64;
        let full_at_us = self.full_at(quota).max(now_us).saturating_add(back_us);
        Self { full_at_us: full_at_us.min(now_us.saturating_add(DEBT_US)), quota }
    }

    /// When there is something in it again, in microseconds; `None` if there is now.
    #[must_use]
    pub fn empty_until_us(self, quota: u64, now_us: u64) -> Option<u64> {
        let at = (self.full_at(quota) + 1).saturating_sub(MINUTE_US);
        (at > now_us).then_some(at)
    }

    /// How much of the quota has not come back yet; with a debt it is more than the quota.
    #[must_use]
    pub fn used(self, quota: u64, now_us: u64) -> u64 {
        let missing_us = self.full_at(quota).saturating_sub(now_us);
        // As the scripts of Redis reckon.
        let used = missing_us as f64 * quota as f64 / MINUTE_US as f64;
        (used as u64).min(USED_MAX)
    }

    fn full_at(self, quota: u64) -> u64 {
        if self.quota == quota { self.full_at_us } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000_000_000;

    #[test]
    fn a_bucket_holds_a_minute_goes_into_debt_and_refills() {
        let bucket = MinuteBucket::default();
        assert_eq!(bucket.empty_until_us(600, NOW), None);
        let bucket = bucket.take(600, 599, NOW);
        assert_eq!(bucket.empty_until_us(600, NOW), None);
        let bucket = bucket.take(600, 1, NOW);
        assert_eq!(bucket.empty_until_us(600, NOW), Some(NOW + 1));
        assert_eq!(bucket.empty_until_us(600, NOW + 1), None);
        let bucket = bucket.take(600, 1_200, NOW);
        assert_eq!(bucket.empty_until_us(600, NOW), Some(NOW + 120_000_001));
        assert_eq!(bucket.take(600, 0, NOW), bucket);
        assert_eq!(bucket.empty_until_us(601, NOW), None, "another quota begins anew");
        assert_eq!(bucket.used(601, NOW), 0);
        assert_eq!(bucket.used(600, NOW), 1_800, "a debt of two minutes");
        assert_eq!(bucket.used(600, NOW + 150_000_000), 300, "half a minute's are back");
        assert_eq!(bucket.used(600, NOW + 999_000_000), 0);
        let debt = bucket.take(1, u64::MAX, NOW);
        let most = MinuteBucket::default().take(MinuteBucket::MAX_QUOTA, u64::MAX, NOW);
        assert_eq!(most.used(MinuteBucket::MAX_QUOTA, NOW), USED_MAX);
        assert_eq!(debt.empty_until_us(1, NOW), Some(NOW + DEBT_US + 1 - MINUTE_US));
    }

    proptest! {
        /// Attempts start only while the bucket is not empty, and are paid for when they end.
        #[test]
        fn no_window_uses_more_than_its_quotas_and_what_was_under_way(
            quota in 1_u64..100_000,
            at_once in 1_usize..5,
            acts in proptest::collection::vec((0_u64..30_000_000, 0_u64..200_000, any::<bool>()), 1..200),
        ) {
            let (mut now, mut bucket) = (NOW, MinuteBucket::default());
            let mut under_way: Vec<u64> = Vec::new();
            // When attempts started and what they used; what was under way after each start.
            let mut started: Vec<(u64, u64, u64)> = Vec::new();
            for (wait, used, ends) in acts {
                now += wait;
                if ends && !under_way.is_empty() {
                    bucket = bucket.take(quota, under_way.remove(0), now);
                } else if under_way.len() < at_once && bucket.empty_until_us(quota, now).is_none() {
                    under_way.push(used);
                    started.push((now, used, under_way.iter().sum()));
                }
            }
            for (first, (from, ..)) in started.iter().enumerate() {
                let mut sum = 0;
                for (at, used, open) in &started[first..] {
                    sum += used;
                    let minutes = (at - from) as f64 / MINUTE_US as f64;
                    let bound = quota as f64 * (minutes + 1.0) + *open as f64;
                    prop_assert!(sum as f64 <= bound + 1e-6, "{sum} over {bound}");
                }
            }
        }
    }
}
