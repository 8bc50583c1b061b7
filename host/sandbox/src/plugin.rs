//! A loaded plugin: one version of one component file, linked and ready for attempts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{Digest, Limits, LimitsRequest, RetryRequest, TaskType};

use crate::account::Account;
use crate::batch::shared;
use crate::budget::Standing;
use crate::capability::CapabilitySet;
use crate::command::CommandProgram;
use crate::grants::Grants;
use crate::handler::HandlerProgram;
use crate::need::{Granted, need_bytes};
use crate::sandbox::Sandbox;
use crate::worker::Elsewhere;

/// A component file that wants to become a [`Plugin`].
#[derive(Debug, Clone)]
pub struct PluginSource {
    /// The plugin's name, which is the file's stem.
    pub name: String,
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// What the operator says about it.
    pub manifest: Manifest,
    /// The tenant whose plugin it is; none for the operator's.
    pub account: Option<Account>,
}

/// What the operator says about a plugin. Without one, the plugin's own description
/// holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// The task types to serve. Of a plugin that describes itself, these must be among
    /// the described ones; a plain command serves exactly these, or its own name.
    pub task_types: Option<Vec<TaskType>>,
    /// Limits that lower the host's ceilings.
    pub limits: LimitsRequest,
    /// What holds for the retries of all its task types; what it does not name is as the
    /// plugin suggests.
    pub retry: Option<RetryRequest>,
    /// What it may touch, if it asks for it.
    pub grants: Grants,
    /// How many attempts of this plugin may run at one time. The sandbox only keeps it.
    pub instances: Option<u32>,
    /// How many tasks one call may take at most; 1 means no batches.
    pub max_batch: Option<u32>,
}

/// What kind of file a plugin came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginKind {
    /// A component that exports the handler world.
    Component,
    /// A component that exports `wasi:cli/run`.
    Command,
    /// A core module for WASI preview 1 that was adapted to one of the above.
    Adapted,
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Component => "component",
            Self::Command => "command",
            Self::Adapted => "adapted",
        })
    }
}

/// What a plugin handles, the manifest applied.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginDescription {
    /// The plugin's own name for itself, for people.
    pub name: String,
    /// The plugin's own version, for people.
    pub version: String,
    /// The task types it serves; at least one, no two alike.
    pub handlers: Vec<HandlerDescription>,
}

/// One task type that a plugin serves.
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerDescription {
    /// Its name.
    pub task_type: TaskType,
    /// What it does, for people. Guest text: escape it before showing it.
    pub description: String,
    /// JSON Schema of the payload, as JSON text.
    pub input_schema: Option<String>,
    /// The stricter of the manifest's limits and the plugin's own suggestion.
    pub limits: LimitsRequest,
    /// What the manifest asks of the retries, completed by the plugin's own suggestion.
    pub retry: Option<RetryRequest>,
    /// How many tasks one call may take, the lower of the manifest's and the plugin's own;
    /// 1 where it takes no batches.
    pub max_batch: u32,
}

/// One version of a plugin, ready for attempts. Share it in an `Arc`: attempts in
/// flight keep the version they started with.
pub struct Plugin {
    pub(crate) sandbox: Sandbox,
    pub(crate) program: Program,
    pub(crate) name: Arc<str>,
    pub(crate) digest: Digest,
    pub(crate) kind: PluginKind,
    pub(crate) asked: Vec<String>,
    pub(crate) uses: CapabilitySet,
    pub(crate) grants: Arc<Grants>,
    pub(crate) description: PluginDescription,
    pub(crate) manifest: Manifest,
    pub(crate) load_times: LoadTimes,
    pub(crate) granted: Granted,
    pub(crate) most_bytes: u64,
    /// What it holds of the host's memory while it is loaded.
    pub(crate) _standing: Option<Standing>,
}

/// How an attempt enters the plugin.
pub(crate) enum Program {
    Handler(HandlerProgram),
    Command(CommandProgram),
    /// In worker processes.
    Elsewhere(Arc<Elsewhere>),
}

/// How long loading a plugin took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadTimes {
    /// Checking and compiling it, or finding it compiled.
    pub compile: Duration,
    /// Whether it was found compiled, in the cache.
    pub cached: bool,
    /// Instantiating it and letting it describe itself.
    pub describe: Duration,
}

impl Plugin {
    /// The plugin's name: its file's stem.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sha256 of the file's bytes: the name of this version.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What kind of file it came from.
    #[must_use]
    pub fn kind(&self) -> PluginKind {
        self.kind
    }

    /// The interfaces that it imports; it is linked to these and no others.
    #[must_use]
    pub fn asked(&self) -> &[String] {
        &self.asked
    }

    /// The capabilities that it uses by grants: those for which an attempt needs
    /// [`crate::Services`], or may have children.
    #[must_use]
    pub fn uses(&self) -> CapabilitySet {
        self.uses
    }

    /// What it handles, the manifest applied.
    #[must_use]
    pub fn description(&self) -> &PluginDescription {
        &self.description
    }

    /// The manifest that it was loaded with.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How long loading it took.
    #[must_use]
    pub fn load_times(&self) -> LoadTimes {
        self.load_times
    }

    /// The handler of a task type, if it serves it.
    #[must_use]
    pub fn handler(&self, task_type: &TaskType) -> Option<&HandlerDescription> {
        self.description.handlers.iter().find(|handler| handler.task_type == *task_type)
    }

    /// The limits of an attempt at `task_type`: the host's ceilings, lowered by the
    /// plugin's and then by the task's own request.
    #[must_use]
    pub fn limits(&self, task_type: &TaskType, request: &LimitsRequest) -> Limits {
        let handler = self.handler(task_type).map(|handler| handler.limits).unwrap_or_default();
        self.sandbox.config().ceilings.lowered_by(&handler).lowered_by(request)
    }
}

impl Plugin {
    /// The most memory that attempts can come to hold, in bytes: one, or several in one call.
    /// Of each, its limits, as [`Plugin::limits`] gives them, and the bytes of its payload.
    #[must_use]
    pub fn need_bytes(&self, attempts: &[(Limits, u64)]) -> u64 {
        let own: Vec<Limits>;
        let shared = match attempts {
            [(limits, _)] => *limits,
            several => {
                own = several.iter().map(|(limits, _)| *limits).collect();
                shared(&own)
            }
        };
        let random_bytes = self.sandbox.config().random_bytes;
        need_bytes(&shared, attempts.iter().copied(), self.granted, random_bytes)
    }

    /// What one attempt of whichever of its types can come to hold at most, in bytes, with the
    /// largest payload that the host lets handlers submit.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        self.most_bytes
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({} {})", self.name, self.digest.short())
    }
}
