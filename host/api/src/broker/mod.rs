//! The broker of a running host, for other processes.
//!
//! `POST /v1/broker/{operation}`: the body is the operation's arguments as one MessagePack
//! array, the answer what the broker answered; errors are problem documents. `subscribe`
//! answers with a stream of signals. The operations are listed once, in `operations`.
//!
//! Work is not handed out this way: claims belong to the process that has the broker.

mod client;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod operations;
mod server;

pub use client::RemoteBroker;
pub use server::router;

use std::time::Duration;

/// Longest request and answer, in bytes: as large as the largest record.
const MAX_BODY_BYTES: usize = 256 << 20;
/// Longest signal in a stream, in bytes.
const MAX_SIGNAL_BYTES: usize = 4 << 10;
/// The longest that one request waits for news; a client asks again.
const MAX_WAIT: Duration = Duration::from_secs(20);
