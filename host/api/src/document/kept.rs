//! Plugins that are kept for all hosts, as JSON documents.

use bulkhead_core::{Digest, LimitsRequest, RetryRequest, UnixMs};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A plugin that is kept for all hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeptPlugin {
    /// `NAME`, or `OWNER/NAME` if it is a tenant's.
    pub plugin: String,
    /// Its name.
    pub name: String,
    /// The tenant whose it is; none for the operator's.
    pub owner: Option<String>,
    /// sha256 of the version that all hosts are to serve; none if none was activated.
    #[serde(with = "some_digest_text")]
    #[schema(value_type = Option<String>)]
    pub active: Option<Digest>,
    /// Those that are kept, the newest last.
    pub versions: Vec<PluginVersion>,
    /// What was activated, the latest last.
    pub steps: Vec<PluginStep>,
}

/// A version that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PluginVersion {
    /// sha256 of the component.
    #[serde(with = "digest_text")]
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The version that it gives itself, if that is known.
    pub version: Option<String>,
    /// Bytes of the component.
    pub size_bytes: u64,
    /// Whether it has a manifest.
    pub has_manifest: bool,
    /// Whether it came with a signature. Whether that one is worth anything is each host's to say.
    pub is_signed: bool,
    /// When it was uploaded, by the broker's clock.
    pub pushed_at: UnixMs,
    /// By whom.
    pub pushed_by: String,
}

/// One time that a version was activated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PluginStep {
    /// sha256 of the version.
    #[serde(with = "digest_text")]
    #[schema(value_type = String)]
    pub digest: Digest,
    /// What it called itself.
    pub version: Option<String>,
    /// When.
    pub at: UnixMs,
    /// By whom.
    pub by: String,
    /// Whether this was to undo the step before.
    pub rollback: bool,
}

/// What a component asks for, and what it handles on the host that looked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginInspection)]
pub struct InspectionDocument {
    /// `NAME`, or `OWNER/NAME` if it is a tenant's.
    pub plugin: String,
    /// sha256 of the component.
    pub digest: String,
    /// The text of its manifest, if it came with one.
    pub manifest: Option<String>,
    /// What it asks for, has and misses.
    #[serde(flatten)]
    pub access: AccessDocument,
    /// What it says of itself; nothing if a gate refuses it, for then it is not asked.
    pub description: Option<DescriptionDocument>,
    /// The gate that refuses it on this host, and why.
    pub refused: Option<RefusedDocument>,
}

/// Why a component is not let in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginRefusal)]
pub struct RefusedDocument {
    /// The gate.
    pub gate: String,
    /// Why.
    pub reason: String,
}

/// What a component says of itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginDescription)]
pub struct DescriptionDocument {
    /// Its own name for itself.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// `component`, `command` or `adapted`.
    pub kind: String,
    /// How long compiling it took, in milliseconds, or finding it compiled.
    pub compile_ms: u64,
    /// What it handles.
    pub handlers: Vec<HandlerDocument>,
}

/// What a component asks for, and by which grant it has it.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = PluginAccess)]
pub struct AccessDocument {
    /// The imports that it asks for.
    pub asked: Vec<String>,
    /// Those that it has.
    pub granted: Vec<GrantedDocument>,
    /// Those that it misses.
    pub missing: Vec<MissingDocument>,
}

/// An import that is granted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginGranted)]
pub struct GrantedDocument {
    /// The import.
    pub import: String,
    /// The grant by which it has it; none where it needs none.
    pub grant: Option<String>,
}

/// An import that is not granted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginMissing)]
pub struct MissingDocument {
    /// The import.
    pub import: String,
    /// Why it has it not.
    pub reason: String,
    /// The line under `[grants]` that would give it.
    pub line: Option<String>,
}

/// A task type that a component handles.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginHandler)]
pub struct HandlerDocument {
    /// The task type.
    #[serde(rename = "type")]
    pub task_type: String,
    /// What it does, in its own words.
    pub description: String,
    /// The stricter of the manifest's limits and its own; what is not named is the host's.
    pub limits: LimitsRequest,
    /// What it asks of retries; what is not named is the queue's.
    pub retry: Option<RetryRequest>,
    /// How many tasks one call takes.
    pub max_batch: u32,
    /// JSON Schema of its payloads.
    #[schema(value_type = Option<Value>)]
    pub input_schema: Option<Box<RawValue>>,
}

mod digest_text {
    use bulkhead_core::Digest;
    use serde::Serializer;

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }
}

mod some_digest_text {
    use bulkhead_core::Digest;
    use serde::{Serialize, Serializer};

    #[allow(clippy::ref_option, reason = "the form that serde asks for")]
    pub(super) fn serialize<S: Serializer>(of: &Option<Digest>, to: S) -> Result<S::Ok, S::Error> {
        of.as_ref().map(ToString::to_string).serialize(to)
    }
}
