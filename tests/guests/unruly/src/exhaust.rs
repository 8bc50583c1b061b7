//! Handlers that use up fuel, time, memory, stack and handles.

use std::hint::black_box;
use std::time::Duration;

use bulkhead_guest::prelude::*;

use crate::number;

/// Memory is taken in pieces of this many bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// Loops for ever.
#[handler]
pub(crate) fn spin(_: Payload) {
    let mut turns: u64 = 0;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Loops for ever, mostly in calls to the host.
#[handler]
pub(crate) fn spin_hostcall(_: Payload) {
    loop {
        black_box(context::cancelled());
    }
}

/// Sleeps for the payload's number of milliseconds.
#[handler]
pub(crate) fn sleep(ms: String) -> Result<(), Failure> {
    std::thread::sleep(Duration::from_millis(number(&ms)?));
    Ok(())
}

/// Takes the payload's number of bytes, writes to all of them and keeps them.
#[handler]
pub(crate) fn alloc(bytes: String) -> Result<String, Failure> {
    let bytes: usize = number(&bytes)?;
    let mut kept = Vec::new();
    let mut taken = 0;
    while taken < bytes {
        let chunk = CHUNK_BYTES.min(bytes - taken);
        kept.push(black_box(vec![1_u8; chunk]));
        taken += chunk;
    }
    std::mem::forget(kept);
    Ok(taken.to_string())
}

/// Calls itself for ever.
#[handler]
pub(crate) fn recurse(_: Payload) -> String {
    descend(0, black_box(u64::MAX)).to_string()
}

/// Keeps nothing in linear memory, so that it is the call stack that ends and not
/// the memory which Rust sets aside for addressable locals.
fn descend(depth: u64, bottom: u64) -> u64 {
    if depth == bottom {
        return depth;
    }
    descend(depth + 1, bottom).rotate_left(7) ^ depth
}

/// Takes and keeps the payload's number of resource handles.
#[handler]
pub(crate) fn handles(count: String) -> Result<String, Failure> {
    let count: usize = number(&count)?;
    let kept: Vec<_> = (0..count).map(|_| timer::start()).collect();
    let held = kept.len();
    std::mem::forget(kept);
    Ok(held.to_string())
}

#[cfg(target_arch = "wasm32")]
mod timer {
    //! A handle is cheapest as a timer that nobody waits for.

    wit_bindgen::generate!({ path: "wit", world: "timers", generate_all });

    use wasi::clocks::monotonic_clock::{Pollable, subscribe_duration};

    pub(super) fn start() -> Pollable {
        subscribe_duration(3_600_000_000_000)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod timer {
    pub(super) fn start() {}
}
