//! The host's wall clock, for stamps that people read. What is due is decided by the
//! broker's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use bulkhead_core::UnixMs;

pub(crate) fn unix_ms() -> UnixMs {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
