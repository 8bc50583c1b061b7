//! The broker's clock: the system's or one that it is given, in microseconds, that never goes
//! back.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What an embedded broker takes for the time.
pub struct Clock {
    read_us: Box<dyn Fn() -> u64 + Send + Sync>,
    last_us: AtomicU64,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::read_by(system_us)
    }

    /// The clock that this reads, in microseconds since the Unix epoch. Where it goes back, the
    /// broker's time stands still.
    pub fn read_by(read_us: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { read_us: Box::new(read_us), last_us: AtomicU64::new(0) }
    }

    pub(super) fn now_us(&self) -> u64 {
        let read = (self.read_us)();
        self.last_us.fetch_max(read, Ordering::Relaxed).max(read)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("last_us", &self.last_us).finish_non_exhaustive()
    }
}

fn system_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}
