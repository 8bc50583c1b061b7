//! From a claim to the end of its attempt: resolve the handler, see whether it may run,
//! run it. What follows is `conclude`'s affair, and several at a time are `together`'s.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{
    Failure, FailureKind, Limits, Outcome, Parent, Payload, RetryPolicy, Task, UnixMs,
};
use bulkhead_queue::{Apart, Claim, ClaimToken, Settlement};
use bulkhead_sandbox::{Attempt, AttemptEnd, ProgressSink, Services};
use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::runtime::Handle as Runtime;

use super::berth::Berth;
use super::beside::{self, Part};
use super::conclude::{Ran, bury, conclude, give_back, without_running};
use super::events::claimed;
use super::layered;
use super::ledger::Handle;
use super::line::Line;
use super::progress::Reporter;
use super::recall::Memory;
use super::room;
use super::shelf::Shelved;
use super::together::{self, Load};
use crate::clock::unix_ms;
use crate::plugins::Serving;
use crate::traces::AttemptTrace;

/// How long one thread works through a batch before it lets other tasks of the
/// runtime have a turn.
const TURN: Duration = Duration::from_millis(1);

/// How long a record that could not be fetched is left.
const FETCH_PAUSE: Duration = Duration::from_millis(100);

/// Run claims on the guests' threads. Each thread works through what was claimed; an
/// attempt that does not end in its first poll goes on as a task of its own. Most do end,
/// and so cost no task, no wake-up and no move of their large futures.
pub(super) fn start(
    line: &Arc<Line>,
    guests: &Runtime,
    claims: Vec<Claim>,
    apart: Vec<Apart>,
    mut records: Shelved,
) {
    let table = line.shared.registry.table();
    // Each claim has its place from here on, whatever happens to those before it.
    let here = claims.iter().map(|claim| (claim.id, &claim.token, claim.bytes));
    let there = apart.iter().map(|apart| (apart.id, &apart.token, apart.bytes));
    let handles =
        line.ledger.begin(here.clone().chain(there.clone()).map(|(id, token, _)| (id, token)));
    let berths = here.chain(there).zip(handles).map(|((id, token, bytes), handle)| {
        Berth::new(line, (id, token), handle, records.part(bytes))
    });
    let mut berths: Vec<Berth> = berths.collect();
    let far_berths = berths.split_off(claims.len());
    for (apart, berth) in apart.into_iter().zip(far_berths) {
        guests.spawn(contained(from_afar(line.clone(), apart, berth)));
    }
    let claims = claims.into_iter().zip(berths);
    // A layer is around one attempt.
    if table.takes_batches() && line.queue.layers.is_empty() {
        let loads = together::gather(&table, claims);
        spread(line, guests, loads.len(), loads.into_iter());
    } else {
        let loads = claims.map(|(claim, berth)| Load::One(claim, berth));
        spread(line, guests, loads.len(), loads);
    }
}

fn spread(
    line: &Arc<Line>,
    guests: &Runtime,
    number: usize,
    loads: impl Iterator<Item = Load> + Send + 'static,
) {
    let threads = guests.metrics().num_workers().min(number);
    let loads = Arc::new(Mutex::new(loads));
    for _ in 0..threads {
        guests.spawn(work_through(line.clone(), loads.clone()));
    }
}

async fn work_through(line: Arc<Line>, loads: Arc<Mutex<impl Iterator<Item = Load> + Send>>) {
    let mut turn = Instant::now();
    loop {
        let next = loads.lock().next();
        match next {
            None => return,
            Some(Load::One(claim, berth)) => {
                let mut attempt = Box::pin(contained(run(line.clone(), claim, berth)));
                if futures::poll!(attempt.as_mut()).is_pending() {
                    tokio::spawn(attempt);
                }
            }
            Some(Load::Many(claims)) => {
                let mut attempts = Box::pin(contained(together::run(line.clone(), claims)));
                if futures::poll!(attempts.as_mut()).is_pending() {
                    tokio::spawn(attempts);
                }
            }
        }
        if turn.elapsed() >= TURN {
            tokio::task::yield_now().await;
            turn = Instant::now();
        }
    }
}

/// A panic of the host's own code in `work` ends it and nothing else; the berths of its claims
/// are given up as it is dropped.
async fn contained(work: impl Future<Output = ()>) {
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        tracing::error!("the host's own code panicked around an attempt");
    }
}

/// Run a claim whose record was left apart, once it is here. While the broker is away it waits,
/// as long as nobody interrupts it: then its lease runs out.
async fn from_afar(line: Arc<Line>, apart: Apart, berth: Berth) {
    loop {
        match line.shared.broker.fetch(&line.queue.name, &apart).await {
            Ok(Some(claim)) => return run(line, claim, berth).await,
            Err(error) if error.is_unavailable() => {
                tracing::debug!(queue = %line.queue.name, task = %apart.id, %error,
                    "cannot fetch a record");
            }
            Ok(None) => {
                tracing::warn!(queue = %line.queue.name, task = %apart.id, "a record is gone");
                return berth.leave(None);
            }
            Err(error) => {
                tracing::warn!(queue = %line.queue.name, task = %apart.id, %error,
                    "a record cannot be fetched");
                return berth.leave(None);
            }
        }
        tokio::select! {
            () = berth.handle.cancel.cancelled() => return berth.leave(None),
            () = tokio::time::sleep(FETCH_PAUSE) => {}
        }
    }
}

/// Run one claim and enter its end in the ledger.
async fn run(line: Arc<Line>, claim: Claim, mut berth: Berth) {
    berth.hold_tally(&claim);
    match admit(&line, claim, &berth) {
        Ok(job) => alone(line, job, berth, None).await,
        Err(settlement) => berth.leave(settlement),
    }
}

/// Run a job by itself, when there is memory for it; `fallen` is its share of a batch that
/// fell.
pub(super) async fn alone(
    line: Arc<Line>,
    mut job: Job,
    mut berth: Berth,
    fallen: Option<AttemptEnd>,
) {
    if fallen.is_some() {
        job.part = None;
    }
    let settlement = match room::hold_for(&line, &job).await {
        Ok(hold) => {
            berth.hold = hold;
            job.begin(&line);
            match job.recall(&line).await {
                Some(output) => job.recalled(&line, output),
                None => attempt(&line, job, fallen).await,
            }
        }
        Err(failure) => {
            conclude(&line, job, without_running(Outcome::Failed(failure)), Ran::default())
        }
    };
    berth.settle(settlement).await;
}

/// A claim whose handler may run.
pub(super) struct Job {
    pub(super) token: ClaimToken,
    pub(super) task: Box<Task>,
    pub(super) attempt: u32,
    pub(super) parents: Option<Arc<[Parent]>>,
    pub(super) policy: Arc<RetryPolicy>,
    pub(super) started_at: UnixMs,
    pub(super) handle: Handle,
    /// The plugin version that serves it.
    pub(super) serving: Option<Arc<Serving>>,
    memory: Option<Memory>,
    /// Its part in the trial of a new version, if there is one.
    pub(super) part: Option<Box<Part>>,
    pub(super) trace: Option<Box<AttemptTrace>>,
}

/// The job of a claim, or the settlement of one whose handler need not run.
#[allow(clippy::result_large_err, reason = "it is rare, and is moved once")]
pub(super) fn admit(
    line: &Arc<Line>,
    claim: Claim,
    berth: &Berth,
) -> Result<Job, Option<Settlement>> {
    let Claim { token, id, task, attempt, parents, cancelled, .. } = claim;
    let handle = berth.handle.clone();
    let task = match task {
        Ok(task) => task,
        Err(unreadable) => return Err(Some(bury(line, token, id, unreadable, attempt))),
    };
    let table = line.shared.registry.table();
    let serving = table.get(&task.task_type, &task.tenant).cloned();
    let trial = serving.as_ref().and_then(|serving| table.trial(serving)).cloned();
    drop(table);
    let handler = serving.as_ref().and_then(|serving| serving.plugin.handler(&task.task_type));
    let suggested = handler.and_then(|handler| handler.retry.as_ref());
    let policy = line.retry(suggested, task.terms.retry.as_ref());
    let parents = (!parents.is_empty()).then(|| Arc::from(parents));
    let (started_at, memory, part, trace) = (unix_ms(), None, None, None);
    let mut job = Job {
        token,
        task,
        attempt,
        parents,
        policy,
        started_at,
        handle,
        serving,
        memory,
        part,
        trace,
    };
    claimed(line, &job);
    if let Some(failure) = forestalled(&job, cancelled) {
        let end = without_running(Outcome::Failed(failure));
        return Err(conclude(line, job, end, Ran::default()));
    }
    let Some(serving) = &job.serving else {
        return Err(Some(give_back(line, job.token, &job.task)));
    };
    if let Some(ttl_ms) = serving.remembers_ms(&job.task.task_type) {
        let plugin = serving.plugin.digest();
        job.memory = Some(Memory::of(&job.task, &serving.shown, plugin, ttl_ms));
    }
    if let Some(trial) = trial.filter(|_| attempt == 1) {
        job.part = Part::of(&trial, serving, &job.task);
    }
    Ok(job)
}

/// Why an attempt fails before it begins, if it does.
fn forestalled(job: &Job, cancelled: bool) -> Option<Failure> {
    if cancelled {
        let message = "cancelled before the attempt began";
        return Some(Failure::new(FailureKind::Cancelled, message));
    }
    if job.attempt > job.policy.max_attempts.max(1) {
        let message = "every attempt lost its lease: its host died, hung or was cut off each time";
        return Some(Failure::new(FailureKind::LeaseLost, message));
    }
    let late_ms = job.started_at.checked_sub(job.task.terms.deadline_at?)?;
    let message = format!(
        "the task's deadline had passed {late_ms} ms before the attempt could begin, so it did \
         not run"
    );
    Some(Failure::new(FailureKind::TimedOut, message))
}

/// Run a job to its settlement; nothing if the claim is no longer this host's. `fallen` is
/// its share of a batch that fell.
pub(super) async fn attempt(
    line: &Arc<Line>,
    job: Job,
    fallen: Option<AttemptEnd>,
) -> Option<Settlement> {
    let Some(serving) = job.serving.clone() else {
        return Some(give_back(line, job.token, &job.task));
    };
    if !line.queue.layers.is_empty() {
        // Boxed, so that the future of those without layers stays as small.
        return Box::pin(layered::attempt(line, job, serving)).await;
    }
    let (ended, plugin) = if job.part.is_some() {
        // Boxed, so that the future of those without a part stays as small.
        Box::pin(beside::run(&job, &serving, |serving| job.attempt(line, serving))).await
    } else {
        (serving.run(job.attempt(line, &serving)).await, serving.plugin.digest())
    };
    match ended {
        Ok(end) => {
            if plugin == serving.plugin.digest() {
                job.remember(line, &end).await;
            }
            let end = match fallen {
                Some(fallen) => together::after(fallen, end, together::FELL),
                None => end,
            };
            conclude(line, job, end, Ran { plugin, cached: false })
        }
        Err(unavailable) => {
            line.stumble(&unavailable);
            Some(give_back(line, job.token, &job.task))
        }
    }
}

impl Job {
    /// Now it begins.
    pub(super) fn begin(&mut self, line: &Line) {
        self.started_at = unix_ms();
        if let Some(traces) = &line.shared.traces {
            let trace = traces.begin(&line.shared.host, &mut self.task, self.attempt);
            self.trace = trace.map(Box::new);
        }
    }

    /// The limits that it runs under, and the bytes of its payload.
    pub(super) fn need(&self, serving: &Serving) -> (Limits, u64) {
        let limits = serving.plugin.limits(&self.task.task_type, &self.task.limits);
        (limits, self.task.payload.data.len() as u64)
    }

    /// The version on trial that may run it as well, if one may.
    pub(super) fn chosen(&self) -> Option<&Serving> {
        let part = self.part.as_deref().filter(|part| part.is_chosen)?;
        Some(&part.trial.serving)
    }

    /// The result that is remembered of the same work, if its operator asked for that.
    pub(super) async fn recall(&self, line: &Line) -> Option<Payload> {
        self.memory.as_ref()?.recall(line).await
    }

    /// The settlement of a job for which an earlier result stands in.
    pub(super) fn recalled(self, line: &Line, output: Payload) -> Option<Settlement> {
        let plugin = self.serving.as_ref().map(|serving| serving.plugin.digest());
        let ran = Ran { plugin: plugin.unwrap_or_default(), cached: true };
        conclude(line, self, without_running(Outcome::Done(output)), ran)
    }

    /// What the sandbox is to run.
    pub(super) fn attempt(&self, line: &Arc<Line>, serving: &Serving) -> Attempt<'_> {
        let limits = serving.plugin.limits(&self.task.task_type, &self.task.limits);
        self.attempt_within(line, serving, limits)
    }

    /// The same, within these limits.
    pub(super) fn attempt_within(
        &self,
        line: &Arc<Line>,
        serving: &Serving,
        limits: Limits,
    ) -> Attempt<'_> {
        let latest = unix_ms().saturating_add(limits.wall_ms);
        let deadline_at = self.task.terms.deadline_at;
        // A guest that cannot report is spared the sink.
        let progress = serving.reports_progress.then(|| {
            let (line, id, token) = (line.clone(), self.task.id, self.token.clone());
            Arc::new(Reporter { line, id, token }) as Arc<dyn ProgressSink>
        });
        Attempt {
            task: &self.task,
            attempt: self.attempt,
            max_attempts: self.policy.max_attempts.max(1),
            deadline_at: deadline_at.map_or(latest, |deadline| deadline.min(latest)),
            limits,
            cancel: self.handle.cancel.clone(),
            progress,
            parents: self.parents.clone(),
            services: self.services(line, serving),
        }
    }

    fn services(&self, line: &Line, serving: &Serving) -> Services {
        let notes = self.trace.as_ref().map(|trace| &trace.notes);
        line.shared.backends.services(serving, &self.task.tenant, notes)
    }

    /// Keep the output for later tasks of the same input, if the operator asked for it. One
    /// that came with submitted tasks would be only half of what the attempt came to.
    pub(super) async fn remember(&self, line: &Line, end: &AttemptEnd) {
        if let (Some(memory), Outcome::Done(output)) = (&self.memory, &end.outcome)
            && end.children.is_empty()
        {
            memory.remember(line, output).await;
        }
    }
}

/// How long a line pauses after the sandbox could not run an attempt.
const STUMBLE_PAUSE: Duration = Duration::from_millis(100);

/// When a line that stumbled may claim again.
pub(super) fn after_stumble() -> Instant {
    Instant::now() + STUMBLE_PAUSE
}
