//! What attempts came to, summed up for those who follow the load: the autoscaler.
//!
//! A host that follows nothing has none. All numbers are since the last time that they were
//! taken.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bulkhead_core::{FailureKind, Outcome, Task, UnixMs, Work};
use bulkhead_sandbox::AttemptEnd;

/// Buckets of pick-up times: exact up to 8 ms, four for each power of two from there on.
const BUCKETS: usize = 128;
const EXACT_MS: u64 = 8;
const STEPS: u64 = 4;

/// Of 100 tasks so many began within the time that is told.
const PERCENT: u64 = 95;

/// Sums.
pub(crate) struct Tally {
    ended: AtomicU64,
    overloaded: AtomicU64,
    run_us: AtomicU64,
    cpu_us: AtomicU64,
    picked_up: [AtomicU32; BUCKETS],
}

impl Default for Tally {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        let picked_up = std::array::from_fn(|_| AtomicU32::new(0));
        Self { ended: zero(), overloaded: zero(), run_us: zero(), cpu_us: zero(), picked_up }
    }
}

impl Tally {
    /// Count an attempt that ran.
    pub(super) fn count(&self, task: &Task, attempt: u32, started_at: UnixMs, end: &AttemptEnd) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.run_us.fetch_add(end.metering.wall_us, Ordering::Relaxed);
        self.cpu_us.fetch_add(end.metering.cpu_us, Ordering::Relaxed);
        if let Outcome::Failed(failure) = &end.outcome
            && matches!(failure.kind, FailureKind::TimedOut | FailureKind::Retry)
        {
            self.overloaded.fetch_add(1, Ordering::Relaxed);
        }
        // What had to wait for something else than a host says nothing of hosts.
        let terms = &task.terms;
        if attempt == 1 && terms.not_before.is_none() && terms.after.is_empty() {
            let waited_ms = started_at.saturating_sub(task.submitted_at);
            self.picked_up[bucket(waited_ms)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What ended, and within how many milliseconds 95 of 100 tasks began, if any did.
    pub(crate) fn take(&self) -> (Work, Option<u64>) {
        let take = |sum: &AtomicU64| sum.swap(0, Ordering::Relaxed);
        let work = Work {
            ended: take(&self.ended),
            overloaded: take(&self.overloaded),
            run_us: take(&self.run_us),
            cpu_us: take(&self.cpu_us),
        };
        let counts = self.picked_up.each_ref().map(|n| u64::from(n.swap(0, Ordering::Relaxed)));
        let all: u64 = counts.iter().sum();
        let mut below = 0;
        let reached = counts.iter().position(|count| {
            below += count;
            below * 100 >= all * PERCENT
        });
        (work, reached.filter(|_| all > 0).map(longest_ms))
    }
}

fn bucket(ms: u64) -> usize {
    if ms < EXACT_MS {
        return ms as usize;
    }
    let power = u64::from(ms.ilog2());
    let step = (ms >> (power - 2)) & (STEPS - 1);
    let at = EXACT_MS + (power - 3) * STEPS + step;
    (at as usize).min(BUCKETS - 1)
}

/// The longest time of a bucket, in milliseconds.
fn longest_ms(bucket: usize) -> u64 {
    let at = bucket as u64;
    if at < EXACT_MS {
        return at;
    }
    let (power, step) = ((at - EXACT_MS) / STEPS + 3, (at - EXACT_MS) % STEPS);
    ((STEPS + step + 1) << (power - 2)) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_tells_a_time_by_a_quarter(ms in 0_u64..1 << 30) {
            let told = longest_ms(bucket(ms));
            prop_assert!(told >= ms && told <= ms + ms / STEPS, "{ms} is told as {told}");
        }
    }

    #[test]
    fn ninety_five_of_a_hundred_count_and_what_was_taken_is_gone() {
        let tally = Tally::default();
        assert_eq!(tally.take(), (Work::default(), None));
        for (ms, times) in [(3, 95), (4_000, 5)] {
            tally.picked_up[bucket(ms)].store(times, Ordering::Relaxed);
        }
        assert_eq!(tally.take().1, Some(3));
        assert_eq!(tally.take().1, None);
        for (ms, times) in [(3, 94), (4_000, 6)] {
            tally.picked_up[bucket(ms)].store(times, Ordering::Relaxed);
        }
        assert_eq!(tally.take().1, Some(4_095));
        tally.picked_up[bucket(u64::MAX)].store(1, Ordering::Relaxed);
        assert!(tally.take().1.is_some_and(|ms| ms > 1 << 30));
    }
}
