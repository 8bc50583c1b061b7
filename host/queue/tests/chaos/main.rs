//! Real processes, real faults, and a ledger.
//!
//! Hosts are child processes: this test runs itself again, and a child finds its orders in
//! the folder that it works in. They talk to a Redis server through proxies of their own
//! while they are killed, paused and cut off, the server is killed and starts again, and its
//! scripts are flushed. At the end every accepted task must have ended, and the ledger of
//! side effects must hold nothing that at-least-once does not allow.
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

/// The server's machine crashes: what it wrote in the last second is gone from the disk.
#[test]
fn at_most_the_last_second_is_lost_where_writes_are_on_disk_each_second() {
    if host::is_child() {
        return host::run();
    }
    let name = "at_most_the_last_second_is_lost_where_writes_are_on_disk_each_second";
    let figures = Scene::play(name, Persistence::EverySecond, faulty_time());
    println!("{figures}");
    assert_eq!(figures.lost_without_reason, 0);
}
