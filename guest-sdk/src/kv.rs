//! Small values that outlive the attempt, of this plugin and the task's tenant.
//!
//! What one attempt writes, later attempts for the same tenant find, on whatever host. Writes
//! are made when they are called, whatever the attempt comes to; attempts run at least once, so
//! write such that twice is as once, or use [`compare_and_set`]. Needs the grant `kv`.
//!
//! ```
//! use bulkhead_guest::prelude::*;
//! use bulkhead_guest::kv;
//!
//! /// Numbers invoices, each once.
//! #[handler]
//! fn number(invoice: String, task: &Task) -> Result<i64, Failure> {
//!     let mine = format!("number/{}", task.id);
//!     if let Some(entry) = kv::get(&mine)? {
//!         return entry.json();
//!     }
//!     let number = kv::increment("invoices", 1)?;
//!     kv::set(&mine, number.to_string())?;
//!     log::info!(invoice, number; "numbered");
//!     Ok(number)
//! }
//!
//! # use bulkhead_guest::testing::{self, Attempt};
//! let store = testing::Kv::new();
//! let attempt = || Attempt::new(Payload::text("R-1")).kv(&store);
//! assert_eq!(testing::run::<number>(attempt()).json(), Ok(1));
//! assert_eq!(testing::run::<number>(attempt()).json(), Ok(1), "the same task again");
//! assert_eq!(testing::run::<number>(attempt().id("another")).json(), Ok(2));
//! ```

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::{Failure, host};

/// Keys that are asked for at one time.
const PAGE: u32 = 1_000;

/// Why a call was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A key or a time makes no sense, or what is stored is no number.
    Invalid(String),
    /// The value is larger than the grant allows.
    TooLarge {
        /// What it allows.
        max_bytes: u64,
    },
    /// A quota of the grant or of the tenant is used up.
    Quota(String),
    /// The store does not answer. A write may have been made.
    Unavailable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => write!(f, "kv: {why}"),
            Self::TooLarge { max_bytes } => {
                write!(f, "kv: the value is larger than the {max_bytes} bytes that are granted")
            }
            Self::Quota(which) => write!(f, "kv: {which}"),
            Self::Unavailable(why) => write!(f, "kv is not available: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// What is stored under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Vec<u8>,
    /// Grows with every write of the key.
    pub version: u64,
    /// How long it stays yet; none if it stays for good.
    pub ttl: Option<Duration>,
}

impl Entry {
    /// The value as text; a permanent failure if it is none.
    pub fn text(self) -> Result<String, Failure> {
        String::from_utf8(self.value)
            .map_err(|_| Failure::permanent("what is stored is no UTF-8 text"))
    }

    /// The value read as JSON; a permanent failure if it is none.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.value).map_err(|error| {
            Failure::permanent(format!("what is stored is not the JSON that is wanted: {error}"))
        })
    }
}

/// Some of the keys with a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The keys, in the order of their bytes.
    pub keys: Vec<String>,
    /// What to begin after for those that follow; none if there are none.
    pub next: Option<String>,
}

/// What is stored under a key, if anything is.
pub fn get(key: &str) -> Result<Option<Entry>, Error> {
    host::kv_get(key)
}

/// Store a value for good; its version.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<u64, Error> {
    host::kv_set(key, value.as_ref(), None)
}

/// Store a value for a time, from 1 ms to 366 days; its version.
pub fn set_for(key: &str, value: impl AsRef<[u8]>, ttl: Duration) -> Result<u64, Error> {
    host::kv_set(key, value.as_ref(), Some(millis(ttl)))
}

/// Remove a key; whether it was there.
pub fn delete(key: &str) -> Result<bool, Error> {
    host::kv_delete(key)
}

/// Add to the number under a key, 0 if there is none; the sum. Its time to live stays.
pub fn increment(key: &str, by: i64) -> Result<i64, Error> {
    host::kv_increment(key, by, None)
}

/// Add to the number under a key, and let it stay for a time from now; the sum.
pub fn increment_for(key: &str, by: i64, ttl: Duration) -> Result<i64, Error> {
    host::kv_increment(key, by, Some(millis(ttl)))
}

/// Store a value for good if the key's version is `expected`, or if there is no such key where
/// that is none; the new version, or none if it was not so.
pub fn compare_and_set(
    key: &str,
    expected: Option<u64>,
    value: impl AsRef<[u8]>,
) -> Result<Option<u64>, Error> {
    host::kv_compare_and_set(key, expected, value.as_ref(), None)
}

/// [`compare_and_set`] for a time.
pub fn compare_and_set_for(
    key: &str,
    expected: Option<u64>,
    value: impl AsRef<[u8]>,
    ttl: Duration,
) -> Result<Option<u64>, Error> {
    host::kv_compare_and_set(key, expected, value.as_ref(), Some(millis(ttl)))
}

/// Keys with a prefix that come after `after`, at most `limit` of them and at most 1,000.
pub fn list(prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, Error> {
    host::kv_list(prefix, after, limit)
}

/// All keys with a prefix, in the order of their bytes. A call to the host for each 1,000.
pub fn keys(prefix: &str) -> Keys {
    let prefix = prefix.to_owned();
    Keys { prefix, page: Vec::new().into_iter(), next: Some(None) }
}

/// See [`keys`]. It ends after an error.
#[derive(Debug)]
pub struct Keys {
    prefix: String,
    page: std::vec::IntoIter<String>,
    /// Where the next page begins, if there is one.
    next: Option<Option<String>>,
}

impl Iterator for Keys {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            let after = self.next.take()?;
            match list(&self.prefix, after.as_deref(), PAGE) {
                Ok(Page { keys, next }) => {
                    self.page = keys.into_iter();
                    self.next = next.map(Some);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Whole milliseconds, rounded up so that a time is never none.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
