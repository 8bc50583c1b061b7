//! An attempt in a queue that has layers around it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bulkhead_core::Digest;
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

/// Run a job through its queue's layers to its settlement; nothing if the claim is no longer
/// this host's.
pub(super) async fn attempt(
    line: &Arc<Line>,
    job: Job,
    serving: Arc<Serving>,
) -> Option<Settlement> {
    let (limits, _) = job.need(&serving);
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
