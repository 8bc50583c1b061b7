//! Handing attempts over and waiting for their ends.
//!
//! A worker that is over ends what it ran as trapped, which counts: whose guest it was that
//! brought it down cannot be told, and they are all one tenant's. A version whose attempts bring
//! workers down again and again is not run for a while. A worker that does not end an attempt
//! when it must is killed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::{Duration, Instant};

use bulkhead_core::{Digest, Failure, FailureKind, Limits, Metering, Outcome};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::check;
use super::pool::{Reach, Workers};
use super::process::Worker;
use super::ware::Elsewhere;
use crate::attempt::{Attempt, AttemptEnd};
use crate::batch::BatchEnd;
use crate::cancel::Cancels;
use crate::capability::Reports;
use crate::compartment::Stop;
use crate::failure;
use crate::plugin::Plugin;
use crate::powers::Powers;
use crate::service::Services;
use crate::worker::wire::{Assigned, Described, Down, Ends, Given};
use crate::{CapabilitySet, Gate, Rejection, Unavailable};

/// How long a worker may take to stop what must stop.
const GRACE: Duration = Duration::from_secs(5);

/// Workers in a row that a version brought down before it is not run for a while.
const CRASHES: u32 = 3;

/// How long it is not run then, at first and at most.
const BACKOFF_MS: [u64; 2] = [1_000, 60_000];

/// Versions whose crashes are remembered.
const VERSIONS_KEPT: usize = 1_024;

/// Who waits for a plugin to describe itself.
pub(super) type Describing = oneshot::Sender<Result<Described, (Gate, String)>>;

/// How a worker's part in an attempt ended.
enum Gone {
    Ended(Result<Ends, Unavailable>),
    Fell(String),
}

/// An attempt at a worker, as the one who hears the worker needs it.
pub(super) struct Running {
    done: oneshot::Sender<(Gone, Option<Box<Powers>>)>,
    pub(super) services: Services,
    pub(super) powers: Option<Box<Powers>>,
    pub(super) uses: CapabilitySet,
    pub(super) progress: Vec<Option<Reports>>,
    /// Whether it waits for an answer other than a connection.
    pub(super) asking: bool,
    pub(super) requests_left: u32,
    pub(super) folders_left: usize,
    /// Whether the worker can have heard of it.
    pub(super) begun: Arc<AtomicBool>,
    /// Whether the host's own code failed in it.
    failed_by_host: bool,
    /// Gone when the attempt is over.
    pub(super) alive: watch::Sender<()>,
}

impl Running {
    pub(super) fn end(self, mut end: Result<Ends, Unavailable>) {
        if let (Ok(ends), true) = (&mut end, self.failed_by_host) {
            let (kind, message) = failure::host_failed();
            for end in &mut ends.ends {
                end.outcome = Outcome::Failed(Failure::new(kind, message));
                end.children.clear();
            }
            ends.fell = ends.ends.len() > 1;
        }
        let _ = self.done.send((Gone::Ended(end), self.powers));
    }

    /// The host's own code failed in it: whatever it comes to, it failed. How many tasks it has.
    pub(super) fn fail_by_host(&mut self) -> u32 {
        self.failed_by_host = true;
        self.progress.fill_with(|| None);
        u32::try_from(self.progress.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn fall(self, why: &str) {
        let _ = self.done.send((Gone::Fell(why.to_owned()), self.powers));
    }
}

/// Versions that brought workers down.
#[derive(Default)]
pub(super) struct Backoffs(Mutex<HashMap<Digest, Crashes>>);

struct Crashes {
    in_a_row: u32,
    until: Instant,
}

impl Backoffs {
    /// For how long a version is not run, in milliseconds, and how often it fell.
    fn now(&self, version: Digest) -> Option<(u64, u32)> {
        let crashes = self.0.lock();
        let Crashes { in_a_row, until } = crashes.get(&version)?;
        let left = until.saturating_duration_since(Instant::now());
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        (*in_a_row >= CRASHES && left_ms > 0).then_some((left_ms, *in_a_row))
    }

    fn fell(&self, version: Digest) {
        let mut crashes = self.0.lock();
        if crashes.len() >= VERSIONS_KEPT {
            crashes.clear();
        }
        let now = Instant::now();
        let known = crashes.entry(version).or_insert(Crashes { in_a_row: 0, until: now });
        known.in_a_row = known.in_a_row.saturating_add(1);
        let doublings = known.in_a_row.saturating_sub(CRASHES).min(16);
        let wait_ms = (BACKOFF_MS[0] << doublings).min(BACKOFF_MS[1]);
        known.until = now + Duration::from_millis(wait_ms);
    }

    fn ended(&self, version: Digest) {
        let mut crashes = self.0.lock();
        if !crashes.is_empty() {
            crashes.remove(&version);
        }
    }
}

impl Workers {
    /// Let a plugin describe itself, in a worker of its own; whether it takes batches besides.
    pub(crate) async fn describe(
        self: &Arc<Self>,
        plugin: &mut Elsewhere,
        limits: Limits,
    ) -> Result<crate::bindings::bulkhead::handler::types::PluginDescription, Rejection> {
        let broken = |why: String| Rejection::new(Gate::Smoke, why);
        let worker = self.single().await.map_err(broken)?;
        let _kill = Kill(&worker);
        let (to, from) = oneshot::channel();
        worker.describing.lock().insert(plugin.id, to);
        let told = worker
            .give(plugin)
            .and_then(|()| worker.tell(&Down::Describe { plugin: plugin.id }, Vec::new()));
        told.map_err(|error| broken(error.to_string()))?;
        if worker.is_gone() {
            worker.describing.lock().clear();
        }
        let within = Duration::from_millis(limits.wall_ms) + GRACE;
        let described = match tokio::time::timeout(within, from).await {
            Ok(Ok(described)) => described,
            Ok(Err(_)) => {
                let why = "describing itself brought down the worker process that it ran in";
                return Err(Rejection::new(Gate::Describe, why));
            }
            Err(_) => {
                let why = "describing itself did not end when it had to";
                return Err(Rejection::new(Gate::Describe, why));
            }
        };
        let described = described.map_err(|(gate, message)| Rejection::new(gate, message))?;
        plugin.takes_batches = described.takes_batches;
        Ok(described.into_description())
    }

    /// Run attempts at tasks of one tenant in its worker.
    pub(crate) async fn run(
        self: &Arc<Self>,
        plugin: &Plugin,
        elsewhere: &Arc<Elsewhere>,
        attempts: Vec<Attempt<'_>>,
    ) -> Result<BatchEnd, Unavailable> {
        let Some(first) = attempts.first() else {
            return Ok(BatchEnd { ends: Vec::new(), fell: false });
        };
        if let Some((left_ms, times)) = self.backoffs.now(plugin.digest) {
            return Ok(not_run(attempts.len(), left_ms, times));
        }
        let own: Vec<Limits> =
            attempts.iter().map(|a| plugin.sandbox.within_ceilings(a.limits)).collect();
        let cancels = attempts.iter().map(|attempt| attempt.cancel.clone()).collect();
        let together = elsewhere.takes_batches || attempts.len() == 1;
        let walls = own.iter().map(|limits| limits.wall_ms);
        let wall_ms = if together { walls.min() } else { Some(walls.sum()) };
        let deadline_at = attempts.iter().map(|attempt| attempt.deadline_at).min();
        let stop = Stop::after(
            wall_ms.unwrap_or_default(),
            deadline_at.unwrap_or_default(),
            Cancels::All(cancels),
        );
        let reach = Reach::of(&plugin.grants, plugin.uses.fs);
        let services = &first.services;
        let leasing = self.lease(&first.task.tenant, elsewhere, reach, services.scratch.as_ref());
        let worker = tokio::select! {
            worker = leasing => worker?,
            () = stop.cancel.cancelled() => return Ok(cancelled(attempts.len())),
            () = tokio::time::sleep_until(stop.deadline.into()) => {
                let why = "no worker process became free in time; raise `host.workers`";
                return Err(Unavailable::PoolFull(why.to_owned()));
            }
        };
        let mut at = At { workers: self, worker: &worker, id: worker.number(), over: false };
        let (done, mut ended) = oneshot::channel();
        let rounds = if together { 1 } else { attempts.len() };
        let running = Running::of(plugin, &attempts, rounds, stop.began, done);
        let begun = running.begun.clone();
        worker.running.lock().insert(at.id, running);
        let given = worker.give(elsewhere).and_then(|()| {
            worker.tell_begin(&assign(at.id, elsewhere.id, plugin.uses, &attempts), begun)
        });
        if let Err(error) = given {
            // The worker does not know of it and will not end it.
            drop(worker.running.lock().remove(&at.id));
            return Err(Unavailable::Broken(error.to_string()));
        }
        if worker.is_gone()
            && let Some(running) = worker.running.lock().remove(&at.id)
        {
            running.fall("it ended before the attempt began");
        }
        let mut forwarding = std::pin::pin!(forward(&worker, at.id, &attempts));
        let gone = loop {
            tokio::select! {
                biased;
                gone = &mut ended => break gone.ok(),
                () = &mut forwarding => {}
                () = tokio::time::sleep_until((stop.deadline + GRACE).into()) => {
                    worker.kill("it did not end an attempt when its time was over, and was killed");
                }
            }
        };
        at.over = true;
        let (gone, powers) = gone.unwrap_or((Gone::Fell("it was lost".into()), None));
        let powers = powers.as_deref();
        let ends = match gone {
            Gone::Ended(Ok(ends)) => ends,
            Gone::Ended(Err(unavailable)) => {
                // Given back, it would hold up others' tasks on the word of a worker. The next
                // attempt has another one.
                worker.retire();
                let why = format!("it could not run it: {}", check::told(&unavailable));
                return Ok(fallen(&attempts, &stop, powers, &why));
            }
            Gone::Fell(why) => {
                self.backoffs.fell(plugin.digest);
                return Ok(fallen(&attempts, &stop, powers, &why));
            }
        };
        match check::ends(plugin, &attempts, &own, ends, stop.began, powers) {
            Ok(end) => {
                self.backoffs.ended(plugin.digest);
                Ok(end)
            }
            Err(lie) => {
                tracing::warn!(pid = worker.pid, lie = %lie.escape_debug(),
                    "a guest worker said what no worker could mean; it is killed");
                worker.kill("it lied about the end of an attempt, and was killed");
                self.backoffs.fell(plugin.digest);
                let why = format!("it lied about the attempt's end: {lie}");
                Ok(fallen(&attempts, &stop, powers, &why))
            }
        }
    }
}

impl Running {
    fn of(
        plugin: &Plugin,
        attempts: &[Attempt<'_>],
        rounds: usize,
        began: Instant,
        done: oneshot::Sender<(Gone, Option<Box<Powers>>)>,
    ) -> Self {
        let services = attempts.first().map(|first| first.services.clone()).unwrap_or_default();
        let rounds_u32 = u32::try_from(rounds).unwrap_or(u32::MAX);
        let mut powers = plugin.powers(&services);
        if let Some(powers) = &mut powers {
            powers.kv_operations = powers.kv_operations.saturating_mul(rounds_u32);
        }
        let requests = plugin.grants.http.as_ref().map_or(0, |http| http.requests);
        let progress = attempts.iter().map(|attempt| attempt.progress.clone());
        Self {
            done,
            services,
            powers,
            uses: plugin.uses,
            progress: progress.map(|sink| Some(Reports::to(sink?, began))).collect(),
            asking: false,
            requests_left: requests.saturating_mul(rounds_u32),
            folders_left: rounds,
            begun: Arc::default(),
            failed_by_host: false,
            alive: watch::channel(()).0,
        }
    }
}

/// Kills a worker that was for one thing only.
struct Kill<'a>(&'a Worker);

impl Drop for Kill<'_> {
    fn drop(&mut self) {
        self.0.kill("it was for one thing only");
    }
}

/// An attempt's place at a worker. If nobody waits for its end any more, it is stopped, and its
/// place is free when it has.
struct At<'a> {
    workers: &'a Workers,
    worker: &'a Arc<Worker>,
    id: u64,
    over: bool,
}

impl Drop for At<'_> {
    fn drop(&mut self) {
        if !self.over {
            let tasks = match self.worker.running.lock().get(&self.id) {
                Some(running) => running.progress.len(),
                None => 0,
            };
            for task in 0..u32::try_from(tasks).unwrap_or(u32::MAX) {
                // A worker that is over needs not be told.
                let _ = self.worker.tell(&Down::Cancel { attempt: self.id, task }, Vec::new());
            }
        }
        self.workers.done(self.worker);
    }
}

fn assign<'a>(id: u64, plugin: u64, uses: CapabilitySet, attempts: &'a [Attempt<'_>]) -> Down<'a> {
    let services = attempts.first().map(|first| &first.services);
    let given = services.map_or_else(Given::default, |services| Given {
        kv: services.kv.is_some(),
        config: services.config.is_some(),
        secrets: services.secrets.is_some(),
        http: services.http.is_some(),
        // Folders of the host come the same way.
        fs: uses.fs,
    });
    let tasks = attempts.iter().map(|attempt| Assigned {
        task: Cow::Borrowed(attempt.task),
        attempt: attempt.attempt,
        max_attempts: attempt.max_attempts,
        deadline_at: attempt.deadline_at,
        limits: attempt.limits,
        cancelled: attempt.cancel.is_cancelled(),
        progress: attempt.progress.is_some(),
        parents: attempt.parents.as_deref().map(Cow::Borrowed),
    });
    Down::Attempt { attempt: id, plugin, given, tasks: tasks.collect() }
}

/// Tell the worker of every task that is cancelled; it never ends. If all are, the worker has
/// only so long to end them.
async fn forward(worker: &Worker, id: u64, attempts: &[Attempt<'_>]) {
    type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    let mut waiting: Vec<Option<Waiting<'_>>> = attempts
        .iter()
        .map(|attempt| Some(Box::pin(attempt.cancel.cancelled()) as Waiting<'_>))
        .collect();
    std::future::poll_fn(|cx| {
        for (wait, task) in waiting.iter_mut().zip(0..) {
            if wait.as_mut().is_some_and(|wait| wait.as_mut().poll(cx).is_ready()) {
                *wait = None;
                // A worker that is over needs not be told.
                let _ = worker.tell(&Down::Cancel { attempt: id, task }, Vec::new());
            }
        }
        if waiting.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    tokio::time::sleep(GRACE).await;
    worker.kill("it did not stop attempts that were cancelled, and was killed");
    std::future::pending::<()>().await;
}

fn failed(attempts: usize, failure: &Failure, metering: Metering) -> Vec<AttemptEnd> {
    let end = AttemptEnd {
        outcome: Outcome::Failed(failure.clone()),
        metering,
        logs: Vec::new(),
        children: Vec::new(),
    };
    vec![end; attempts]
}

fn cancelled(attempts: usize) -> BatchEnd {
    let message = "the task was cancelled before a worker process was free";
    let failure = Failure::new(FailureKind::Cancelled, message);
    BatchEnd { ends: failed(attempts, &failure, Metering::default()), fell: false }
}

fn not_run(attempts: usize, left_ms: u64, times: u32) -> BatchEnd {
    let message = format!(
        "it was not run: this version of the plugin brought down {times} worker processes in a \
         row, and is tried again in {left_ms} ms"
    );
    let failure =
        Failure { retry_after_ms: Some(left_ms), ..Failure::new(FailureKind::Trapped, message) };
    BatchEnd { ends: failed(attempts, &failure, Metering::default()), fell: false }
}

/// The ends of attempts whose worker is over. A batch falls, so that its tasks run alone.
fn fallen(attempts: &[Attempt<'_>], stop: &Stop, powers: Option<&Powers>, why: &str) -> BatchEnd {
    let late = Instant::now() >= stop.deadline;
    let kind = if late { FailureKind::TimedOut } else { FailureKind::Trapped };
    let message = format!("the worker process that ran it did not end it: {why}");
    let failure = Failure::new(kind, crate::text::bounded(message, failure::MAX_MESSAGE_BYTES));
    let wall_us = u64::try_from(stop.began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let number = attempts.len();
    let wall_us = wall_us / u64::try_from(number.max(1)).unwrap_or(1);
    let mut ends = failed(number, &failure, Metering { wall_us, ..Metering::default() });
    for (end, attempt) in ends.iter_mut().zip(attempts) {
        if attempt.cancel.is_cancelled() {
            let message = "the task was cancelled while it ran";
            end.outcome = Outcome::Failed(Failure::new(FailureKind::Cancelled, message));
        }
    }
    if let Some(powers) = powers {
        ends.iter_mut().for_each(|end| powers.redact(end));
    }
    BatchEnd { ends, fell: number > 1 }
}
