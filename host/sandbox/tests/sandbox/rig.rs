//! What the tests share: one sandbox, its loaded guests, and attempts at them.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bulkhead_core::{
    Failure, FailureKind, Limits, LimitsRequest, Outcome, Payload, Priority, QueueName, Task,
    TaskId, TaskType, TenantName, UnixMs,
};
use bulkhead_sandbox::{
    Attempt, AttemptEnd, Cancel, CapabilitySet, Grants, Manifest, Plugin, PluginSource, Rejection,
    Sandbox, SandboxConfig, Services,
};
use tokio::sync::OnceCell;
use uuid::Uuid;

static SANDBOX: OnceCell<Sandbox> = OnceCell::const_new();
static OFFERING: OnceCell<Sandbox> = OnceCell::const_new();
static UNRULY: OnceCell<Plugin> = OnceCell::const_new();
static COMMAND: OnceCell<Plugin> = OnceCell::const_new();

/// The bytes of a guest from `tests/guests`.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let path = target.join(format!("wasm32-wasip2/guest/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; run `cargo xtask guests` to build the guests", path.display())
    })
}

/// The sandbox that tests share unless they need one of their own.
pub(crate) async fn sandbox() -> &'static Sandbox {
    SANDBOX.get_or_init(async || Sandbox::new(SandboxConfig::default()).unwrap()).await
}

/// A sandbox that offers the capabilities which need no world outside.
pub(crate) async fn offering() -> &'static Sandbox {
    let offers = CapabilitySet { http: false, fs: false, ..CapabilitySet::ALL };
    let config = SandboxConfig { offers, ..SandboxConfig::default() };
    OFFERING.get_or_init(async || Sandbox::new(config).unwrap()).await
}

/// The guest with a handler for every misbehaviour.
pub(crate) async fn unruly() -> &'static Plugin {
    UNRULY.get_or_init(async || load(sandbox().await, "unruly").await).await
}

/// The plain command.
pub(crate) async fn command() -> &'static Plugin {
    COMMAND.get_or_init(async || load(sandbox().await, "command").await).await
}

/// Load a guest that is known to be good.
pub(crate) async fn load(sandbox: &Sandbox, name: &str) -> Plugin {
    sandbox.load(source(name, guest(name))).await.unwrap()
}

/// Load bytes under the name `shape`.
pub(crate) async fn load_bytes(sandbox: &Sandbox, bytes: Vec<u8>) -> Result<Plugin, Rejection> {
    sandbox.load(source("shape", bytes)).await
}

pub(crate) fn source(name: &str, bytes: Vec<u8>) -> PluginSource {
    PluginSource { name: name.to_owned(), bytes, manifest: Manifest::default(), account: None }
}

/// A guest with a manifest that asks for these grants.
pub(crate) fn asking(name: &str, grants: Grants) -> PluginSource {
    let manifest = Manifest { grants, ..Manifest::default() };
    PluginSource { manifest, ..source(name, guest(name)) }
}

pub(crate) fn task_type(name: &str) -> TaskType {
    TaskType::new(name).unwrap()
}

pub(crate) fn now() -> UnixMs {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as UnixMs
}

pub(crate) fn task(name: &str, payload: &str) -> Task {
    Task {
        id: TaskId(Uuid::from_u128(7)),
        task_type: task_type(name),
        queue: QueueName::new("default").unwrap(),
        tenant: TenantName::new("acme").unwrap(),
        priority: Priority::NORMAL,
        payload: Payload::new(Payload::TEXT, payload),
        metadata: Vec::new(),
        trace: None,
        limits: LimitsRequest::default(),
        submitted_at: 0,
        terms: Default::default(),
    }
}

/// An attempt at `task` without a limit of its own.
pub(crate) fn attempt(task: &Task) -> Attempt<'_> {
    Attempt {
        task,
        attempt: 1,
        max_attempts: 5,
        deadline_at: UnixMs::MAX,
        limits: Limits::default(),
        cancel: Cancel::new(),
        progress: None,
        parents: None,
        services: Services::default(),
    }
}

/// One attempt of `plugin` at a task type with a payload, under `limits`.
pub(crate) async fn run(plugin: &Plugin, name: &str, payload: &str, limits: Limits) -> AttemptEnd {
    let task = task(name, payload);
    plugin.attempt(Attempt { limits, ..attempt(&task) }).await.unwrap()
}

/// The text that an attempt returned.
#[track_caller]
pub(crate) fn done(end: &AttemptEnd) -> &str {
    match &end.outcome {
        Outcome::Done(output) => std::str::from_utf8(&output.data).unwrap(),
        Outcome::Failed(failure) => panic!("{failure:?}, logs: {:?}", end.logs),
    }
}

/// The failure of `kind` that an attempt came to.
#[track_caller]
pub(crate) fn failed(end: &AttemptEnd, kind: FailureKind) -> &Failure {
    match &end.outcome {
        Outcome::Failed(failure) if failure.kind == kind => failure,
        other => panic!("{kind} was expected: {other:?}, logs: {:?}", end.logs),
    }
}
