//! The sandbox as a host uses it: real guests in, outcomes out. The guests are those
//! of `tests/guests`; shapes that Rust cannot make are written as text here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod batches;
mod cached;
mod commands;
mod determinism;
mod folders;
mod gates;
mod granted;
mod hostile;
mod http;
mod http_bounds;
mod isolation;
mod limits;
mod logs;
mod modules;
mod outcomes;
mod parents;
mod processes;
mod rig;
mod shapes;
mod stores;
mod time;
mod web;
mod worker;
