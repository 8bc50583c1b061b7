//! What the log is told of a task's life: claimed, done, failed, returned.
//!
//! Each event has the target `bulkhead::task`, its name in `event`, and the same names for the
//! same things. Guests' texts are escaped. Payloads and results are told only where the operator
//! asked for it, cut.

use bulkhead_core::{Disposition, Outcome, Payload, Task};
use bulkhead_sandbox::AttemptEnd;
use tracing::Level;

use super::attempt::Job;
use super::line::Line;

/// The target of all of them.
macro_rules! event {
    ($level:ident, $line:expr, $task:expr, $attempt:expr, $event:literal, $($rest:tt)*) => {
        tracing::$level!(target: "bulkhead::task", event = $event, queue = %$line.queue.name,
            task = %$task.id, task_type = %$task.task_type, tenant = %$task.tenant,
            attempt = $attempt, $($rest)*)
    };
}

/// Bytes of a payload that are told.
const MAX_PAYLOAD_BYTES: usize = 1_024;

/// A host has claimed a task and is about to run it.
pub(super) fn claimed(line: &Line, job: &Job) {
    if !tracing::enabled!(target: "bulkhead::task", Level::DEBUG) {
        return;
    }
    let task = &job.task;
    let payload = line.shared.log_payloads.then(|| shown(&task.payload));
    event!(debug, line, task, job.attempt, "claimed", priority = %task.priority, payload,
        "task claimed");
}

/// An attempt has ended, and this is what follows.
pub(super) fn ended(line: &Line, task: &Task, attempt: u32, end: &AttemptEnd, next: Disposition) {
    for log in &end.logs {
        tracing::debug!(target: "bulkhead::guest", task = %task.id, task_type = %task.task_type,
            level = %log.level, message = %log.message.escape_debug());
    }
    let wall_us = end.metering.wall_us;
    match &end.outcome {
        Outcome::Done(output) => {
            if !tracing::enabled!(target: "bulkhead::task", Level::DEBUG) {
                return;
            }
            let result = line.shared.log_payloads.then(|| shown(output));
            event!(debug, line, task, attempt, "done", wall_us, result, "attempt done");
        }
        Outcome::Failed(failure) => {
            let next = match next {
                Disposition::Retry { .. } => "retry",
                Disposition::DeadLetter => "dead_letter",
                Disposition::Cancel => "cancelled",
                Disposition::Complete => "completed",
                Disposition::Return => "returned",
            };
            event!(info, line, task, attempt, "failed", outcome = %failure.kind, next, wall_us,
                reason = %failure.message.escape_debug(), "attempt failed");
        }
    }
}

/// A payload as it may be told: its first bytes, escaped.
fn shown(payload: &Payload) -> String {
    let cut = payload.data.get(..MAX_PAYLOAD_BYTES);
    let text = String::from_utf8_lossy(cut.unwrap_or(&payload.data));
    let more = if cut.is_some_and(|cut| cut.len() < payload.data.len()) { "…" } else { "" };
    format!("{}{more}", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_escaped_and_cut() {
        let told = |data: &[u8]| shown(&Payload::new(Payload::TEXT, data.to_vec()));
        assert_eq!(told(b"a\x1b[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(told(&[b'x'; 2_000]), format!("{}…", "x".repeat(MAX_PAYLOAD_BYTES)));
        assert_eq!(told(&[b'x'; MAX_PAYLOAD_BYTES]).len(), MAX_PAYLOAD_BYTES);
    }
}
