//! What was answered is there after SIGKILL.
//!
//! The test runs itself again as a child that submits, claims and settles, and prints a
//! line after each answer. It kills the child at any moment, opens the file and compares.
//!
//! `BULKHEAD_EMBEDDED_KILLS` chooses how often; docs/reliability.md has the figures of a long
//! run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod embedded_stage;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead_core::{State, TaskId};
use bulkhead_queue::{Broker, EmbeddedBroker, Entry, Settlement, Step, TaskView};
use bulkhead_stage::setting;
use embedded_stage::*;

/// A child finds this folder in the one that it works in.
const FOLDER: &str = "data-of-a-crash-test";
const NAME: &str = "what_was_answered_survives_sigkill";
/// Lines that a child says before it is killed: it is killed early and late.
const LINES: [usize; 8] = [40, 190, 340, 490, 640, 790, 940, 1_090];
/// Tasks looked at in one call.
const LOOK: usize = 200;

#[test]
fn what_was_answered_survives_sigkill() {
    if Path::new(FOLDER).exists() {
        return work_until_killed(Path::new(FOLDER));
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join(FOLDER);
    std::fs::create_dir(&data).unwrap();
    let mut ledger = Ledger::default();
    let kills: usize = setting("BULKHEAD_EMBEDDED_KILLS").unwrap_or(LINES.len());
    for lines in LINES.into_iter().cycle().take(kills) {
        ledger.follow_a_child(folder.path(), lines);
        ledger.check(&data);
    }
    ledger.opened_after.sort();
    println!(
        "kills: {kills}, tasks: {}, settled: {}, lost: 0, attempts cut off by a kill: {}, opened \
         again after: median {:?}, at most {:?}",
        ledger.submitted.len(),
        ledger.settled.len(),
        ledger.cut_off,
        ledger.opened_after[kills / 2],
        ledger.opened_after[kills - 1],
    );
    assert!(ledger.submitted.len() > 500 && ledger.settled.len() > 100);
}

/// What a child said was answered.
#[derive(Default)]
struct Ledger {
    submitted: HashSet<TaskId>,
    /// Claims answered, by task.
    claimed: HashMap<TaskId, u32>,
    settled: HashMap<TaskId, State>,
    /// Attempts whose lease ended with their process.
    cut_off: usize,
    opened_after: Vec<Duration>,
}

impl Ledger {
    /// Run a child, kill it once it has said so many lines, and note all that it said.
    fn follow_a_child(&mut self, folder: &Path, lines: usize) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut heard = 0;
        for line in said.lines() {
            // The last line may be cut off: it was not heard then.
            let Ok(line) = line else { break };
            heard += usize::from(self.note(&line));
            if heard == lines {
                child.kill().unwrap();
            }
        }
        let ended = child.wait().unwrap();
        assert!(heard >= lines && !ended.success(), "the child ended by itself: {ended}");
    }

    fn note(&mut self, line: &str) -> bool {
        let mut words = line.split(' ');
        if words.next() != Some("answered") || !line.ends_with(" .") {
            return false;
        }
        let (Some(what), Some(id)) = (words.next(), words.next()) else { return false };
        let id: TaskId = id.parse().unwrap();
        match what {
            "submitted" => {
                self.submitted.insert(id);
            }
            "claimed" => *self.claimed.entry(id).or_default() += 1,
            "completed" => {
                self.settled.insert(id, State::Completed);
            }
            _ => {
                self.settled.insert(id, State::Failed);
            }
        }
        true
    }

    fn check(&mut self, folder: &Path) {
        let began = Instant::now();
        let broker = EmbeddedBroker::open(folder).unwrap();
        self.opened_after.push(began.elapsed());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (queue, mut cut_off) = (queue(), 0);
            let ids: Vec<TaskId> = self.submitted.iter().copied().collect();
            for ids in ids.chunks(LOOK) {
                let views = broker.inspect(&queue, ids).await.unwrap();
                for (id, view) in ids.iter().zip(views) {
                    let view = view.unwrap_or_else(|| panic!("{id} was accepted and is lost"));
                    cut_off += self.hold_against(&view);
                }
            }
            self.cut_off = cut_off;
            assert_eq!(broker.examine(&queue, false).await.unwrap(), []);
        });
    }

    /// Hold a task against what was said of it; how many of its attempts were cut off.
    fn hold_against(&self, view: &TaskView) -> usize {
        if let Some(state) = self.settled.get(&view.id) {
            assert_eq!(view.state, *state, "{} was settled", view.id);
        }
        let claimed = self.claimed.get(&view.id).copied().unwrap_or(0);
        assert!(view.attempts() >= claimed, "{view:?}");
        assert_ne!(view.state, State::Running, "no lease outlives its process");
        view.history.iter().filter(|entry| matches!(entry, Entry::LeaseLost { .. })).count()
    }
}

/// Submit, claim and settle for ever, three at a time, and say what was answered.
fn work_until_killed(folder: &Path) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = std::sync::Arc::new(EmbeddedBroker::open(folder).unwrap());
        let producer = tokio::spawn(produce(broker.clone()));
        let hosts = ["h1", "h2"].map(|host| tokio::spawn(host_tasks(broker.clone(), host)));
        producer.await.unwrap();
        for host in hosts {
            host.await.unwrap();
        }
    });
}

fn say(lines: &str) {
    let mut out = std::io::stdout().lock();
    // The parent is gone: there is nobody to work for.
    if out.write_all(lines.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

async fn produce(broker: std::sync::Arc<EmbeddedBroker>) {
    loop {
        let tasks: Vec<_> = (0..5).map(|_| task("a", fresh_id())).collect();
        broker.submit(&tasks).await.unwrap();
        say(&tasks
            .iter()
            .map(|task| format!("answered submitted {} .\n", task.id))
            .collect::<String>());
    }
}

async fn host_tasks(broker: std::sync::Arc<EmbeddedBroker>, host: &'static str) {
    let mut settle: Vec<Settlement> = Vec::new();
    let mut settling: Vec<(&str, TaskId)> = Vec::new();
    loop {
        let serves = [of_type("a").into()];
        let step = Step {
            host,
            settle: &settle,
            renew: &[],
            progress: &[],
            want: 4,
            claim_bytes: u64::MAX,
            serves: &serves,
            lease: Duration::from_secs(60),
            reclaim: true,
            dead_retention_ms: DAY_MS,
            apart: false,
        };
        let stepped = broker.step(&queue(), step).await.unwrap();
        let mut lines: String =
            settling.iter().map(|(end, id)| format!("answered {end} {id} .\n")).collect();
        (settle, settling) = (Vec::new(), Vec::new());
        for (at, claim) in stepped.claims.iter().enumerate() {
            lines.push_str(&format!("answered claimed {} .\n", claim.id));
            // The last of each claim is never settled: its lease is lost by the kill.
            match at {
                0 | 1 => {
                    settle.push(done(claim));
                    settling.push(("completed", claim.id));
                }
                2 => {
                    settle.push(dead(claim));
                    settling.push(("failed", claim.id));
                }
                _ => {}
            }
        }
        say(&lines);
    }
}
