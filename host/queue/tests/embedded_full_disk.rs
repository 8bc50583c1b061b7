//! A disk that is full for a while: the broker says that it is unavailable, goes on by
//! itself when there is room again, and has lost nothing that was answered.
//!
//! The test runs itself again as a child that submits, limits how far the child's file may grow
//! once it has been answered often enough, and lifts that limit when the child says that its
//! disk is full.
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
/// Tasks in a call.
const AT_ONCE: usize = 100;
/// Tasks that are answered before the disk is full, and again afterwards.
const ENOUGH: usize = 20 * AT_ONCE;

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
    let limited = format!("trap '' XFSZ; exec '{}' --exact {NAME} --nocapture", binary.display());
    let mut child = Command::new("sh")
        .args(["-c", &limited])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let limit_files = |bytes: Option<u64>| {
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    };
    let mut heard = Heard::default();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        heard.note(&line);
        match (line.as_str(), heard.is_full, heard.has_room_again) {
            ("failing", ..) => limit_files(None),
            (_, false, _) if heard.before.len() == ENOUGH => {
                // As long as it is now, and no longer.
                limit_files(Some(data.join("queue.redb").metadata().unwrap().len()));
            }
            (_, _, true) if heard.after.len() == ENOUGH => child.kill().unwrap(),
            _ => {}
        }
    }
    child.wait().unwrap();
    assert!(heard.before.len() >= ENOUGH && heard.is_full && heard.after.len() >= ENOUGH);
    let broker = EmbeddedBroker::open(&data).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = [heard.before, heard.meanwhile, heard.after].concat();
    for ids in all.chunks(100) {
        let views = runtime.block_on(broker.inspect(&queue(), ids)).unwrap();
        assert!(views.iter().all(Option::is_some));
    }
}

/// What the child said: tasks answered before its disk was full, until there was room again,
/// and from then on.
#[derive(Default)]
struct Heard {
    before: Vec<TaskId>,
    meanwhile: Vec<TaskId>,
    after: Vec<TaskId>,
    is_full: bool,
    has_room_again: bool,
}

impl Heard {
    fn note(&mut self, line: &str) {
        if let Some(ids) = line.strip_prefix("answered ") {
            let answered = match (self.is_full, self.has_room_again) {
                (false, _) => &mut self.before,
                (true, false) => &mut self.meanwhile,
                (true, true) => &mut self.after,
            };
            answered.extend(ids.split(' ').map(|id| id.parse::<TaskId>().unwrap()));
        }
        self.is_full |= line == "failing";
        self.has_room_again |= line == "recovered";
    }
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
        broker.submit(&[task("a", fresh_id())]).await.unwrap();
        say("recovered");
        producer.await.unwrap();
    });
}

async fn produce(broker: Arc<EmbeddedBroker>) {
    loop {
        let large = Payload::new(Payload::BINARY, vec![7; 2_000]);
        let tasks: Vec<Task> = (0..AT_ONCE)
            .map(|_| Task { payload: large.clone(), ..task("a", fresh_id()) })
            .collect();
        // One that is not answered may be stored or not.
        if broker.submit(&tasks).await.is_ok() {
            let ids: Vec<String> = tasks.iter().map(|task| task.id.to_string()).collect();
            say(&format!("answered {}", ids.join(" ")));
        }
    }
}
