//! What a running host says of itself, so that people can see it from anywhere.

use bulkhead_core::{Digest, UnixMs, Verdict};
use serde::{Deserialize, Serialize};

/// A running host. It is announced every few seconds and forgotten when it stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostInfo {
    /// Its name. Hosts of the same name are listed as one.
    pub name: String,
    /// The version of Bulkhead that it runs; empty if it is one that did not say so yet.
    #[serde(default)]
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started_at: UnixMs,
    /// When it said this.
    pub seen_at: UnixMs,
    /// Attempts it may run at once.
    pub concurrency: u32,
    /// Attempts it runs now.
    pub in_flight: u32,
    /// How its memory stands, if it is bounded.
    pub memory: Option<HostMemory>,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// The plugins it knows.
    pub plugins: Vec<PluginInfo>,
    /// How often it has looked through its plugin folder.
    pub rescans: u64,
    /// The layers of protection around its worker processes; empty where guests run on its
    /// threads.
    #[serde(default)]
    pub isolation: Vec<String>,
    /// Whether it takes plugins that were pushed.
    #[serde(default)]
    pub fleet: bool,
    /// How its concurrency follows its load, if it does.
    #[serde(default)]
    pub scaling: Option<HostScaling>,
    /// Whether it was told to stop: it claims nothing more, and ends with what it runs.
    #[serde(default)]
    pub draining: bool,
    /// Why it takes on no more work; empty while it does.
    #[serde(default)]
    pub refusing: Vec<String>,
    /// What it counted of the task types that it ran, at most [`HostInfo::TYPES`].
    #[serde(default)]
    pub types: Vec<TypeFigures>,
    /// Whose attempts it runs, most first, at most [`HostInfo::TENANTS`].
    #[serde(default)]
    pub tenants: Vec<TenantLoad>,
    /// How fast tasks went in the minute before it said this.
    #[serde(default)]
    pub latency: HostLatency,
}

/// How fast tasks went on a host in a minute, over all its queues and types. What several hosts
/// counted adds up to what they came to together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostLatency {
    /// How many first attempts began so long after their tasks could: in the bucket of each of
    /// [`TIMES_MS`](crate::TIMES_MS), and beyond the last. Empty if there never was one.
    pub pick_up: Vec<u64>,
    /// How many attempts ran so long: in the bucket of each of [`TIMES_US`](crate::TIMES_US), and
    /// beyond the last. Empty if there never was one.
    pub run: Vec<u64>,
}

/// What a host counted of one task type, over all its queues, since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TypeFigures {
    /// The type; `other` for those beyond what a host tells apart.
    pub task_type: String,
    /// Attempts that were settled; those that were given back are not among them.
    pub attempts: u64,
    /// Of which failed.
    pub failed: u64,
    /// Fuel that they used.
    pub fuel: u64,
    /// How many ran so long: in the bucket of each of [`TIMES_US`](crate::TIMES_US), and beyond
    /// the last.
    pub run: Vec<u64>,
}

/// How many attempts of one tenant a host runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TenantLoad {
    /// The tenant.
    pub tenant: String,
    /// Attempts that run.
    pub in_flight: u32,
}

/// How a host's concurrency follows its load.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostScaling {
    /// Fewest attempts at once.
    pub min: u32,
    /// Most attempts at once.
    pub max: u32,
    /// What it thought last, whether or not it changed anything.
    pub latest: Option<Verdict>,
    /// The last changes, newest first, at most [`HostScaling::CHANGES`].
    pub changes: Vec<ScalingChange>,
}

impl HostScaling {
    /// Changes that are told.
    pub const CHANGES: usize = 10;
}

/// A change of a host's concurrency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ScalingChange {
    /// When.
    pub at: UnixMs,
    /// From what to what, and why.
    pub verdict: Verdict,
    /// The same in words.
    pub explanation: String,
}

impl HostInfo {
    /// Task types that a host tells of.
    pub const TYPES: usize = 101;
    /// Tenants that a host tells of.
    pub const TENANTS: usize = 100;

    /// What hosts serve of a plugin, if that is not the same everywhere: hosts by digest.
    pub fn mixed(hosts: &[Self], plugin: &str) -> Option<Vec<(Option<Digest>, Vec<String>)>> {
        let served = |host: &Self| {
            let info = host.plugins.iter().find(|info| info.name == plugin);
            info.and_then(|info| info.serving.as_ref()).map(|serving| serving.digest)
        };
        let by_fleet = hosts.iter().flat_map(|host| &host.plugins);
        let by_fleet = by_fleet.filter(|info| info.name == plugin).any(|info| info.by_fleet);
        let mut found: Vec<(Option<Digest>, Vec<String>)> = Vec::new();
        for host in hosts {
            let digest = served(host);
            // A file that one folder has and another has not is meant so.
            if digest.is_none() && !(by_fleet && host.fleet) {
                continue;
            }
            match found.iter_mut().find(|(known, _)| *known == digest) {
                Some((_, names)) => names.push(host.name.clone()),
                None => found.push((digest, vec![host.name.clone()])),
            }
        }
        (found.len() > 1).then_some(found)
    }
}

/// How a host's memory stands. All in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostMemory {
    /// What it may have resident.
    pub ceiling_bytes: u64,
    /// What of it plugins and attempts may hold.
    pub budget_bytes: u64,
    /// What they hold: the most that they can come to.
    pub held_bytes: u64,
    /// Attempts, and plugins to be loaded, that wait for room.
    pub waiting: u32,
}

/// A plugin as a host sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PluginInfo {
    /// The file's stem; a tenant's plugin as `OWNER/STEM`.
    pub name: String,
    /// The tenant that brought it; none for the operator's.
    pub owner: Option<String>,
    /// The version that serves tasks, if any.
    pub serving: Option<ServingVersion>,
    /// Why the newest file is not the one that serves, if it is not.
    pub rejected: Option<RejectedVersion>,
    /// Whether the version that serves was pushed. A file of the same name does not count then.
    #[serde(default)]
    pub by_fleet: bool,
    /// Whether there is such a file.
    #[serde(default)]
    pub shadowed: bool,
    /// Of the versions that were pushed, the newest and the active one.
    #[serde(default)]
    pub pushed: Vec<PushedVersion>,
}

/// A pushed version as a host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PushedVersion {
    /// sha256 of its bytes, as text.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// What the host has done with it.
    pub state: PushedState,
    /// The gate that it failed, if it did.
    pub gate: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub at: UnixMs,
}

/// What a host has done with a pushed version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PushedState {
    /// It is being fetched, or is on its way through the gates.
    Loading,
    /// It has passed the gates.
    Ready,
    /// It serves tasks.
    Serving,
    /// A canary: it serves a share of tasks, beside another version.
    Canary,
    /// It failed a gate.
    Rejected,
}

/// A plugin version that serves tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ServingVersion {
    /// The version the plugin gives itself.
    pub version: String,
    /// sha256 of its bytes, as text.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// `component`, `command` or `adapted`.
    pub kind: String,
    /// The task types it serves.
    pub task_types: Vec<String>,
    /// Whose tasks it serves, as far as no other comes before it: tenants, or `*` for all.
    pub tenants: Vec<String>,
    /// Why it does not serve somebody with whom it is shared.
    pub contested: Vec<String>,
    /// When it was loaded.
    pub loaded_at: UnixMs,
    /// Attempts that ended on it by their handlers' doing, since it was loaded.
    #[serde(default)]
    pub attempts: u64,
    /// Of which failed.
    #[serde(default)]
    pub failed: u64,
}

/// A plugin file that failed a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RejectedVersion {
    /// sha256 of its bytes, as text.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// The gate it failed.
    pub gate: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: UnixMs,
}

mod digest_text {
    use bulkhead_core::Digest;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
