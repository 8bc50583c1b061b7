//! Failovers under load, with a ledger: what was accepted ends, whatever happens to primaries.
//!
//! `BULKHEAD_FAILOVERS` chooses how many; docs/reliability.md has the figures of a long run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bulkhead_core::{State, TaskId};
use bulkhead_queue::{Client, Settlement, SubmitLimits};
use bulkhead_stage::{Persistence, SentinelGroup, eventually, eventually_within, setting};
use parking_lot::Mutex;

use crate::flow::{impatient, new_task, queue};
use crate::worker::{Worker, done};

const PRODUCERS: usize = 2;
const WORKERS: usize = 3;
const BATCH: usize = 10;
/// How long the group may take to serve again.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(8);

/// What is done to the primary.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Ended without warning, started again with an empty memory.
    Killed,
    /// Stopped with its connections open, going on after the failover.
    Frozen,
}

/// How often each accepted task was worked on.
#[derive(Default)]
struct Ledger(Mutex<HashMap<TaskId, u32>>);

impl Ledger {
    fn note(&self, ids: impl Iterator<Item = TaskId>, worked_on: u32) {
        let mut ledger = self.0.lock();
        for id in ids {
            *ledger.entry(id).or_default() += worked_on;
        }
    }
}

#[derive(Clone)]
struct Stage {
    client: Client,
    ledger: Arc<Ledger>,
    is_over: Arc<AtomicBool>,
}

impl Stage {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Acquire)
    }

    /// Submit until told to stop; what was not answered is submitted again by its id.
    async fn produce(self) {
        while self.goes_on() {
            let tasks: Vec<_> = (0..BATCH)
                .map(|_| {
                    let mut task = new_task("q");
                    task.id = Some(TaskId(uuid::Uuid::now_v7()));
                    task
                })
                .collect();
            let submitted = eventually_within(PATIENCE, "an accepted batch", || async {
                self.client.submit_many(tasks.clone()).await.ok()
            })
            .await;
            self.ledger.note(submitted.iter().map(|task| task.id), 0);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Work as a host does: settlements that were not answered are sent again.
    async fn work(self, name: String) {
        let broker = self.client.broker().clone();
        let mut worker = Worker::new(&name, "q");
        worker.lease = Duration::from_secs(2);
        let mut ended: Vec<Settlement> = Vec::new();
        while self.goes_on() {
            match worker.step(&*broker, &ended, &[], 20).await {
                Ok(stepped) => {
                    self.ledger.note(stepped.claims.iter().map(|claim| claim.id), 1);
                    ended = stepped.claims.iter().map(done).collect();
                    if stepped.claims.is_empty() {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                Err(error) => {
                    assert!(error.is_unavailable(), "{error}");
                    tokio::time::sleep(PAUSE * 10).await;
                }
            }
        }
    }

    /// Wait until all accepted tasks are completed; how many never will be.
    async fn lost(&self) -> usize {
        let ids: Vec<TaskId> = self.ledger.0.lock().keys().copied().collect();
        let broker = self.client.broker();
        let mut lost = 0;
        for chunk in ids.chunks(200) {
            lost += eventually_within(PATIENCE, "these have ended", || async {
                let views = broker.inspect(&queue("q"), chunk).await.ok()?;
                let known = views.iter().flatten();
                let is_done = known.clone().all(|view| view.state == State::Completed);
                is_done.then(|| views.len() - known.count())
            })
            .await;
        }
        lost
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_accepted_is_lost_in_failovers_under_load() {
    let guard = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"];
    let mut group = SentinelGroup::start(Persistence::None, &guard);
    let url = format!("{}?min_replicas=1", group.url());
    let stage = Stage {
        client: Client::new(Arc::new(impatient(url).await), SubmitLimits::default()),
        ledger: Arc::default(),
        is_over: Arc::default(),
    };
    let mut running: Vec<_> =
        (0..PRODUCERS).map(|_| tokio::spawn(stage.clone().produce())).collect();
    running.extend((0..WORKERS).map(|at| tokio::spawn(stage.clone().work(format!("h{at}")))));

    let failovers: usize = setting("BULKHEAD_FAILOVERS").unwrap_or(3);
    let kinds = [Fault::Killed, Fault::Frozen, Fault::Killed];
    let mut recovered = Vec::new();
    for fault in kinds.into_iter().cycle().take(failovers) {
        let old = group.primary();
        let before = stage.ledger.0.lock().len();
        eventually("work is under way", || async {
            (stage.ledger.0.lock().len() > before + 200).then_some(())
        })
        .await;
        group.watch();
        let at = Instant::now();
        match fault {
            Fault::Killed => group.kill(old),
            Fault::Frozen => group.freeze(old),
        }
        let probe = new_task("probe");
        eventually_within(PATIENCE, "tasks are accepted again", || async {
            stage.client.submit(probe.clone()).await.ok()
        })
        .await;
        recovered.push(at.elapsed());
        group.await_failover(old);
        match fault {
            Fault::Killed => group.restart(old),
            Fault::Frozen => group.thaw(old),
        }
        group.await_repair();
    }
    // Producers stop first, or the end moves away. What they were about to submit may have
    // been stored without an answer: it was not accepted, and is worked off or not.
    for producer in running.drain(..PRODUCERS) {
        producer.abort();
        assert!(producer.await.is_err_and(|ended| ended.is_cancelled()), "a producer failed");
    }
    let lost = stage.lost().await;
    stage.is_over.store(true, Ordering::Release);
    for worker in running {
        worker.await.unwrap();
    }
    let ledger = stage.ledger.0.lock();
    let again: usize = ledger.values().filter(|times| **times > 1).count();
    recovered.sort();
    println!(
        "failovers: {failovers}, tasks: {}, lost: {lost}, worked on again: {again}, back after: \
         median {:?}, at most {:?}",
        ledger.len(),
        recovered[recovered.len() / 2],
        recovered[recovered.len() - 1]
    );
    assert_eq!(lost, 0);
    assert!(ledger.values().all(|times| *times >= 1), "every task was worked on");
}
