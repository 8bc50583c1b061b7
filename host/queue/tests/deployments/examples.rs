//! The producers in other languages, run for real.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bulkhead_core::{Outcome, Payload};
use bulkhead_queue::{End, Settlement};
use bulkhead_stage::words::report;
use bulkhead_stage::{Node, Python, RedisServer, eventually_within};

use crate::worker::{DAY_MS, Worker};

/// How long a producer may take, its packages included.
const PATIENCE: Duration = Duration::from_secs(100);

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").canonicalize().unwrap()
}

fn python() -> Command {
    let packages = Python::with("producer", &examples().join("python/requirements.txt"));
    let mut command = packages.command("python");
    command.arg(examples().join("python/enqueue.py"));
    command
}

fn node() -> Command {
    let packages = Node::with("producer-node", &examples().join("node/package.json"));
    let program = packages.folder().join("enqueue.mjs");
    std::fs::copy(examples().join("node/enqueue.mjs"), &program).unwrap();
    let mut command = Command::new("node");
    command.arg(program);
    command
}

/// A task of the producer is worked on here, and the producer prints the output.
async fn submits_and_waits(mut producer: Command) {
    let server = RedisServer::start();
    let broker = server.broker().await;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redis/scripts");
    let producer = producer
        .args(["--type", "a", "--queue", "q", "--redis", &server.url(), "--scripts"])
        .arg(scripts)
        .arg("grüße")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{error}; `cargo xtask setup` installs what is missing"));
    let worker = Worker::new("h1", "q");
    let claim = eventually_within(PATIENCE, "the producer's task comes", || async {
        worker.claim(&broker, 1).await.ok()?.pop()
    })
    .await;
    let task = claim.task.as_ref().unwrap();
    assert_eq!(task.payload, Payload::new("text/plain", "grüße"));
    assert_eq!((task.tenant.as_str(), task.priority.level()), ("default", 50));
    // The producer waits by now or looks later: it is told or sees for itself.
    let output = Outcome::Done(Payload::new(Payload::TEXT, "7 letters"));
    let end =
        End::Complete { report: report(1, output), retention_ms: DAY_MS, children: Vec::new() };
    let settled = Settlement { token: claim.token.clone(), end, plugin: None };
    assert!(worker.step(&broker, &[settled], &[], 0).await.unwrap().stale.is_empty());
    let ended = tokio::task::spawn_blocking(move || producer.wait_with_output());
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("an end").unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&ended.stdout).trim(), "7 letters");
}

#[tokio::test]
async fn a_producer_in_python() {
    submits_and_waits(python()).await;
}

#[tokio::test]
async fn a_producer_in_node() {
    submits_and_waits(node()).await;
}
