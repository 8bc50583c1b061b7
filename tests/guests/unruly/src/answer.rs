//! Handlers that answer, well or badly, and stay within every limit.

use std::time::Duration;

use bulkhead_guest::prelude::*;

use crate::number;

/// Does nothing: the cost of an attempt itself.
#[handler]
pub(crate) fn noop(_: Payload) {}

/// Returns its payload.
#[handler(
    fuel = 1_000_000_000,
    memory = "32 MiB",
    timeout = "5s",
    max_attempts = 4,
    backoff = "linear",
    initial_delay = "100ms",
    max_delay = "1s"
)]
pub(crate) fn echo(payload: Payload) -> Payload {
    payload
}

/// Fails retryably; the payload is empty or the wait in milliseconds.
#[handler]
pub(crate) fn retry(delay_ms: String) -> Result<(), Failure> {
    let failure = Failure::retry("not now");
    if delay_ms.is_empty() {
        return Err(failure);
    }
    Err(failure.after(Duration::from_millis(number(&delay_ms)?)))
}

/// Fails for good, with details.
#[handler]
pub(crate) fn reject(payload: Payload) -> Result<(), Failure> {
    let details = serde_json::json!({ "bytes": payload.data.len() });
    Err(Failure::permanent("never").details(details))
}

/// Fails retryably until the attempt's number is above the payload.
#[handler]
pub(crate) fn flaky(failures: String, task: &Task) -> Result<String, Failure> {
    let failures: u32 = number(&failures)?;
    if task.attempt > failures {
        return Ok(format!("done at attempt {}", task.attempt));
    }
    Err(Failure::retry(format!("attempt {} of {failures} that fail", task.attempt)))
}

/// Reports progress thrice; at half it rests for the payload's number of milliseconds.
#[handler(task_type = "progress")]
pub(crate) fn report_progress(rest_ms: String) -> Result<(), Failure> {
    progress(0.25, "a quarter");
    progress(0.5, "half");
    if !rest_ms.is_empty() {
        std::thread::sleep(Duration::from_millis(number(&rest_ms)?));
    }
    progress(1.0, "all");
    Ok(())
}

/// Hashes an integer as often as the payload says, and returns the hash.
#[handler]
pub(crate) fn burn(iterations: String) -> Result<String, Failure> {
    let iterations: u64 = number(&iterations)?;
    let mut hash: u64 = 0x9e37_79b9_7f4a_7c15;
    for i in 0..iterations {
        hash = (hash ^ i).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
    }
    Ok(format!("{hash:016x}"))
}
