//! Small values that plugins keep between attempts.
//!
//! A space belongs to one plugin and one tenant, and nothing in it can be reached by another's
//! name. Quotas come with each write, so that they are as they were granted last; the sums that
//! they bound are the broker's. `docs/capabilities.md` states what each operation means. Grants
//! and guests are not known here.

use bulkhead_core::{PluginId, TenantName};
use serde::{Deserialize, Serialize};

use crate::error::QueueError;

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 512;
/// Most keys of one page.
const MAX_PAGE: u32 = 1_000;
/// Expired values that every write sweeps at most, of the tenant's.
pub(crate) const SWEPT_BY_EACH: usize = 100;
/// Expired values that a write sweeps besides, at most, before it is refused for a quota.
pub(crate) const SWEPT_FOR_ROOM: usize = 900;

/// Whose values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KvOwner {
    /// The tenant.
    pub tenant: TenantName,
    /// The plugin that keeps them for it.
    pub plugin: PluginId,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Grows with every write of the key, over removals too.
    pub version: u64,
    /// Milliseconds until it goes; none if it stays.
    pub ttl_ms: Option<u64>,
}

/// Which keys to list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KvRange {
    /// What they begin with.
    pub prefix: String,
    /// What they come after.
    pub after: Option<String>,
    /// How many at most: from 1 to 1,000, whatever is asked for.
    pub limit: u32,
}

/// Some of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KvPage {
    /// The keys, in the order of their bytes.
    pub keys: Vec<String>,
    /// Whether there are more.
    pub more: bool,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvWrite {
    /// The key, 1 to 512 bytes.
    pub key: String,
    /// What is done to it.
    pub edit: KvEdit,
    /// How long it stays, in milliseconds. Without it a stored value stays for good, and a sum
    /// as long as its number did.
    pub ttl_ms: Option<u64>,
    /// What it must stay within.
    pub quota: KvQuota,
}

/// What is done to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvEdit {
    /// Store these bytes.
    Set(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Store the bytes if the key's version is this, or if there is no such key.
    Swap {
        /// The version; none for no such key.
        expected: Option<u64>,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
    },
    /// Add to the number; a missing key is 0.
    Add(i64),
    /// Remove it. No quota stands against that.
    Delete,
}

/// What a write must stay within. One that takes no more room than what it replaces is never
/// refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvQuota {
    /// Keys of the plugin and the tenant.
    pub keys: u64,
    /// Bytes of keys and values of the plugin and the tenant.
    pub total_bytes: u64,
    /// Bytes of keys and values of the tenant over all plugins, if that is bounded.
    pub storage_bytes: Option<u64>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvWritten {
    /// Stored under this version.
    Stored(u64),
    /// The sum that was stored.
    Sum(i64),
    /// Whether there was anything to remove.
    Deleted(bool),
    /// Nothing: the version was not the expected one.
    Unmatched,
    /// Nothing: what is stored is not the decimal text of a whole number of 64 bits.
    NotANumber,
    /// Nothing: the sum is beyond 64 bits.
    BeyondRange,
    /// Nothing: it would be over this quota.
    Over(KvBound),
}

/// A quota that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvBound {
    /// [`KvQuota::keys`].
    Keys,
    /// [`KvQuota::total_bytes`].
    Total,
    /// [`KvQuota::storage_bytes`].
    Storage,
}

/// What is kept, expired values that were not swept yet included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KvUsage {
    /// Keys of the plugin and the tenant.
    pub keys: u64,
    /// Bytes of these keys and their values.
    pub bytes: u64,
    /// Bytes of the tenant's keys and values over all plugins.
    pub tenant_bytes: u64,
}

impl KvRange {
    /// How many keys a page of it may have.
    pub(crate) fn page(&self) -> usize {
        self.limit.clamp(1, MAX_PAGE) as usize
    }
}

impl KvWrite {
    /// Refuse a key that no broker keeps.
    pub(crate) fn check(&self) -> Result<(), QueueError> {
        match self.key.len() {
            1..=MAX_KEY_BYTES => Ok(()),
            bytes => Err(QueueError::Refused(format!(
                "the key of a value has {bytes} bytes; use 1 to {MAX_KEY_BYTES}"
            ))),
        }
    }
}
