//! Ways to hold a place for as long as one is let.

use std::time::{Duration, Instant};

use bulkhead_guest::prelude::*;

/// Sleeps for ever.
#[handler]
pub(crate) fn for_ever(_: Payload) {
    std::thread::sleep(Duration::MAX);
}

/// Sleeps for no time, again and again.
#[handler]
pub(crate) fn busy_wait(_: Payload) {
    let began = Instant::now();
    while began.elapsed() < Duration::MAX {
        std::thread::sleep(Duration::from_nanos(1));
    }
}

/// Fails and asks for the longest wait there is.
#[handler]
pub(crate) fn patient(_: Payload) -> Result<(), Failure> {
    Err(Failure::retry("later").after(Duration::from_millis(u64::MAX)))
}

/// Aborts.
#[handler]
pub(crate) fn give_up(_: Payload) {
    std::process::abort();
}
