//! The attempt's own circumstances. Each question is a call to the host: ask once
//! per piece of work, not once per byte.

use std::time::Duration;

use crate::host;

/// How long the attempt may still run; zero once its time is up.
///
/// Called natively, outside [`testing::run`](crate::testing::run), there is no limit.
#[must_use]
pub fn remaining() -> Duration {
    Duration::from_millis(host::remaining_ms())
}

/// Whether somebody asked to cancel the task. The host interrupts a cancelled
/// attempt in any case; a handler that asks can tidy up first.
#[must_use]
pub fn cancelled() -> bool {
    host::cancelled()
}
