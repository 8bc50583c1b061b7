//! Workers that lie: what a guest could say that broke out, took over its process and speaks the
//! wire as well as anybody.
//!
//! The program of these workers is this file's own test binary. What the liar says is what the
//! task's payload asks for, so the sandbox, the plugin and everything on the host's side are the
//! real ones. A lie that no worker could mean costs the attempt and the worker; figures and texts
//! that could be meant are held to what is possible; and nobody else is harmed.

mod tongue;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bulkhead_core::outbound::{AllowList, Reach};
use bulkhead_core::{
    Digest, Failure, FailureKind, Limits, LimitsRequest, Outcome, Payload, Priority, Task, TaskId,
    TaskRef, UnixMs, child_id,
};
use uuid::Uuid;

use super::{Isolation, WorkerProcesses};
use crate::{
    Attempt, AttemptEnd, Cancel, CapabilitySet, ConfigSource, EnqueueGrant, FolderQuota, FsGrant,
    Grants, HttpGrant, KvGrant, Manifest, Named, Outbound, Plugin, PluginSource, Sandbox,
    SandboxConfig, ScratchHome, SecretError, SecretSource, SecretValue, Services, WorkerProgram,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The test that is the liars' program as well.
const PROGRAM: &str = "worker::liars::a_false_end_costs_the_attempt_and_the_worker";

const SECRET: &str = "s3cret-value";

/// The operator's values.
struct Values;

impl ConfigSource for Values {
    fn get(&self, _: &str) -> Option<String> {
        Some("x".repeat(60_000))
    }
}

#[async_trait]
impl SecretSource for Values {
    async fn get(&self, _: &str) -> Result<SecretValue, SecretError> {
        Ok(SecretValue::new(SECRET.to_owned()))
    }
}

fn sandbox() -> Sandbox {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", PROGRAM].map(str::to_owned).into();
    let processes = WorkerProcesses {
        program: WorkerProgram { program, arguments, environment: Vec::new() },
        most: 4,
        threads: 1,
        idle: Duration::from_secs(60),
        strict: false,
    };
    let config = SandboxConfig {
        concurrency: 4,
        isolation: Isolation::Process(processes),
        offers: CapabilitySet::ALL,
        ..SandboxConfig::default()
    };
    Sandbox::new(config).unwrap()
}

async fn load(sandbox: &Sandbox, name: &str, grants: Grants) -> Plugin {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../target/wasm32-wasip2/guest/{name}.wasm"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; run `cargo xtask guests` to build the guests", path.display())
    });
    let manifest = Manifest { grants, ..Manifest::default() };
    let source = PluginSource { name: name.to_owned(), bytes, manifest, account: None };
    sandbox.load(source).await.unwrap()
}

/// A plugin with a little of most.
async fn toucher(sandbox: &Sandbox) -> Plugin {
    let grants = Grants {
        kv: Some(KvGrant { operations: 2, value_bytes: 100, ..KvGrant::default() }),
        config: true,
        secrets: ["token".to_owned()].into(),
        enqueue: Some(EnqueueGrant {
            types: Named::Only(["thumbnail".parse().unwrap()].into()),
            per_attempt: 2,
            bytes: 1_000,
            depth: 3,
            ..EnqueueGrant::default()
        }),
        ..Grants::default()
    };
    load(sandbox, "toucher", grants).await
}

fn task(tenant: &str, lie: &str) -> Task {
    Task {
        id: TaskId(Uuid::from_u128(7)),
        task_type: "touch".parse().unwrap(),
        queue: "default".parse().unwrap(),
        tenant: tenant.parse().unwrap(),
        priority: Priority::NORMAL,
        payload: Payload::new(Payload::TEXT, lie),
        metadata: Vec::new(),
        trace: None,
        limits: LimitsRequest::default(),
        submitted_at: 0,
        terms: Default::default(),
    }
}

fn attempt(task: &Task) -> Attempt<'_> {
    Attempt {
        task,
        attempt: 1,
        max_attempts: 5,
        deadline_at: UnixMs::MAX,
        limits: Limits { result_bytes: 1_000, log_bytes: 1_000, ..Limits::default() },
        cancel: Cancel::new(),
        progress: None,
        parents: None,
        services: Services {
            config: Some(Arc::new(Values)),
            secrets: Some(Arc::new(Values)),
            ..Services::default()
        },
    }
}

async fn told(plugin: &Plugin, lie: &str) -> AttemptEnd {
    plugin.attempt(attempt(&task("acme", lie))).await.unwrap()
}

fn done(end: &AttemptEnd) -> &str {
    match &end.outcome {
        Outcome::Done(output) => std::str::from_utf8(&output.data).unwrap(),
        Outcome::Failed(failure) => panic!("{failure:?}"),
    }
}

fn failed(end: &AttemptEnd, kind: FailureKind) -> &Failure {
    match &end.outcome {
        Outcome::Failed(failure) if failure.kind == kind => failure,
        other => panic!("{kind} was expected: {other:?}"),
    }
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is said at the end of an attempt, and what is said of it.
const FALSE_ENDS: &[(&str, &str)] = &[
    ("end another's", "does not run"),
    ("no end", "0 ends for 1 tasks"),
    ("two ends in one", "2 ends for 1 tasks"),
    ("fall alone", "1 ends for 1 tasks"),
    ("output 1001", "an output of 1001 bytes"),
    ("long type", "an output of"),
    ("fail lease-lost", "a failure of the kind lease_lost"),
    ("fail no-handler", "a failure of the kind no_handler"),
    ("fail unreadable", "a failure of the kind unreadable"),
    ("fail cancelled", "a failure of the kind cancelled"),
    ("long failure", "a failure longer than any is"),
    ("many frames", "a failure longer than any is"),
    ("log much", "bytes of log"),
    ("log nothing often", "bytes of log"),
    ("log long", "longer than any is"),
    ("child other", "a child that is not allowed"),
    ("child elsewhere", "a child that is not allowed"),
    ("children 3", "a child that is not allowed"),
    ("child large", "a child that is not allowed"),
    ("child and fail", "children of an attempt that has none"),
];

/// What is asked or said out of turn, and what is said of it.
const FALSE_ASKS: &[(&str, &str)] = &[
    ("begin again", "it begins again"),
    ("be unfit", "it begins again"),
    ("describe", "a description that nobody wants"),
    ("ask folders", "folders without a grant"),
    ("ask connection", "a connection without a grant"),
    ("ask secret", "a secret without a grant"),
    ("ask values", "values that are not there"),
    ("ask without hearing", "it asks and does not listen"),
    ("ask twice at once", "two things at one time"),
];

#[tokio::test]
async fn a_false_end_costs_the_attempt_and_the_worker() {
    if let Some(socket) = tongue::called() {
        return tongue::lie(socket);
    }
    cost_the_attempt_and_the_worker(FALSE_ENDS).await;
}

#[tokio::test]
async fn a_false_ask_costs_the_attempt_and_the_worker() {
    cost_the_attempt_and_the_worker(FALSE_ASKS).await;
}

/// Each lie ends its own attempt and its own tenant's worker, while a neighbour's goes on.
async fn cost_the_attempt_and_the_worker(lies: &[(&str, &str)]) {
    let sandbox = sandbox();
    let (mut plugin, mut version) = (toucher(&sandbox).await, 0_u8);
    let neighbour = task("zenith", "truth");
    assert_eq!(done(&plugin.attempt(attempt(&neighbour)).await.unwrap()), "truth");
    for (lie, says) in lies {
        // Another version each time, so that none is backed off.
        version += 1;
        plugin.digest = Digest([version; 32]);
        let neighbour = task("zenith", "wait");
        let cancel = Cancel::new();
        let beside = Attempt { cancel: cancel.clone(), ..attempt(&neighbour) };
        let lying = async {
            let end = told(&plugin, lie).await;
            let told = format!("{:?}", end.outcome);
            assert!(told.contains("kind: Trapped") && told.contains(says), "{lie}: {told}");
            assert!(end.children.is_empty() && end.logs.is_empty(), "{lie}: {end:?}");
            until("it is killed", || sandbox.worker_pids().len() == 1).await;
            cancel.cancel();
        };
        let (unharmed, ()) = tokio::join!(plugin.attempt(beside), lying);
        failed(&unharmed.unwrap(), FailureKind::Cancelled);
        assert_eq!(done(&told(&plugin, "truth").await), "truth", "after {lie}");
    }
}

#[tokio::test]
async fn a_second_end_is_nobodys() {
    let sandbox = sandbox();
    let plugin = toucher(&sandbox).await;
    assert_eq!(done(&told(&plugin, "end twice").await), "first");
    until("it is killed", || sandbox.worker_pids().is_empty()).await;
    assert_eq!(done(&told(&plugin, "truth").await), "truth");
}

#[tokio::test]
async fn what_an_attempt_used_is_within_its_limits_and_its_time() {
    let sandbox = sandbox();
    let plugin = toucher(&sandbox).await;
    let began = Instant::now();
    let end = told(&plugin, "figures").await;
    let elapsed_us = u64::try_from(began.elapsed().as_micros()).unwrap();
    let (limits, used) = (Limits::default(), end.metering);
    assert_eq!((used.fuel, used.peak_memory_bytes), (limits.fuel, limits.memory_bytes));
    for time_us in [used.cpu_us, used.wall_us, used.instantiate_us] {
        assert!((1..=elapsed_us).contains(&time_us), "{used:?} in {elapsed_us}");
    }
    for calls in [used.host_calls, used.log_lines_dropped] {
        assert!((1..=elapsed_us * 100).contains(&calls), "{used:?} in {elapsed_us}");
    }
    for bytes in [used.bytes_in, used.bytes_out, used.log_bytes] {
        assert!((1..=elapsed_us * 20_000).contains(&bytes), "{used:?} in {elapsed_us}");
    }
    assert!(end.logs.iter().all(|line| line.at_ms <= elapsed_us / 1_000), "{:?}", end.logs);

    // A batch uses no more than all its attempts may together.
    let tasks: Vec<Task> = (0..4).map(|_| task("acme", "figures")).collect();
    let began = Instant::now();
    let batch = plugin.attempt_batch(tasks.iter().map(attempt).collect()).await.unwrap();
    let elapsed_us = u64::try_from(began.elapsed().as_micros()).unwrap();
    let sum = |of: fn(&bulkhead_core::Metering) -> u64| {
        batch.ends.iter().map(|end| of(&end.metering)).sum::<u64>()
    };
    assert_eq!(sum(|used| used.fuel), 4 * limits.fuel);
    assert!(sum(|used| used.cpu_us) <= elapsed_us && sum(|used| used.wall_us) <= elapsed_us);
    assert!(sum(|used| used.host_calls) <= elapsed_us * 100);
}

#[tokio::test]
async fn tasks_that_are_submitted_are_their_parents_tenants_and_made_anew() {
    let sandbox = sandbox();
    let plugin = toucher(&sandbox).await;
    let end = told(&plugin, "children 2").await;
    assert_eq!(done(&end), "with children");
    let parent = TaskRef { queue: "default".parse().unwrap(), id: TaskId(Uuid::from_u128(7)) };
    for (child, place) in end.children.iter().zip(0..) {
        let made = &child.task;
        assert_eq!((made.id, made.tenant.as_str()), (child_id(&parent, place), "acme"));
        assert_eq!((made.terms.depth, made.submitted_at, made.trace.as_ref()), (1, 0, None));
        assert_eq!((&made.limits, made.terms.not_before), (&LimitsRequest::default(), None));
        assert_eq!(made.payload.data, b"x", "what the guest may choose is kept");
    }
    assert_eq!(end.children.len(), 2);

    let mut deep = task("acme", "children 1");
    deep.terms.depth = 3;
    let end = plugin.attempt(attempt(&deep)).await.unwrap();
    let failure = failed(&end, FailureKind::Trapped);
    assert!(failure.message.contains("`depth` is 3"), "{}", failure.message);
}

/// It would be given one after the other, and take none of them.
#[tokio::test]
async fn no_worker_ends_what_it_has_not_heard_of() {
    let sandbox = sandbox();
    let plugin = toucher(&sandbox).await;
    let (deaf, mut next) = (task("acme", "end the next unheard"), task("acme", ""));
    next.payload.data = vec![b'x'; 4 << 20];
    let (first, second) =
        tokio::join!(plugin.attempt(attempt(&deaf)), plugin.attempt(attempt(&next)));
    for end in [first, second] {
        let end = end.unwrap();
        let failure = failed(&end, FailureKind::Trapped);
        assert!(failure.message.contains("has not heard of"), "{}", failure.message);
    }
}

/// A worker can name attempts of others, and is as little answered as one that names nobody's.
#[tokio::test]
async fn what_is_asked_for_anothers_attempt_is_not_answered() {
    let sandbox = sandbox();
    let plugin = toucher(&sandbox).await;
    let (theirs, cancel) = (task("zenith", "wait"), Cancel::new());
    let waiting = plugin.attempt(Attempt { cancel: cancel.clone(), ..attempt(&theirs) });
    let asking = async {
        until("the other runs", || sandbox.worker_pids().len() == 1).await;
        let end = told(&plugin, "ask for others").await;
        assert_eq!(done(&end), "answered: own");
        cancel.cancel();
    };
    let (end, ()) = tokio::join!(waiting, asking);
    failed(&end.unwrap(), FailureKind::Cancelled);
}

#[tokio::test]
async fn grants_are_counted_and_measured_by_the_host() {
    let sandbox = sandbox();
    let mut plugin = toucher(&sandbox).await;
    let lies = [
        ("kv 3", "more calls to kv than were granted"),
        ("kv large", "a value larger than was granted"),
        ("kv odd key", "a key or a time that is none"),
        ("kv odd page", "a page that is none"),
    ];
    for ((lie, says), version) in lies.into_iter().zip(1..) {
        plugin.digest = Digest([version; 32]);
        let services = Services { kv: Some(Arc::new(Nothing)), ..Services::default() };
        let task = task("acme", lie);
        let lying = Attempt { services, ..attempt(&task) };
        let end = plugin.attempt(lying).await.unwrap();
        let failure = failed(&end, FailureKind::Trapped);
        assert!(failure.message.contains(says), "{lie}: {}", failure.message);
    }
    let task = task("acme", "kv 2");
    let services = Services { kv: Some(Arc::new(Nothing)), ..Services::default() };
    let end = plugin.attempt(Attempt { services, ..attempt(&task) }).await.unwrap();
    assert_eq!(done(&end), "counted", "as many as were granted");
}

#[tokio::test]
async fn a_secret_that_was_spoken_is_taken_out_of_what_is_said() {
    let sandbox = sandbox();
    let plugin = toucher(&sandbox).await;
    let end = told(&plugin, "spill").await;
    let said = format!("{:?} {:?}", end.outcome, end.logs);
    assert!(!said.contains(SECRET) && said.contains("[secret token]"), "{said}");
    failed(&end, FailureKind::Reject);
    assert_eq!(end.logs.len(), 1);
}

#[tokio::test]
async fn a_worker_that_does_not_stop_is_killed() {
    let sandbox = sandbox();
    let plugin = toucher(&sandbox).await;
    let (late, forgetful, cancel) = (task("a", "silent"), task("b", "silent"), Cancel::new());
    for tenant in ["a", "b"] {
        // So that no time is lost on beginning.
        let first = task(tenant, "truth");
        assert_eq!(done(&plugin.attempt(attempt(&first)).await.unwrap()), "truth");
    }
    let limits = Limits { wall_ms: 100, ..Limits::default() };
    let (late, cancelled, ()) = tokio::join!(
        plugin.attempt(Attempt { limits, ..attempt(&late) }),
        plugin.attempt(Attempt { cancel: cancel.clone(), ..attempt(&forgetful) }),
        async { cancel.cancel() }
    );
    failed(&late.unwrap(), FailureKind::TimedOut);
    failed(&cancelled.unwrap(), FailureKind::Cancelled);
    until("both are killed", || sandbox.worker_pids().is_empty()).await;
}

#[tokio::test]
async fn what_was_lent_is_taken_back() {
    let sandbox = sandbox();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let http = HttpGrant {
        allow: AllowList::new(vec!["http://127.0.0.1:*/".parse().unwrap()]),
        reach: Reach { private: true, metadata: false },
        ..HttpGrant::default()
    };
    let plugin = load(&sandbox, "fetcher", Grants { http: Some(http), ..Grants::default() }).await;
    let (outbound, keeps) = (Outbound::new(), task("acme", &format!("keep a connection {port}")));
    let http = Some(outbound.access("fetcher", &keeps.tenant));
    let services = Services { http, ..Services::default() };
    let end = plugin.attempt(Attempt { services, ..attempt(&keeps) }).await.unwrap();
    assert_eq!(done(&end), "kept");
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
    tokio::time::timeout(PATIENCE, closed).await.unwrap().unwrap();
    assert_eq!((rest.len(), outbound.connections(&keeps.tenant)), (0, 0));
    assert_eq!(sandbox.worker_pids().len(), 1, "the worker lives, and still has its end");

    // Only the worker knows when a folder is done with, so one that never says is killed.
    let place = tempfile::tempdir().unwrap();
    let home = ScratchHome::new(place.path().join("scratch"), 8);
    let scratch = Some(FolderQuota { bytes: 1 << 20, files: 100 });
    let fs = Some(FsGrant { scratch, dirs: Vec::new() });
    let plugin = load(&sandbox, "filer", Grants { fs, ..Grants::default() }).await;
    let services = Services { scratch: Some(home.clone()), ..Services::default() };
    let keeps = task("zenith", "keep a folder");
    let end = plugin.attempt(Attempt { services, ..attempt(&keeps) }).await.unwrap();
    assert_eq!(done(&end), "kept");
    assert_eq!(sandbox.worker_pids().len(), 2);
    until("it is killed", || sandbox.worker_pids().len() == 1).await;
    tokio::time::timeout(PATIENCE, home.emptied()).await.unwrap();
}

/// A version that is gone takes no room in a worker that is kept.
#[tokio::test]
async fn a_worker_is_told_which_plugins_are_gone() {
    let sandbox = sandbox();
    let plugin = toucher(&sandbox).await;
    assert_eq!(done(&told(&plugin, "count forgotten").await), "0");
    let next = toucher(&sandbox).await;
    drop(plugin);
    assert_eq!(done(&told(&next, "count forgotten").await), "1");
    assert_eq!(sandbox.worker_pids().len(), 1);
}

/// Values that are not there.
struct Nothing;

#[async_trait]
impl crate::KvSpace for Nothing {
    async fn get(&self, _: &str) -> Result<Option<crate::KvEntry>, crate::KvError> {
        Ok(None)
    }

    async fn set(&self, _: &str, _: Vec<u8>, _: Option<u64>) -> Result<u64, crate::KvError> {
        Ok(1)
    }

    async fn delete(&self, _: &str) -> Result<bool, crate::KvError> {
        Ok(false)
    }

    async fn list(
        &self,
        _: &str,
        _: Option<&str>,
        _: u32,
    ) -> Result<crate::KvPage, crate::KvError> {
        Ok(crate::KvPage { keys: Vec::new(), more: false })
    }

    async fn increment(&self, _: &str, by: i64, _: Option<u64>) -> Result<i64, crate::KvError> {
        Ok(by)
    }

    async fn compare_and_set(
        &self,
        _: &str,
        _: Option<u64>,
        _: Vec<u8>,
        _: Option<u64>,
    ) -> Result<Option<u64>, crate::KvError> {
        Ok(None)
    }
}
