//! What the Redis broker does beyond the plain way of a task: terms, limits, links between
//! tasks, schedules, and repair. Each test has a server of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod ahead;
mod limits;
mod links;
mod repair;
mod schedules;
mod soak;
mod stage;
mod terms;
