//! Handlers that mean harm, as far as ordinary Rust can: what needs lies at the boundary is
//! in `wat/` beside this, as text. Which promise each of them attacks, and what must come of
//! it, is in the gallery (`tests/gallery`). Nothing here is an example to follow.

mod flood;
mod hide;
mod wait;

use bulkhead_guest::prelude::*;

plugin!(
    flood::giant_line,
    flood::many_fields,
    flood::stderr_flood,
    flood::progress_flood,
    flood::huge_panic,
    flood::huge_reason,
    flood::escapes,
    flood::odd_type,
    flood::long_type,
    flood::not_a_number,
    hide::counter,
    hide::look_around,
    hide::thread,
    hide::steps,
    wait::for_ever,
    wait::busy_wait,
    wait::patient,
    wait::give_up,
);
