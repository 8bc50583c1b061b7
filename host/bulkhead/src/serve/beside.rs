//! An attempt where a version is on trial: which of the two versions runs.
//!
//! A task that fails on the new version runs on the old one at once, within the same attempt, and
//! what that comes to is what counts. So a broken version costs no task anything but time: no
//! attempt, and not its last one. Only first attempts are tried, and only where there is time for
//! both before the task's deadline.

use std::sync::Arc;

use bulkhead_core::canary::is_handlers;
use bulkhead_core::{Digest, Limits, Outcome, Task};
use bulkhead_sandbox::{Attempt, AttemptEnd, Unavailable};

use super::attempt::Job;
use super::together;
use crate::clock::unix_ms;
use crate::plugins::{Serving, Trial};

/// The part that a job has in a trial.
pub(super) struct Part {
    pub(super) trial: Arc<Trial>,
    /// Whether the canary's share has the task.
    pub(super) is_chosen: bool,
}

impl Part {
    /// The part of a task's first attempt; none if there is no time to run it twice.
    pub(super) fn of(trial: &Arc<Trial>, serving: &Serving, task: &Task) -> Option<Box<Self>> {
        if let Some(deadline_at) = task.terms.deadline_at {
            let both = [serving, &*trial.serving];
            let wall = |serving: &Serving| limits(serving, task).wall_ms;
            let need_ms = both.into_iter().map(wall).fold(0, u64::saturating_add);
            if unix_ms().saturating_add(need_ms) >= deadline_at {
                return None;
            }
        }
        trial.serving.plugin.handler(&task.task_type)?;
        let is_chosen = trial.takes(task.id, &task.tenant);
        Some(Box::new(Self { trial: trial.clone(), is_chosen }))
    }
}

fn limits(serving: &Serving, task: &Task) -> Limits {
    serving.plugin.limits(&task.task_type, &task.limits)
}

/// Run a job on the version that serves, or on the one on trial; what it came to, and which
/// version's that is.
pub(super) async fn run<'a>(
    job: &'a Job,
    serving: &'a Serving,
    attempt: impl Fn(&'a Serving) -> Attempt<'a>,
) -> (Result<AttemptEnd, Unavailable>, Digest) {
    let old = serving.plugin.digest();
    let Some(Part { trial, is_chosen }) = job.part.as_deref() else {
        return (serving.run(attempt(serving)).await, old);
    };
    let turn = match is_chosen {
        true => trial.open(),
        false => None,
    };
    let Some(turn) = turn else {
        let ended = serving.run(attempt(serving)).await;
        match ended.as_ref().ok().and_then(Came::of) {
            Some(Came::Done(wall_us)) => trial.old_done(wall_us),
            Some(Came::Failed) => trial.old_failed(),
            None => {}
        }
        return (ended, old);
    };
    let new = trial.serving.plugin.digest();
    let first = match trial.serving.run(attempt(&trial.serving)).await {
        Ok(first) => first,
        // Nobody's fault, and perhaps the old version's worker is there.
        Err(unavailable) => {
            tracing::debug!(plugin = %serving.shown, error = %unavailable,
                "the version on trial cannot run");
            return (serving.run(attempt(serving)).await, old);
        }
    };
    match Came::of(&first) {
        Some(Came::Done(wall_us)) => {
            turn.done(wall_us);
            (Ok(first), new)
        }
        None => (Ok(first), new),
        Some(Came::Failed) => {
            let second = serving.run(attempt(serving)).await;
            match second.as_ref().ok().and_then(Came::of) {
                Some(Came::Done(_)) => turn.failed(),
                Some(Came::Failed) => turn.excused(),
                None => turn.unknown(),
            }
            let why =
                format!("ran again on the old version, since the canary {} failed", new.short());
            (second.map(|second| together::after(first, second, &why)), old)
        }
    }
}

/// What an attempt came to by its handler's doing.
enum Came {
    Done(u64),
    Failed,
}

impl Came {
    /// Nothing, if it was not its handler's doing.
    fn of(end: &AttemptEnd) -> Option<Self> {
        match &end.outcome {
            Outcome::Done(_) => Some(Self::Done(end.metering.wall_us)),
            Outcome::Failed(failure) => is_handlers(failure.kind).then_some(Self::Failed),
        }
    }
}
