//! The smallest plugin: what it costs in bytes and microseconds is what the SDK and
//! an attempt cost.

use bulkhead_guest::prelude::*;

plugin!(idle);

/// Does nothing.
#[handler]
fn idle(_: Payload) {}
