//! `logging`: a line when an attempt begins and one when it ends. Payloads, outputs and what
//! guests wrote are in neither.

use std::time::Instant;

use async_trait::async_trait;
use bulkhead_core::Outcome;

use super::{AttemptLayer, AttemptReply, AttemptRequest, Next};

/// At which level the lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogAt {
    /// `debug`.
    Debug,
    /// `info`.
    #[default]
    Info,
}

/// Logs attempts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Logging {
    /// At which level.
    pub level: LogAt,
}

/// A line of an attempt at either level.
macro_rules! say {
    ($level:expr, $task:expr, $($rest:tt)*) => {
        match $level {
            LogAt::Debug => tracing::debug!(target: "bulkhead::attempts", queue = %$task.queue,
                task = %$task.id, task_type = %$task.task_type, tenant = %$task.tenant, $($rest)*),
            LogAt::Info => tracing::info!(target: "bulkhead::attempts", queue = %$task.queue,
                task = %$task.id, task_type = %$task.task_type, tenant = %$task.tenant, $($rest)*),
        }
    };
}

#[async_trait]
impl AttemptLayer for Logging {
    async fn around<'a>(&'a self, request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply {
        let (task, attempt, began) = (request.task, request.attempt, Instant::now());
        say!(self.level, task, attempt, "attempt begins");
        let reply = next.run(request).await;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &reply {
            AttemptReply::Ended(end) => {
                let cpu_us = end.metering.cpu_us;
                let outcome = match &end.outcome {
                    Outcome::Done(_) => "done",
                    Outcome::Failed(failure) => failure.kind.as_str(),
                };
                say!(self.level, task, attempt, outcome, ms, cpu_us, "attempt ended");
            }
            AttemptReply::Returned(returned) => {
                let reason = returned.reason.escape_debug();
                say!(self.level, task, attempt, %reason, ms, "task given back");
            }
        }
        reply
    }
}
