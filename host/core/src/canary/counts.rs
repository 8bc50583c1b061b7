//! What one version did: attempts, failures, and how long they took.
//!
//! Times are kept in buckets of an eighth's width, so that counts of many hosts can be added and
//! percentiles be told of the sum.

use serde::{Deserialize, Serialize};

/// What one version of a plugin did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Side {
    /// First attempts that ended by their handler's doing.
    pub attempts: u64,
    /// Those of them that failed. On the new side only those of tasks that the old version then
    /// did.
    pub failures: u64,
    /// On the new side, those that failed and that failed on the old version too.
    pub excused: u64,
    /// How long the others took, each from instantiation to its end.
    pub wall: WallTimes,
}

impl Side {
    /// Add another's counts.
    pub fn merge(&mut self, other: &Self) {
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.failures = self.failures.saturating_add(other.failures);
        self.excused = self.excused.saturating_add(other.excused);
        self.wall.merge(&other.wall);
    }
}

/// The same in a few figures, of a round that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SideFigures {
    /// See [`Side::attempts`].
    pub attempts: u64,
    /// See [`Side::failures`].
    pub failures: u64,
    /// See [`Side::excused`].
    pub excused: u64,
    /// See [`WallTimes::p95_us`].
    pub p95_us: Option<u64>,
}

impl From<&Side> for SideFigures {
    fn from(side: &Side) -> Self {
        let Side { attempts, failures, excused, ref wall } = *side;
        Self { attempts, failures, excused, p95_us: wall.p95_us() }
    }
}

/// Times by bucket: exact up to 16 µs, eight buckets for each power of two from there on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<u64>")]
pub struct WallTimes(Vec<u64>);

const EXACT_US: u64 = 16;
const STEPS: u64 = 8;

impl WallTimes {
    /// Buckets; the last one has all that took longer than 12 days.
    pub const BUCKETS: usize = 304;

    /// The bucket of a time.
    #[must_use]
    pub fn bucket(us: u64) -> usize {
        let at = if us < EXACT_US {
            us
        } else {
            let power = u64::from(us.ilog2());
            EXACT_US + (power - 4) * STEPS + ((us >> (power - 3)) & (STEPS - 1))
        };
        usize::try_from(at).unwrap_or(usize::MAX).min(Self::BUCKETS - 1)
    }

    /// The longest time of a bucket, in microseconds.
    #[must_use]
    pub fn longest_us(bucket: usize) -> u64 {
        let at = bucket.min(Self::BUCKETS - 1) as u64;
        if at < EXACT_US {
            return at;
        }
        let (power, step) = ((at - EXACT_US) / STEPS + 4, (at - EXACT_US) % STEPS);
        ((STEPS + step + 1) << (power - 3)) - 1
    }

    /// Count so many of one bucket.
    pub fn add(&mut self, bucket: usize, count: u64) {
        let bucket = bucket.min(Self::BUCKETS - 1);
        if count > 0 && self.0.len() <= bucket {
            self.0.resize(bucket + 1, 0);
        }
        if let Some(own) = self.0.get_mut(bucket) {
            *own = own.saturating_add(count);
        }
    }

    /// Add another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.0.iter().enumerate() {
            self.add(bucket, *count);
        }
    }

    /// How many were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |all, count| all.saturating_add(*count))
    }

    /// How many took longer than all of this bucket.
    #[must_use]
    pub fn beyond(&self, bucket: usize) -> u64 {
        self.0.iter().skip(bucket + 1).fold(0, |all, count| all.saturating_add(*count))
    }

    /// The bucket of the one of this rank, from 1 for the shortest.
    #[must_use]
    pub fn at_rank(&self, rank: u64) -> Option<usize> {
        let mut below = 0_u64;
        self.0.iter().position(|count| {
            below = below.saturating_add(*count);
            *count > 0 && below >= rank
        })
    }

    /// The time that 95 of 100 did not take longer than, in microseconds; none if there are none.
    #[must_use]
    pub fn p95_us(&self) -> Option<u64> {
        let rank = self.total().saturating_mul(95).div_ceil(100);
        self.at_rank(rank.max(1)).map(Self::longest_us)
    }
}

/// What somebody else wrote has no more buckets than there are.
impl From<Vec<u64>> for WallTimes {
    fn from(mut counts: Vec<u64>) -> Self {
        counts.truncate(Self::BUCKETS);
        Self(counts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_tells_a_time_by_an_eighth(us in 0_u64..1 << 40) {
            let told = WallTimes::longest_us(WallTimes::bucket(us));
            prop_assert!(told >= us && told <= us + us / STEPS, "{us} is told as {told}");
        }

        #[test]
        fn sums_are_sums(times in prop::collection::vec((0_u64..1 << 33, any::<bool>()), 0..200)) {
            let (mut all, mut parts) = (WallTimes::default(), [(); 2].map(|()| WallTimes::default()));
            for (us, part) in &times {
                all.add(WallTimes::bucket(*us), 1);
                parts[usize::from(*part)].add(WallTimes::bucket(*us), 1);
            }
            let [mut sum, other] = parts;
            sum.merge(&other);
            prop_assert_eq!(&sum, &all);
            prop_assert_eq!(all.total(), times.len() as u64);
            let above = times.iter().filter(|(us, _)| WallTimes::bucket(*us) > 40).count();
            prop_assert_eq!(all.beyond(40), above as u64);
        }
    }

    #[test]
    fn ninety_five_of_a_hundred_count() {
        let mut times = WallTimes::default();
        assert_eq!(times.p95_us(), None);
        times.add(WallTimes::bucket(3), 95);
        times.add(WallTimes::bucket(4_000), 5);
        assert_eq!(times.p95_us(), Some(3));
        times.add(WallTimes::bucket(4_000), 1);
        assert_eq!(times.p95_us(), Some(4_095));
    }

    #[test]
    fn what_somebody_else_wrote_is_cut() {
        let times = WallTimes::from(vec![1; 1_000]);
        assert_eq!(times.total(), WallTimes::BUCKETS as u64);
    }
}
