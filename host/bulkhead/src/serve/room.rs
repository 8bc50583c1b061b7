//! Memory for attempts before they begin: who does not fit waits its turn.
//!
//! Waiting is the task's own time in no way but one: its deadline counts. Its lease is renewed
//! meanwhile, as that of anything that runs.

use std::time::Duration;

use bulkhead_core::{Failure, FailureKind, UnixMs};
use bulkhead_sandbox::{Budget, Cancel, Hold};

use super::attempt::Job;
use super::line::Line;
use super::together::Boarded;
use crate::clock::unix_ms;

/// Hold what an attempt may come to; or why it need not run any more.
pub(super) async fn hold_for(line: &Line, job: &Job) -> Result<Option<Hold>, Failure> {
    let Some(serving) = &job.serving else { return Ok(None) };
    let mut need_bytes = serving.plugin.need_bytes(&[job.need(serving)]);
    if let Some(tried) = job.chosen() {
        need_bytes = need_bytes.max(tried.plugin.need_bytes(&[job.need(tried)]));
    }
    let deadline_at = job.task.terms.deadline_at;
    wait_for(&line.shared.budget, need_bytes, &job.handle.cancel, deadline_at).await.map(Some)
}

async fn wait_for(
    budget: &Budget,
    need_bytes: u64,
    cancel: &Cancel,
    deadline_at: Option<UnixMs>,
) -> Result<Hold, Failure> {
    if let Some(hold) = budget.try_hold(need_bytes) {
        return Ok(hold);
    }
    tokio::select! {
        biased;
        () = cancel.cancelled() => {
            let message = "cancelled before the attempt began";
            Err(Failure::new(FailureKind::Cancelled, message))
        }
        hold = budget.hold(need_bytes) => Ok(hold),
        () = until(deadline_at) => {
            let message = "the task's deadline passed while it waited for the host's memory, so \
                           it did not run";
            Err(Failure::new(FailureKind::TimedOut, message))
        }
    }
}

/// Hold what a call for all of these may come to; nothing if that is more than there is, or if
/// one of them need not wait any more: then each is for itself.
pub(super) async fn hold_for_all(line: &Line, jobs: &[Boarded]) -> Option<Hold> {
    let serving = jobs.first()?.job.serving.as_ref()?;
    let needs: Vec<_> = jobs.iter().map(|boarded| boarded.job.need(serving)).collect();
    let (need_bytes, budget) = (serving.plugin.need_bytes(&needs), &line.shared.budget);
    let cancelled = jobs.iter().map(|boarded| Box::pin(boarded.job.handle.cancel.cancelled()));
    let deadline = jobs.iter().filter_map(|boarded| boarded.job.task.terms.deadline_at).min();
    tokio::select! {
        biased;
        // Who need not wait runs together, cancelled or not.
        hold = budget.hold_exactly(need_bytes) => hold,
        _ = futures::future::select_all(cancelled) => None,
        () = until(deadline) => None,
    }
}

/// Wait for a time of the clock; for ever if there is none.
async fn until(at: Option<UnixMs>) {
    match at {
        Some(at) => tokio::time::sleep(Duration::from_millis(at.saturating_sub(unix_ms()))).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    #[tokio::test]
    async fn who_waits_is_let_in_or_cancelled_or_too_late() {
        let (budget, cancel) = (Budget::of(10 * KIB), Cancel::new());
        let first = wait_for(&budget, 8 * KIB, &cancel, Some(0)).await.unwrap();
        let late = wait_for(&budget, 8 * KIB, &cancel, Some(unix_ms())).await.unwrap_err();
        assert_eq!(late.kind, FailureKind::TimedOut);
        assert!(late.message.contains("waited for the host's memory"), "{late:?}");
        let (second, ()) = tokio::join!(wait_for(&budget, 8 * KIB, &cancel, None), async {
            assert_eq!(budget.status().waiting, 1);
            drop(first);
        });
        let (third, ()) =
            tokio::join!(wait_for(&budget, 8 * KIB, &cancel, None), async { cancel.cancel() });
        assert_eq!(third.unwrap_err().kind, FailureKind::Cancelled);
        assert_eq!(second.unwrap().bytes(), 8 * KIB);
        assert_eq!((budget.status().held_bytes, budget.status().waiting), (0, 0));
    }
}
