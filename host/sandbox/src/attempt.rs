//! One attempt: a fresh store, one call, an outcome.
//!
//! Nothing of an attempt outlives it. One deadline covers all of it: guest code is
//! interrupted at an epoch tick, a waiting host call by dropping the future. Timers are
//! armed only for an attempt that did not end in its first poll, because most do.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bulkhead_core::{
    Child, Failure, FailureKind, Limits, LogLine, Metering, Outcome, Parent, Payload, Task, UnixMs,
};
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use wasmtime::Store;

use crate::cancel::Cancels;
use crate::compartment::{Compartment, Opening, Setting, Stdio, Stop, Stopped};
use crate::failure::{self, Circumstances};
use crate::handler::Returned;
use crate::journal::Closed;
use crate::plugin::{Plugin, Program};
use crate::powers::Powers;
use crate::sandbox::Sandbox;
use crate::seat::{Seat, Seats};
use crate::stdio::CollectedStream;
use crate::worker::Elsewhere;
use crate::{Cancel, ProgressSink, Services, Unavailable, command};

/// Longest media type of an output, in bytes.
pub(crate) const MAX_CONTENT_TYPE_BYTES: usize = 256;

/// One attempt at one task.
pub struct Attempt<'a> {
    /// The task.
    pub task: &'a Task,
    /// The attempt's number, starting at 1.
    pub attempt: u32,
    /// How many attempts the task may use in all.
    pub max_attempts: u32,
    /// When it must have ended. `limits.wall_ms` may end it earlier.
    pub deadline_at: UnixMs,
    /// The limits in effect; the host's ceilings still apply on top.
    pub limits: Limits,
    /// Stops the attempt.
    pub cancel: Cancel,
    /// Where the guest's progress goes.
    pub progress: Option<Arc<dyn ProgressSink>>,
    /// What the tasks came to that this one waited for. The guest reads them on demand.
    pub parents: Option<Arc<[Parent]>>,
    /// What stands behind the capabilities that it was granted, for its tenant. Of a batch,
    /// the first attempt's count.
    pub services: Services,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptEnd {
    /// What it came to.
    pub outcome: Outcome,
    /// What it used.
    pub metering: Metering,
    /// The log lines that were kept.
    pub logs: Vec<LogLine>,
    /// The tasks to submit with its completion; none unless it is done.
    pub children: Vec<Child>,
}

impl Plugin {
    /// Run one attempt in a fresh compartment. An error means that the host could not
    /// run it; the task is not to blame and the attempt does not count.
    pub async fn attempt(&self, attempt: Attempt<'_>) -> Result<AttemptEnd, Unavailable> {
        if let Program::Elsewhere(elsewhere) = &self.program {
            return self.attempt_elsewhere(elsewhere, attempt).await;
        }
        let limits = self.sandbox.within_ceilings(attempt.limits);
        let cancel = Cancels::One(attempt.cancel.clone());
        let stop = Stop::after(limits.wall_ms, attempt.deadline_at, cancel);
        let seats = Seats::alone(self.seat(&attempt, stop.began, limits.log_bytes));
        let setting = self.setting(&attempt, &limits);
        let powers = self.powers(&attempt.services);
        match &self.program {
            Program::Handler(program) => {
                let opening = Opening { stop, stdio: Stdio::Logged, seats, setting, powers };
                let mut run = Run::open(&self.sandbox, limits, opening)?;
                let call = run.bounded(async |store, instantiated| {
                    self.open_folders(store).await?;
                    program.handle(store, &attempt, instantiated).await
                });
                let ended = call.await;
                run.end(ended.map(|returned| handler_outcome(returned, &limits)))
            }
            Program::Command(program) => {
                let output = CollectedStream::new(limits.result_bytes);
                let input = Bytes::copy_from_slice(&attempt.task.payload.data);
                let name = self.name.clone();
                let stdio = Stdio::Command { name, input, output: output.clone() };
                let opening = Opening { stop, stdio, seats, setting, powers };
                let mut run = Run::open(&self.sandbox, limits, opening)?;
                let call = run.bounded(async |store, instantiated| {
                    self.open_folders(store).await?;
                    program.run(store, instantiated).await
                });
                let ended = call.await;
                let last_error = run.seats().common.journal.last_error();
                let outcome = |code| command::outcome(code, output.take(), last_error, &limits);
                run.end(ended.map(outcome))
            }
            Program::Elsewhere(_) => Err(Unavailable::Broken("it has no worker".to_owned())),
        }
    }

    /// Run one attempt in a worker process.
    async fn attempt_elsewhere(
        &self,
        elsewhere: &Arc<Elsewhere>,
        attempt: Attempt<'_>,
    ) -> Result<AttemptEnd, Unavailable> {
        // Boxed, so that attempts on threads do not carry its size.
        let running = Box::pin(self.sandbox.run_elsewhere(self, elsewhere, vec![attempt]));
        let ended = running.await?.ends.pop();
        ended.ok_or_else(|| Unavailable::Broken("the attempt has no end".to_owned()))
    }
}

impl Plugin {
    /// The seat of an attempt.
    pub(crate) fn seat(&self, attempt: &Attempt<'_>, began: Instant, log_bytes: u64) -> Seat {
        let seat = Seat::of(attempt, began, log_bytes);
        if self.uses.enqueue { seat.submitting(attempt.task) } else { seat }
    }

    /// What a guest can tell of time and chance in an attempt.
    pub(crate) fn setting(&self, attempt: &Attempt<'_>, limits: &Limits) -> Setting {
        let Task { id, submitted_at, .. } = attempt.task;
        Setting::of(&self.grants, *id, *submitted_at, limits.wall_ms)
    }

    /// Open the folders of an attempt, if the plugin uses them.
    pub(crate) async fn open_folders(
        &self,
        store: &mut Store<Compartment>,
    ) -> wasmtime::Result<()> {
        if !self.uses.fs {
            return Ok(());
        }
        store.data_mut().open_folders(self.sandbox.open_files()).await
    }

    /// What an attempt has of what was granted.
    pub(crate) fn powers(&self, services: &Services) -> Option<Box<Powers>> {
        let bounds = self.sandbox.config().children;
        (!self.uses.is_empty()).then(|| Powers::new(&self.grants, services, bounds))
    }
}

/// An attempt, or a batch of them, in progress. Describing a plugin is one too.
pub(crate) struct Run {
    store: Store<Compartment>,
    limits: Limits,
    stack_bytes: usize,
    allowed: Duration,
    cpu: Duration,
    instantiate: Duration,
}

impl Run {
    pub(crate) fn open(
        sandbox: &Sandbox,
        limits: Limits,
        opening: Opening,
    ) -> Result<Self, Unavailable> {
        let config = sandbox.config();
        let allowed = opening.stop.deadline.saturating_duration_since(opening.stop.began);
        let store = Compartment::open(sandbox.engine(), &limits, config.random_bytes, opening)
            .map_err(|error| Unavailable::Broken(format!("{error:#}")))?;
        let stack_bytes = config.stack_bytes;
        let (cpu, instantiate) = (Duration::ZERO, Duration::ZERO);
        Ok(Self { store, limits, stack_bytes, allowed, cpu, instantiate })
    }

    /// Do `work` in the store until it ends or must stop. `work` writes down how long
    /// instantiating took.
    pub(crate) async fn bounded<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Store<Compartment>, &mut Duration) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let stop = self.store.data().stop.clone();
        if let Some(stopped) = stop.due() {
            return Err(wasmtime::Error::new(stopped));
        }
        let work = work(&mut self.store, &mut self.instantiate);
        let mut work = pin!(metered(work, &mut self.cpu));
        let first = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx)));
        if let Poll::Ready(ended) = first.await {
            return ended;
        }
        tokio::select! {
            biased;
            () = stop.cancel.cancelled() => Err(wasmtime::Error::new(Stopped::Cancelled)),
            ended = &mut work => ended,
            () = tokio::time::sleep_until(stop.deadline.into()) => {
                Err(wasmtime::Error::new(Stopped::DeadlineInHostCall))
            }
        }
    }

    pub(crate) fn seats(&self) -> &Seats {
        &self.store.data().seats
    }

    pub(crate) fn seats_mut(&mut self) -> &mut Seats {
        &mut self.store.data_mut().seats
    }

    /// Take the secrets that the guest was handed out of an attempt's end.
    pub(crate) fn redact(&self, end: &mut AttemptEnd) {
        if let Some(powers) = &self.store.data().powers {
            powers.redact(end);
        }
    }

    /// The end of the attempt, from what its work came to.
    pub(crate) fn end(
        mut self,
        ended: wasmtime::Result<Outcome>,
    ) -> Result<AttemptEnd, Unavailable> {
        let log = self.seats().common.journal.close();
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(self.judge(&error, log.panic.as_deref())?),
        };
        let metering = self.metering(&log);
        let children = children(&outcome, &mut self.seats_mut().common);
        let mut end = AttemptEnd { outcome, metering, logs: log.lines, children };
        self.redact(&mut end);
        Ok(end)
    }

    /// The failure that ended the work, unless it is the host's own trouble.
    pub(crate) fn judge(
        &self,
        error: &wasmtime::Error,
        panic: Option<&str>,
    ) -> Result<Failure, Unavailable> {
        let about = Circumstances {
            limits: &self.limits,
            allowed_ms: u64::try_from(self.allowed.as_millis()).unwrap_or(u64::MAX),
            stack_bytes: self.stack_bytes,
            panic,
        };
        failure::judge(error, &about)
    }

    /// What the work used, with what `log` says of its lines.
    pub(crate) fn metering(&self, log: &Closed) -> Metering {
        let compartment = self.store.data();
        let mut metering = Metering {
            fuel: self.limits.fuel.saturating_sub(self.store.get_fuel().unwrap_or(0)),
            peak_memory_bytes: compartment.memory.peak_bytes(),
            cpu_us: micros(self.cpu),
            wall_us: micros(compartment.stop.began.elapsed()),
            instantiate_us: micros(self.instantiate),
            log_bytes: log.written_bytes,
            log_lines_dropped: log.dropped_lines,
            ..Metering::default()
        };
        if let Some(powers) = &compartment.powers {
            powers.meter(&mut metering);
        }
        if let Some(http) = &compartment.http {
            http.meter(&mut metering);
        }
        metering
    }
}

/// The tasks that go out with an attempt's end: those of one that is done.
pub(crate) fn children(outcome: &Outcome, seat: &mut Seat) -> Vec<Child> {
    let children = seat.take_children();
    if matches!(outcome, Outcome::Done(_)) { children } else { Vec::new() }
}

/// What a handler's answer comes to.
pub(crate) fn handler_outcome(returned: Returned, limits: &Limits) -> Outcome {
    match returned {
        Ok(output) => done(output.content_type, output.data, limits),
        Err(failure) => Outcome::Failed(failure::returned(failure)),
    }
}

/// Done, if the output keeps to its limits.
pub(crate) fn done(content_type: String, data: Vec<u8>, limits: &Limits) -> Outcome {
    if content_type.len() > MAX_CONTENT_TYPE_BYTES {
        let message = format!(
            "the output's content type has {} bytes; at most {MAX_CONTENT_TYPE_BYTES} are allowed",
            content_type.len()
        );
        return Outcome::Failed(Failure::new(FailureKind::ResultTooLarge, message));
    }
    if (content_type.len() + data.len()) as u64 > limits.result_bytes {
        let (kind, message) = failure::result_too_large(limits.result_bytes);
        return Outcome::Failed(Failure::new(kind, message));
    }
    Outcome::Done(Payload { content_type, data })
}

/// `work`, with the thread's CPU time during each poll added to `spent`. A panic of the host's
/// own code in it ends the work, not the thread: the store is dropped with whatever it left.
async fn metered<T>(
    work: impl Future<Output = wasmtime::Result<T>>,
    spent: &mut Duration,
) -> wasmtime::Result<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        let before = thread_cpu();
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        *spent += thread_cpu().saturating_sub(before);
        polled.unwrap_or_else(|_| Poll::Ready(Err(wasmtime::Error::new(Stopped::HostPanicked))))
    })
    .await
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Note in `spent` how long `work` takes.
pub(crate) async fn timed<T>(spent: &mut Duration, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let ended = work.await;
    *spent = began.elapsed();
    ended
}
