//! A wall clock that a test moves.
//!
//! It runs with the machine's clock plus an offset, or stands still. A Redis server started
//! with it reads it through a library that hides the system's clock (`clock.c`); whatever is
//! in this process asks [`StageClock::now_us`]. Nothing shipped knows of it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::preload::Preload;

/// The page's integers: the time at which the clock stands still, if it does, and how far it is
/// ahead of the machine's.
const FROZEN: u64 = 0;
const OFFSET: u64 = 1;

/// A clock that tests move, for this process and for servers started with it.
pub struct StageClock {
    preload: Preload,
    frozen_us: AtomicI64,
    offset_us: AtomicI64,
}

impl StageClock {
    /// A clock that runs like the machine's.
    ///
    /// # Panics
    /// If no temporary file can be made.
    #[must_use]
    pub fn running() -> Self {
        let preload = Preload::new(env!("STAGE_CLOCK_LIBRARY"), "STAGE_CLOCK_FILE");
        Self { preload, frozen_us: AtomicI64::new(0), offset_us: AtomicI64::new(0) }
    }

    /// A clock that stands still at this time until it is moved.
    ///
    /// # Panics
    /// If no temporary file can be made, or the time is 0.
    #[must_use]
    pub fn frozen(at_us: u64) -> Self {
        assert!(at_us > 0, "0 means a running clock");
        let clock = Self::running();
        clock.frozen_us.store(signed(at_us), Ordering::SeqCst);
        clock.preload.write(FROZEN, signed(at_us));
        clock
    }

    /// The time, in microseconds since the Unix epoch.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        let frozen = self.frozen_us.load(Ordering::SeqCst);
        if frozen != 0 {
            return frozen.unsigned_abs();
        }
        real_us().saturating_add_signed(self.offset_us.load(Ordering::SeqCst))
    }

    /// The time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }

    /// Let time pass.
    pub fn advance(&self, by: Duration) {
        let by_us = i64::try_from(by.as_micros()).expect("a time within 292,000 years");
        let (value, place) = if self.frozen_us.load(Ordering::SeqCst) == 0 {
            (&self.offset_us, OFFSET)
        } else {
            (&self.frozen_us, FROZEN)
        };
        let at = value.fetch_add(by_us, Ordering::SeqCst) + by_us;
        self.preload.write(place, at);
    }

    /// Set a clock that stands still to another time.
    ///
    /// # Panics
    /// If it runs.
    pub fn set_us(&self, at_us: u64) {
        let before = self.frozen_us.swap(signed(at_us), Ordering::SeqCst);
        assert!(before != 0 && at_us != 0, "only a clock that stands still can be set");
        self.preload.write(FROZEN, signed(at_us));
    }

    pub(crate) fn preload(&self) -> &Preload {
        &self.preload
    }
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).expect("a time before the year 294,000")
}

fn real_us() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    u64::try_from(elapsed.as_micros()).expect("a time before the year 500,000")
}
