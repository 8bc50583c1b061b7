//! A host as a process: it claims, has a side effect, works, settles, renews.
//!
//! Like a real one it repeats what it could not say, and asks what it holds when an answer
//! was lost. It knows nothing of faults.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use bulkhead_core::{
    AttemptReport, Failure, FailureKind, Outcome, Payload, QueueName, TaskId, TaskType,
};
use bulkhead_queue::{
    Broker, Claim, ClaimToken, End, RedisBroker, RedisConfig, Serves, Settlement, Step,
};
use bulkhead_stage::words;

/// The file in a child's folder that holds its orders: name, URL, path of the ledger.
pub(crate) const ORDERS: &str = "orders-of-a-chaos-host";
/// The file in which hosts write down what they did.
pub(crate) const EFFECTS: &str = "effects";

/// How long a lease lasts.
pub(crate) const LEASE: Duration = Duration::from_millis(2_000);
const TICK: Duration = Duration::from_millis(15);
const CONCURRENCY: usize = 12;
const KEPT_MS: u64 = 86_400_000;

pub(crate) fn is_child() -> bool {
    Path::new(ORDERS).exists()
}

/// How to reach the server behind this URL without waiting long.
pub(crate) fn config(url: &str) -> RedisConfig {
    RedisConfig {
        response_timeout: Duration::from_millis(1_000),
        connect_timeout: Duration::from_millis(500),
        ..RedisConfig::new(url)
    }
}

pub(crate) fn queues() -> Vec<QueueName> {
    ["mail", "video"].map(|name| QueueName::new(name).unwrap()).into()
}

pub(crate) fn serves() -> Vec<Serves> {
    ["plain", "child", "callback"].map(|name| TaskType::new(name).unwrap().into()).into()
}

/// Work until somebody kills this process.
pub(crate) fn run() {
    let orders = std::fs::read_to_string(ORDERS).unwrap();
    let [name, url, ledger]: [&str; 3] =
        orders.lines().collect::<Vec<_>>().try_into().expect("three lines");
    let effects = OpenOptions::new().append(true).create(true).open(ledger).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = loop {
            match RedisBroker::connect(config(url)).await {
                Ok(broker) => break broker,
                Err(_) => tokio::time::sleep(TICK).await,
            }
        };
        let mut host = Host { name: name.into(), broker, effects, lines: HashMap::new() };
        loop {
            for queue in queues() {
                host.tick(&queue).await;
            }
            tokio::time::sleep(TICK).await;
        }
    });
}

struct Host {
    name: String,
    broker: RedisBroker,
    effects: File,
    lines: HashMap<QueueName, Line>,
}

/// What a host does in one queue.
#[derive(Default)]
struct Line {
    running: HashMap<ClaimToken, Attempt>,
    /// Settlements that may not have been heard.
    unheard: Vec<(ClaimToken, Attempt)>,
    /// Tokens that were settled, as far as this host knows.
    settled: HashSet<ClaimToken>,
    /// An answer was lost: claims may be held that this host knows nothing of.
    unsure: bool,
}

#[derive(Clone)]
struct Attempt {
    id: TaskId,
    number: u32,
    ends_at: Instant,
}

impl Host {
    async fn tick(&mut self, queue: &QueueName) {
        let line = self.lines.entry(queue.clone()).or_default();
        if line.unsure {
            let Ok(held) = self.broker.held(queue, &self.name).await else { return };
            line.unsure = false;
            for claim in held {
                let known = line.running.contains_key(&claim.token)
                    || line.settled.contains(&claim.token)
                    || line.unheard.iter().any(|(token, _)| *token == claim.token);
                if !known {
                    line.start(claim, &mut self.effects);
                }
            }
        }
        let now = Instant::now();
        let done: Vec<ClaimToken> = line
            .running
            .iter()
            .filter(|(_, attempt)| attempt.ends_at <= now)
            .map(|(token, _)| token.clone())
            .collect();
        for token in done {
            let attempt = line.running.remove(&token).unwrap();
            line.unheard.push((token, attempt));
        }
        let settle: Vec<Settlement> = line
            .unheard
            .iter()
            .map(|(token, attempt)| Settlement {
                token: token.clone(),
                end: end(&self.name, attempt),
                plugin: None,
            })
            .collect();
        let renew: Vec<ClaimToken> = line.running.keys().cloned().collect();
        let step = Step {
            host: &self.name,
            settle: &settle,
            renew: &renew,
            progress: &[],
            want: u32::try_from(CONCURRENCY - line.running.len().min(CONCURRENCY)).unwrap(),
            claim_bytes: u64::MAX,
            serves: &serves(),
            lease: LEASE,
            reclaim: true,
            dead_retention_ms: KEPT_MS,
            apart: false,
        };
        let Ok(stepped) = self.broker.step(queue, step).await else {
            line.unsure = true;
            return;
        };
        line.settled.extend(line.unheard.drain(..).map(|(token, _)| token));
        for at in stepped.lost {
            line.running.remove(&renew[at]);
        }
        for claim in stepped.claims {
            line.start(claim, &mut self.effects);
        }
        if stepped.outbox {
            // What is not carried now, the next step tells of again.
            let _ = self.broker.deliver(queue).await;
        }
    }
}

impl Line {
    /// Have the side effect of an attempt, and go on working.
    fn start(&mut self, claim: Claim, effects: &mut File) {
        effects.write_all(format!("{} {}\n", claim.id, claim.attempt).as_bytes()).unwrap();
        let work = Duration::from_millis(u64::from(claim.id.0.as_bytes()[15]) % 60);
        let attempt =
            Attempt { id: claim.id, number: claim.attempt, ends_at: Instant::now() + work };
        self.running.insert(claim.token, attempt);
    }
}

/// One of ten attempts is retried, one of thirty tasks becomes a dead letter.
fn end(host: &str, attempt: &Attempt) -> End {
    let bytes = attempt.id.0.as_bytes();
    let dice = u32::from(bytes[14]) + 7 * attempt.number;
    let report =
        |outcome| AttemptReport { host: host.into(), ..words::report(attempt.number, outcome) };
    let failed = || Outcome::Failed(Failure::new(FailureKind::Retry, "not now"));
    match dice % 30 {
        0 => End::DeadLetter { report: report(failed()), retention_ms: KEPT_MS },
        1..=3 if attempt.number < 8 => {
            End::Retry { report: report(failed()), delay_ms: 60, retention_ms: KEPT_MS }
        }
        _ => {
            let output = Outcome::Done(Payload::new(Payload::TEXT, "done"));
            End::Complete { report: report(output), retention_ms: KEPT_MS, children: Vec::new() }
        }
    }
}
