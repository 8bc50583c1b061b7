//! An attempt in a queue that has layers around it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bulkhead_core::{Digest, Limits};
use bulkhead_queue::Settlement;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::attempt::Job;
use super::beside;
use super::conclude::{Ran, conclude, give_back};
use super::ledger::Interrupt;
use super::line::Line;
use crate::layers::{AttemptReply, AttemptRequest, Innermost, Next, Returned};
use crate::plugins::Serving;

/// The attempt inside of all layers.
struct Inside<'a> {
    line: &'a Arc<Line>,
    job: &'a Job,
    serving: &'a Serving,
    /// The version that ran, if no layer answered in its place.
    ran: OnceLock<Digest>,
}

impl Innermost for Inside<'_> {
    fn run<'a>(&'a self, request: AttemptRequest<'a>) -> BoxFuture<'a, AttemptReply> {
        async move {
            let Self { line, job, serving, ran } = self;
            let attempt = |serving| {
                let (limits, _) = job.need(serving);
                let limits = limits.at_most(&request.limits);
                let mut attempt = job.attempt_within(line, serving, limits);
                if let Some(upstreams) = request.upstreams.clone() {
                    let http = attempt.services.http.take();
                    attempt.services.http = http.map(|http| http.guarded(upstreams));
                }
                attempt
            };
            let (ended, version) = beside::run(job, serving, attempt).await;
            match ended {
                Ok(end) => {
                    // Layers have one attempt to let run.
                    let _ = ran.set(version);
                    AttemptReply::Ended(end)
                }
                Err(unavailable) => {
                    line.stumble(&unavailable);
                    AttemptReply::returned(unavailable.to_string(), Duration::ZERO)
                }
            }
        }
        .boxed()
    }
}

/// The limits that layers see and may lower: where a version on trial may run as well, the higher
/// of both, limit by limit, since each version is held to its own inside.
fn around(serving: Limits, trial: Option<Limits>) -> Limits {
    let Some(trial) = trial else { return serving };
    Limits {
        fuel: serving.fuel.max(trial.fuel),
        memory_bytes: serving.memory_bytes.max(trial.memory_bytes),
        wall_ms: serving.wall_ms.max(trial.wall_ms),
        result_bytes: serving.result_bytes.max(trial.result_bytes),
        log_bytes: serving.log_bytes.max(trial.log_bytes),
        hostcall_bytes: serving.hostcall_bytes.max(trial.hostcall_bytes),
        handles: serving.handles.max(trial.handles),
        instances: serving.instances.max(trial.instances),
    }
}

/// Run a job through its queue's layers to its settlement; nothing if the claim is no longer
/// this host's.
pub(super) async fn attempt(
    line: &Arc<Line>,
    job: Job,
    serving: Arc<Serving>,
) -> Option<Settlement> {
    let limits = around(job.need(&serving).0, job.chosen().map(|trial| job.need(trial).0));
    let inside = Inside { line, job: &job, serving: &serving, ran: OnceLock::new() };
    let request = AttemptRequest {
        task: &job.task,
        attempt: job.attempt,
        max_attempts: job.policy.max_attempts.max(1),
        limits,
        cancel: job.handle.cancel.clone(),
        upstreams: None,
    };
    let reply = Next::new(&line.queue.layers, &inside).run(request).await;
    let ran = inside.ran.into_inner();
    match reply {
        AttemptReply::Ended(end) => {
            if ran == Some(serving.plugin.digest()) {
                job.remember(line, &end).await;
            }
            let plugin = ran.unwrap_or_default();
            conclude(line, job, end, Ran { plugin, cached: false })
        }
        AttemptReply::Returned(_) if job.handle.why() == Interrupt::Lost => None,
        AttemptReply::Returned(Returned { reason, hold }) => {
            let task_type = &job.task.task_type;
            if line.holds.hold(task_type, hold) {
                tracing::info!(queue = %line.queue.name, %task_type,
                    hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX),
                    reason = %reason.escape_debug(), "tasks go back to their queue");
            }
            Some(give_back(line, job.token, &job.task))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_of_a_canary_has_its_own_limits_in_layers_and_what_layers_lower_holds_for_both()
    {
        let usual = Limits::default();
        let serving = Limits { fuel: 10, wall_ms: 1_000, handles: 9, ..usual };
        let trial = Limits { fuel: 50, wall_ms: 5_000, handles: 3, ..usual };
        let seen = around(serving, Some(trial));
        assert_eq!((serving.at_most(&seen), trial.at_most(&seen)), (serving, trial));
        let lowered = Limits { wall_ms: 500, ..seen };
        for own in [serving, trial] {
            assert_eq!(own.at_most(&lowered), Limits { wall_ms: 500, ..own });
        }
        assert_eq!(around(serving, None), serving);
        // Limit by limit, on either side.
        let low = Limits {
            fuel: 1,
            memory_bytes: 1,
            wall_ms: 1,
            result_bytes: 1,
            log_bytes: 1,
            hostcall_bytes: 1,
            handles: 1,
            instances: 1,
        };
        assert_eq!((around(low, Some(usual)), around(usual, Some(low))), (usual, usual));
    }
}
