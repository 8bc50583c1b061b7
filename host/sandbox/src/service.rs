//! What stands behind the capabilities: the host's side of each, as the sandbox needs it.
//!
//! A service is bound to one plugin and one tenant by whoever makes it, so that nothing here
//! can ask for another's. Quotas of one attempt are kept by the sandbox; what is bounded over
//! attempts is kept by the service. Texts of errors are shown to the guest: they name no
//! address and no key of the host.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use serde::{Deserialize, Serialize};

use crate::secret::SecretValue;
use crate::{HttpAccess, ScratchHome};

/// What one attempt may be given. What is absent is `unavailable` to the guest.
#[derive(Clone, Default)]
pub struct Services {
    /// Behind `kv`.
    pub kv: Option<Arc<dyn KvSpace>>,
    /// Behind `config`.
    pub config: Option<Arc<dyn ConfigSource>>,
    /// Behind `secrets`.
    pub secrets: Option<Arc<dyn SecretSource>>,
    /// Behind `http`.
    pub http: Option<HttpAccess>,
    /// Where `fs` makes scratch folders.
    pub scratch: Option<ScratchHome>,
    /// Told of calls to `http`, `fs` and `enqueue`. Those to the others are calls of the services
    /// above, which know of them.
    pub calls: Option<Arc<dyn CallObserver>>,
}

/// Told of guests' calls to what they were granted, as they end. In a worker process nobody is:
/// there the host sees what the process asks it for, and no more.
pub trait CallObserver: Send + Sync {
    /// A call ended.
    fn called(&self, call: &Call<'_>);
}

/// A guest's call to what it was granted.
#[derive(Debug)]
pub struct Call<'a> {
    /// The key of the grant.
    pub capability: &'static str,
    /// What was called; of `http` the method.
    pub operation: &'a str,
    /// Of `http`, scheme, host and port: paths, keys and names may hold secrets.
    pub target: Option<fmt::Arguments<'a>>,
    /// When it began.
    pub began: Instant,
    /// Whether it came to what the guest meant.
    pub succeeded: bool,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kv, config, secrets, http, scratch, calls } = self;
        f.debug_struct("Services")
            .field("kv", &kv.is_some())
            .field("config", &config.is_some())
            .field("secrets", &secrets.is_some())
            .field("http", &http.is_some())
            .field("scratch", &scratch.is_some())
            .field("calls", &calls.is_some())
            .finish()
    }
}

/// A value in a [`KvSpace`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Grows with every write of the key.
    pub version: u64,
    /// Milliseconds until it goes; none if it stays.
    pub ttl_ms: Option<u64>,
}

/// Some keys of a [`KvSpace`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KvPage {
    /// The keys, in the order of their bytes.
    pub keys: Vec<String>,
    /// Whether there are more.
    pub more: bool,
}

/// Why a [`KvSpace`] did not do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum KvError {
    /// What is stored is no number, or a sum is beyond 64 bits.
    #[error("{0}")]
    Invalid(String),
    /// `keys`, `total` or the tenant's storage is used up.
    #[error("{0}")]
    Quota(String),
    /// Nobody knows whether it was done.
    #[error("{0}")]
    Unavailable(String),
}

/// The values of one plugin and tenant. It keeps the grant's `keys` and `total` and the
/// tenant's storage, which it was made with. Keys, values and times that it is given were
/// checked; at most 1,000 keys are asked for at a time. A call that is dropped midway may have
/// been done.
#[async_trait]
pub trait KvSpace: Send + Sync {
    /// What is stored under a key.
    async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError>;

    /// Store a value; its version.
    async fn set(&self, key: &str, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<u64, KvError>;

    /// Remove a key; whether it was there.
    async fn delete(&self, key: &str) -> Result<bool, KvError>;

    /// Keys with a prefix after `after`.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<KvPage, KvError>;

    /// Add to the number under a key; the sum. Without `ttl_ms` its time to live stays.
    async fn increment(&self, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, KvError>;

    /// Store a value if the key's version is `expected`, or if there is no such key where that
    /// is none; the new version, or none if it was not so.
    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<Option<u64>, KvError>;
}

/// The operator's values for one plugin and tenant. It answers from memory.
pub trait ConfigSource: Send + Sync {
    /// The value of a key as it is now.
    fn get(&self, key: &str) -> Option<String>;
}

/// Why a [`SecretSource`] has no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SecretError {
    /// There is none of that name.
    #[error("there is no such secret")]
    Unknown,
    /// It cannot be read now.
    #[error("{0}")]
    Unavailable(String),
}

/// The operator's secrets for one plugin and tenant. It is asked only for names that were
/// granted; its values have at least 6 bytes.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// A secret's value as it is now.
    async fn get(&self, name: &str) -> Result<SecretValue, SecretError>;
}
