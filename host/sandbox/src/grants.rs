//! What the operator lets a plugin touch: plain data, checked by whoever made it.
//!
//! Granted is what the plugin asks for and the operator allows; `capability` puts the two
//! together. Quotas are ceilings for each attempt unless they say otherwise.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bulkhead_core::outbound::{AllowList, Reach};
use bulkhead_core::{QueueName, TaskType};
use serde::{Deserialize, Serialize};

/// What the operator lets a plugin touch. The default is nothing, with exact clocks and the
/// system's randomness.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Grants {
    /// A store of small values.
    pub kv: Option<KvGrant>,
    /// Outbound requests.
    pub http: Option<HttpGrant>,
    /// Folders.
    pub fs: Option<FsGrant>,
    /// Values of the configuration.
    pub config: bool,
    /// The secrets that it may read, by name.
    pub secrets: BTreeSet<String>,
    /// Submitting tasks.
    pub enqueue: Option<EnqueueGrant>,
    /// What its clocks show.
    pub clocks: Clocks,
    /// What its randomness is.
    pub random: Randomness,
}

/// Quotas of `kv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvGrant {
    /// Keys of the plugin and a tenant together.
    pub keys: u64,
    /// Bytes of one value.
    pub value_bytes: u64,
    /// Bytes of all keys and values of the plugin and a tenant together.
    pub total_bytes: u64,
    /// Calls of one attempt.
    pub operations: u32,
}

impl Default for KvGrant {
    fn default() -> Self {
        Self { keys: 10_000, value_bytes: 64 << 10, total_bytes: 16 << 20, operations: 1_000 }
    }
}

/// Rules and quotas of `http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGrant {
    /// The requests that are allowed.
    pub allow: AllowList,
    /// Which addresses that are not public may be reached.
    pub reach: Reach,
    /// Requests of one attempt.
    pub requests: u32,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long the first byte of the answer may take.
    pub first_byte_timeout: Duration,
    /// How long the next bytes of the answer may take.
    pub between_bytes_timeout: Duration,
    /// Bytes of one request's body.
    pub request_body_bytes: u64,
    /// Bytes of one answer's body.
    pub response_body_bytes: u64,
    /// Bytes of all headers of one request, and of one answer.
    pub header_bytes: u64,
    /// Connections of a tenant at one time on a host.
    pub connections: u32,
    /// Certificates to trust in place of the system's, as a PEM file. A worker process is not
    /// told.
    #[serde(skip)]
    pub ca_file: Option<PathBuf>,
}

impl Default for HttpGrant {
    fn default() -> Self {
        Self {
            allow: AllowList::default(),
            reach: Reach::default(),
            requests: 50,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(30),
            between_bytes_timeout: Duration::from_secs(30),
            request_body_bytes: 8 << 20,
            response_body_bytes: 32 << 20,
            header_bytes: 64 << 10,
            connections: 32,
            ca_file: None,
        }
    }
}

/// Folders and quotas of `fs`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FsGrant {
    /// The attempt's own folder, if it has one.
    pub scratch: Option<FolderQuota>,
    /// Folders of the host.
    pub dirs: Vec<FolderGrant>,
}

impl FsGrant {
    /// Whether it names no folder.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scratch.is_none() && self.dirs.is_empty()
    }
}

/// A folder of the host that a guest sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderGrant {
    /// Where it is on the host. A worker process is not told.
    #[serde(skip)]
    pub host: PathBuf,
    /// Where the guest sees it.
    pub guest: String,
    /// What an attempt may write there; none if it may only read.
    pub write: Option<FolderQuota>,
}

/// What one attempt may write in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderQuota {
    /// Bytes.
    pub bytes: u64,
    /// Files and folders.
    pub files: u64,
}

impl FolderQuota {
    /// Files and folders unless the operator says otherwise.
    pub const DEFAULT_FILES: u64 = 1_000;
}

/// Names that a grant allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Ord + Deserialize<'de>"))]
pub enum Named<T> {
    /// Every name.
    Any,
    /// These.
    Only(BTreeSet<T>),
}

impl<T: Ord> Named<T> {
    /// Whether it allows a name.
    #[must_use]
    pub fn allows(&self, name: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// Rules and quotas of `enqueue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnqueueGrant {
    /// The types that may be submitted.
    pub types: Named<TaskType>,
    /// The queues that they may be submitted to, besides the task's own.
    pub queues: Named<QueueName>,
    /// Tasks of one attempt.
    pub per_attempt: u32,
    /// Bytes of all their payloads and metadata together.
    pub bytes: u64,
    /// Generations: a task submitted from outside has depth 0.
    pub depth: u32,
}

impl Default for EnqueueGrant {
    fn default() -> Self {
        Self {
            types: Named::Only(BTreeSet::new()),
            queues: Named::Only(BTreeSet::new()),
            per_attempt: 100,
            bytes: 8 << 20,
            depth: 5,
        }
    }
}

/// What a guest's clocks show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Clocks {
    /// The time.
    #[default]
    Exact,
    /// The time, rounded down to 10 ms; waits end on that grid too.
    Coarse,
    /// Always the same: the task's submission, and 0.
    Frozen,
}

impl Clocks {
    /// How it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Coarse => "coarse",
            Self::Frozen => "frozen",
        }
    }
}

/// What a guest's randomness is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Randomness {
    /// The system's.
    #[default]
    System,
    /// Derived from the task's id.
    Seeded,
}

impl Randomness {
    /// How it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Seeded => "seeded",
        }
    }
}
