//! How a task's record is written.
//!
//! A record is a sequence of MessagePack values: a head that scripts read
//! `[version, type, tenant, priority]`, the envelope, and one entry per event since.
//! It only grows at its end. Whatever else the bytes hold, decoding is bounded in
//! size and depth and gives an [`Unreadable`], never a panic. `docs/redis.md`
//! describes the format for producers in other languages.

mod read;
mod shape;
#[cfg(test)]
mod tests;
mod write;

use serde::{Deserialize, Serialize};

pub(crate) use read::{decode, decode_entry, edit};
pub(crate) use write::{encode_entry, encode_made, encode_pieces, encode_task};

/// The version of the record format.
const VERSION: u8 = 1;
/// Deepest nesting that decoding follows; the format needs 8.
const MAX_DEPTH: usize = 32;
/// Most entries that decoding reads.
const MAX_ENTRIES: usize = 10_000;
/// Largest record that is decoded, in bytes.
pub(crate) const MAX_RECORD_BYTES: usize = 256 << 20;

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the stored record cannot be read: {reason}")]
pub struct Unreadable {
    /// What is wrong with it.
    pub reason: String,
    /// The record's bytes, at most 64 KiB of them.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// The longest time that scripts reckon with, in milliseconds: about 9,000 years. Lua's
/// numbers are exact up to 2^53, and Redis refuses an expiry beyond its own range in the
/// middle of a script.
pub(crate) const FOREVER_MS: u64 = 1 << 48;

/// A time or a span as scripts can reckon with it.
pub(crate) fn reckonable(ms: u64) -> u64 {
    ms.min(FOREVER_MS)
}
