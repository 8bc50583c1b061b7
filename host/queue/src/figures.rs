//! What a broker counts of its own doings, for whoever exposes it.
//!
//! Counting is one atomic addition or two beside a round trip over the network. No library of
//! metrics is known here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets in which times are counted, from 100 µs to five minutes, in
/// microseconds.
pub const TIMES_US: &[u64] = &[
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// The upper bounds of the buckets in which times by two clocks are counted, from a millisecond to
/// an hour, in milliseconds.
pub const TIMES_MS: &[u64] = &[
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000,
    1_800_000, 3_600_000,
];

const BUCKETS: usize = TIMES_US.len() + 1;

/// How long calls took.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Timings {
    pub(crate) fn observe(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = TIMES_US.partition_point(|bound| *bound < took_us);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Spread {
        Spread {
            buckets: self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect(),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

/// How times are spread, since the broker was connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// How many were in the bucket of each of [`TIMES_US`], and how many beyond the last.
    pub buckets: Vec<u64>,
    /// Their sum, in microseconds.
    pub sum_us: u64,
}

/// What a broker counted since it was connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerFigures {
    /// How long calls took, by what was called: `script`, `command`, `long`. Calls that failed
    /// are among them.
    pub calls: Vec<(&'static str, Spread)>,
    /// How long the calls of each script took that was called.
    pub scripts: Vec<(&'static str, Spread)>,
    /// Calls that failed.
    pub failures: u64,
    /// Connections that were opened in place of one that broke.
    pub reconnects: u64,
}
