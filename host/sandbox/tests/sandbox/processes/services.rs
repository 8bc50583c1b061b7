//! What stands behind attempts in worker processes: connections that TLS is spoken over, tasks
//! that are submitted, host code with bugs in it, and plugins that change meanwhile.

use async_trait::async_trait;
use bulkhead_core::{TaskId, TaskRef, Terms, child_id};
use bulkhead_sandbox::{ConfigSource, SecretValue};
use bulkhead_sandbox::{HttpGrant, KvEntry, KvError, KvPage, KvSpace, SecretError, SecretSource};
use uuid::Uuid;

use super::*;
use crate::http::rules;
use crate::stores::Buggy;
use crate::web::{Identity, Names};

#[async_trait]
impl SecretSource for Buggy {
    async fn get(&self, name: &str) -> Result<SecretValue, SecretError> {
        panic!("nobody thought of {name}")
    }
}

#[async_trait]
impl KvSpace for Buggy {
    async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        panic!("nobody thought of {key}")
    }

    async fn set(&self, key: &str, _: Vec<u8>, _: Option<u64>) -> Result<u64, KvError> {
        panic!("nobody thought of {key}")
    }

    async fn delete(&self, key: &str) -> Result<bool, KvError> {
        panic!("nobody thought of {key}")
    }

    async fn list(&self, prefix: &str, _: Option<&str>, _: u32) -> Result<KvPage, KvError> {
        panic!("nobody thought of {prefix}")
    }

    async fn increment(&self, key: &str, _: i64, _: Option<u64>) -> Result<i64, KvError> {
        panic!("nobody thought of {key}")
    }

    async fn compare_and_set(
        &self,
        key: &str,
        _: Option<u64>,
        _: Vec<u8>,
        _: Option<u64>,
    ) -> Result<Option<u64>, KvError> {
        panic!("nobody thought of {key}")
    }
}

impl ProgressSink for Buggy {
    fn report(&self, _: f32, message: &str) {
        panic!("nobody thought of {message}")
    }
}

/// Every grant of the guest that touches whatever it is told to.
fn every() -> Grants {
    Grants {
        kv: Some(KvGrant::default()),
        config: true,
        secrets: ["token".to_owned()].into(),
        enqueue: Some(EnqueueGrant {
            types: Named::Only(["thumbnail".parse().unwrap()].into()),
            per_attempt: 2,
            ..EnqueueGrant::default()
        }),
        ..Grants::default()
    }
}

/// A guest that may send to these rules, believing whom a file names.
async fn fetcher(sandbox: &Sandbox, ca_file: Option<&Path>, allow: &[&str]) -> Plugin {
    let http = HttpGrant { allow: rules(allow), ca_file: ca_file.map(Path::to_owned), ..local() };
    granted(sandbox, "fetcher", Grants { http: Some(http), ..Grants::default() }).await
}

async fn fetched(plugin: &Plugin, outbound: &Arc<Outbound>, command: &str) -> String {
    let http = Some(outbound.access("fetcher", &tenant()));
    let task = task("fetch", command);
    let end = with(plugin, &task, Services { http, ..Services::default() }).await;
    done(&end).to_owned()
}

#[tokio::test]
async fn tls_is_spoken_in_the_worker_with_whom_the_host_reached() {
    let sandbox = apart(processes());
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let identity = Identity::of("secure.example");
    fs::write(&ca_file, &identity.authority).unwrap();
    let server = Server::secure(&identity).await;
    let allow = ["https://secure.example:*/", "https://wrong.example:*/"];
    let plugin = fetcher(&sandbox, Some(&ca_file), &allow).await;
    // A worker can resolve nothing, so whoever resolves is the host.
    let names = Names::answering(&[&["127.0.0.1"]]);
    let outbound = Outbound::with_resolver(names.clone());
    let url = |host: &str| format!("get https://{host}:{}/echo/x", server.port);
    let seen = fetched(&plugin, &outbound, &url("secure.example")).await;
    assert_eq!((seen.as_str(), names.asked()), ("200 0 after GET /echo/x HTTP/1.1", 1));
    let seen = fetched(&plugin, &outbound, &url("wrong.example")).await;
    assert!(seen.contains("TlsCertificateError"), "{seen}");
    let system = fetcher(&sandbox, None, &allow).await;
    let seen = fetched(&system, &outbound, &url("secure.example")).await;
    assert!(seen.contains("TlsCertificateError") || seen.contains("ConfigurationError"), "{seen}");
    // A file that has no certificate is the host's to read, and the guest's error.
    fs::write(&ca_file, "no certificate").unwrap();
    let seen = fetched(&plugin, &outbound, &url("secure.example")).await;
    assert!(seen.contains("ConfigurationError"), "{seen}");
    assert_eq!(server.heard().len(), 1);
    until("connections are given back", || outbound.connections(&tenant()) == 0).await;
    assert_eq!(sandbox.worker_pids().len(), 1);
}

/// A worker keeps so many sets of roots, and the host knows which.
#[tokio::test]
async fn roots_that_a_worker_forgot_are_told_again() {
    let sandbox = apart(processes());
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::of("secure.example");
    let server = Server::secure(&identity).await;
    let mut plugins = Vec::new();
    for name in ["first", "changing"] {
        let ca_file = folder.path().join(name);
        fs::write(&ca_file, &identity.authority).unwrap();
        let plugin = fetcher(&sandbox, Some(&ca_file), &["https://secure.example:*/"]).await;
        plugins.push((ca_file, plugin));
    }
    let [(_, first), (ca_file, changing)] = &plugins[..] else { panic!("two") };
    let outbound = Outbound::with_resolver(Names::answering(&[&["127.0.0.1"]]));
    let command = format!("get https://secure.example:{}/echo/x", server.port);
    assert!(fetched(first, &outbound, &command).await.starts_with("200"));
    for hour in 1..=70 {
        let then = std::time::SystemTime::now() + Duration::from_secs(3_600 * hour);
        fs::File::options().write(true).open(ca_file).unwrap().set_modified(then).unwrap();
        let seen = fetched(changing, &outbound, &command).await;
        assert!(seen.starts_with("200"), "{hour}: {seen}");
    }
    let seen = fetched(first, &outbound, &command).await;
    assert!(seen.starts_with("200"), "{seen}");
    assert_eq!(sandbox.worker_pids().len(), 1, "it was one worker all the time");
}

#[tokio::test]
async fn tasks_are_submitted_as_on_threads() {
    let sandbox = apart(processes());
    let plugin = granted(&sandbox, "toucher", every()).await;
    let touch = async |commands: &str| {
        let task = task("touch", commands);
        with(&plugin, &task, Services::default()).await
    };
    let parent = TaskRef { queue: "default".parse().unwrap(), id: TaskId(Uuid::from_u128(7)) };
    let ids = [child_id(&parent, 0), child_id(&parent, 1)];
    let end = touch("child thumbnail one\nchild thumbnail two\nchild thumbnail three").await;
    let seen = lines(&end);
    assert_eq!(seen[..2], [format!("ok {}", ids[0]), format!("ok {}", ids[1])]);
    assert!(seen[2].contains("Quota") && seen[2].contains("`per_attempt`"), "{seen:?}");
    let made = end.children.iter().map(|child| {
        let task = &child.task;
        (task.id, task.tenant.as_str(), task.terms.depth, task.payload.data.clone())
    });
    let wanted = [(ids[0], "acme", 1, b"one".to_vec()), (ids[1], "acme", 1, b"two".to_vec())];
    assert_eq!(made.collect::<Vec<_>>(), wanted);
    let end = touch("child other x\nchild-in mail thumbnail").await;
    let seen = lines(&end);
    assert!(seen.iter().all(|line| line.contains("NotAllowed")), "{seen:?}");
    assert!(end.children.is_empty());
    let end = touch("child thumbnail one\nfail as asked").await;
    failed(&end, FailureKind::Reject);
    assert!(end.children.is_empty(), "they go with the parent's success only");
    assert_eq!(sandbox.worker_pids().len(), 1, "an attempt that is refused costs no worker");
}

/// A task may say much of itself or little; a worker is told all of it.
#[tokio::test]
async fn tasks_arrive_with_whatever_they_say() {
    let sandbox = apart(processes());
    let plugin = load(&sandbox, "unruly").await;
    let full = Terms {
        retention_ms: Some(5),
        not_before: Some(7),
        expires_at: Some(u64::MAX),
        key: Some("k".parse().unwrap()),
        after: vec![TaskRef { queue: "q".parse().unwrap(), id: TaskId(Uuid::nil()) }],
        schedule: Some("nightly".to_owned()),
        depth: 4,
        ..Terms::default()
    };
    for terms in [Terms { depth: 1, ..Terms::default() }, full] {
        let mut task = task("echo", "x");
        task.metadata = vec![("a".to_owned(), "b".to_owned())];
        task.terms = terms;
        let end = with(&plugin, &task, Services::default()).await;
        assert_eq!(done(&end), "x", "{:?}", task.terms);
    }
}

/// An attempt whose guest meets a bug of the host's ends as it would on a thread. The worker,
/// what else it runs, and the version go on.
#[tokio::test]
async fn a_panic_of_the_host_ends_one_attempt_and_no_worker() {
    let sandbox = apart(processes());
    let toucher = granted(&sandbox, "toucher", every()).await;
    let unruly = load(&sandbox, "unruly").await;
    let (neighbour, cancel) = (of("acme", "sleep", "60000"), Cancel::new());
    let beside = Attempt { cancel: cancel.clone(), ..attempt(&neighbour) };
    let failing = async {
        until("it has its worker", || sandbox.worker_pids().len() == 1).await;
        let pids = sandbox.worker_pids();
        let services = || Services {
            kv: Some(Arc::new(Buggy)),
            config: Some(Arc::new(Buggy) as Arc<dyn ConfigSource>),
            secrets: Some(Arc::new(Buggy)),
            ..Services::default()
        };
        let hit = |end: &AttemptEnd, what: &str| {
            let failure = failed(end, FailureKind::Trapped);
            assert!(failure.message.contains("the host failed"), "{what}: {}", failure.message);
            assert!(!failure.message.contains("nobody thought"), "{what}: {}", failure.message);
            assert!(end.children.is_empty() && end.metering.wall_us > 0, "{what}");
        };
        // Oftener than a version may bring down workers.
        for what in ["config a", "kv get a", "secret token", "kv set a b", "kv keys "] {
            let task = of("acme", "touch", &format!("child thumbnail x\n{what}"));
            hit(&with(&toucher, &task, services()).await, what);
        }
        for _ in 0..4 {
            let task = of("acme", "progress", "60000");
            let progress: Option<Arc<dyn ProgressSink>> = Some(Arc::new(Buggy));
            let end = unruly.attempt(Attempt { progress, ..attempt(&task) }).await.unwrap();
            hit(&end, "progress");
        }
        assert_eq!(sandbox.worker_pids(), pids, "it is the same worker");
        let sound = Services {
            config: Some(Values::of(&[("a", "hello")])),
            kv: Some(store()),
            ..Services::default()
        };
        let task = of("acme", "touch", "config a\nkv get a");
        assert_eq!(lines(&with(&toucher, &task, sound).await), ["Some(\"hello\")", "none"]);
        cancel.cancel();
    };
    let (unharmed, ()) = tokio::join!(unruly.attempt(beside), failing);
    failed(&unharmed.unwrap(), FailureKind::Cancelled);
}

/// A version with other folders gets a worker of its own; what runs ends in the old one, which
/// goes when nothing runs there any more.
#[tokio::test]
async fn what_runs_ends_where_it_began_when_a_version_replaces_another() {
    let place = tempfile::tempdir().unwrap();
    let sandbox = apart(processes());
    let unruly = load(&sandbox, "unruly").await;
    let (slow, cancel) = (of("acme", "sleep", "60000"), Cancel::new());
    let began = Attempt { cancel: cancel.clone(), ..attempt(&slow) };
    let replacing = async {
        until("it has its worker", || sandbox.worker_pids().len() == 1).await;
        let old = sandbox.worker_pids()[0];
        let dirs = vec![FolderGrant {
            host: place.path().to_owned(),
            guest: "/data".to_owned(),
            write: None,
        }];
        let fs = Some(FsGrant { scratch: None, dirs });
        let filer = granted(&sandbox, "filer", Grants { fs, ..Grants::default() }).await;
        fs::write(place.path().join("there"), "new").unwrap();
        assert_eq!(done(&run(&filer, "file", "read /data/there", Limits::default()).await), "new");
        let proc = Path::new("/proc").join(old.to_string());
        assert!(!sandbox.worker_pids().contains(&old), "it takes nothing new");
        assert!(proc.exists(), "and still has what it runs");
        cancel.cancel();
        proc
    };
    let (end, proc) = tokio::join!(unruly.attempt(began), replacing);
    failed(&end.unwrap(), FailureKind::Cancelled);
    until("the old worker goes", || !proc.exists()).await;
    assert_eq!(sandbox.worker_pids().len(), 1);
}
