//! Real processes, real faults, and a ledger.
//!
//! Hosts are child processes: this test runs itself again, and a child finds its orders in
//! the folder that it works in. They talk to a Redis server through proxies of their own
//! while they are killed, paused and cut off; the server is killed and starts again, forgets
//! its scripts, gets a slow disk, and loses with its power what no sync had made sure of. At the
//! end every accepted task must have ended, and the ledger of side effects must hold nothing
//! that at-least-once does not allow.
//!
//! `BULKHEAD_CHAOS_SECONDS` chooses how long faults go on; docs/reliability.md has the
//! figures of a long run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails, in its own functions too"
)]

mod faults;
mod host;
mod ledger;
mod producer;
mod scene;

use std::time::Duration;

use bulkhead_stage::{Persistence, setting};
use scene::Scene;

fn faulty_time() -> Duration {
    Duration::from_secs(setting("BULKHEAD_CHAOS_SECONDS").unwrap_or(8))
}

#[test]
fn nothing_is_lost_where_every_write_is_on_disk() {
    if host::is_child() {
        return host::run();
    }
    let name = "nothing_is_lost_where_every_write_is_on_disk";
    let figures = Scene::play(name, Persistence::Always, faulty_time());
    println!("{figures}");
    assert_eq!(figures.lost, 0);
    assert_eq!(figures.repeated_attempts, 0, "one attempt had two effects");
}

/// Redis answers before it writes, writes before it syncs, and syncs once a second if the disk
/// keeps up. What it had not synced is gone with the power, and nothing else.
#[test]
fn only_what_was_not_synced_is_lost_where_writes_are_synced_each_second() {
    if host::is_child() {
        return host::run();
    }
    let name = "only_what_was_not_synced_is_lost_where_writes_are_synced_each_second";
    let figures = Scene::play(name, Persistence::EverySecond, faulty_time());
    println!("{figures}");
    assert_eq!(figures.lost_though_synced, 0);
    assert!(!figures.unsynced.is_empty(), "a loss of power took something");
}
