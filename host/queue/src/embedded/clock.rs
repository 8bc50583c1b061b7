//! The broker's clock: the system's, in microseconds, that never goes back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    pub(super) fn now_us(&self) -> u64 {
        let system = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
        self.0.fetch_max(system, Ordering::Relaxed).max(system)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }
}
