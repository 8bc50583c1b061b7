//! A disk that is full for a while: the broker says that it is unavailable, goes on by
//! itself when there is room again, and has lost nothing that was answered.
//!
//! The test runs itself again as a child whose files may not grow beyond a limit, and
//! lifts the limit from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod embedded_stage;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bulkhead_core::{Payload, Task, TaskId};
use bulkhead_queue::{Broker, EmbeddedBroker};
use bulkhead_stage::eventually;
use embedded_stage::*;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// A child finds this folder in the one that it works in.
const FOLDER: &str = "data-of-a-full-disk-test";
const NAME: &str = "a_full_disk_loses_nothing_and_passes";

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    if Path::new(FOLDER).exists() {
        return fill(Path::new(FOLDER));
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join(FOLDER);
    std::fs::create_dir(&data).unwrap();
    let binary = std::env::current_exe().unwrap();
    // The signal that comes with the limit is ignored, so that a write over it is an error.
    let limited = format!(
        "trap '' XFSZ; ulimit -S -f 16384; exec '{}' --exact {NAME} --nocapture",
        binary.display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &limited])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answered: Vec<TaskId> = Vec::new();
    let (mut failed, mut recovered) = (false, false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        if let Some(ids) = line.strip_prefix("answered ") {
            answered.extend(ids.split(' ').map(|id| id.parse::<TaskId>().unwrap()));
        } else if line == "failing" {
            failed = true;
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
            let none = Rlimit { current: None, maximum: None };
            prlimit(pid, Resource::Fsize, none).unwrap();
        } else if line == "recovered" {
            recovered = true;
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(failed && recovered, "failed {failed}, recovered {recovered}");
    let broker = EmbeddedBroker::open(&data).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for ids in answered.chunks(100) {
        let views = runtime.block_on(broker.inspect(&queue(), ids)).unwrap();
        assert!(views.iter().all(Option::is_some));
    }
    assert!(answered.len() > 1_000);
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

fn fill(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Arc::new(EmbeddedBroker::open(folder).unwrap());
        let producer = tokio::spawn(produce(broker.clone()));
        eventually("the disk is full", || async { broker.check().await.err() }).await;
        say("failing");
        eventually("there is room again", || async { broker.check().await.ok() }).await;
        // What waited is written, and so is what comes now.
        broker.submit(&[task("a", new_id())]).await.unwrap();
        say("recovered");
        producer.await.unwrap();
    });
}

async fn produce(broker: Arc<EmbeddedBroker>) {
    loop {
        let large = Payload::new(Payload::BINARY, vec![7; 2_000]);
        let tasks: Vec<Task> =
            (0..100).map(|_| Task { payload: large.clone(), ..task("a", new_id()) }).collect();
        // One that is not answered may be stored or not.
        if broker.submit(&tasks).await.is_ok() {
            let ids: Vec<String> = tasks.iter().map(|task| task.id.to_string()).collect();
            say(&format!("answered {}", ids.join(" ")));
        }
    }
}
