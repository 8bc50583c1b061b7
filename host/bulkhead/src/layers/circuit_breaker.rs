//! `circuit_breaker`: a task type whose attempts fail again and again gets none for a while.
//!
//! What comes meanwhile goes back to its queue: no attempt is lost to something that is known to
//! fail. Each host finds out for itself.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{
    Breaker, BreakerPolicy, BreakerState, FailureKind, Outcome, Passage, Passed, TaskType,
};
use parking_lot::Mutex;

use super::{AttemptLayer, AttemptReply, AttemptRequest, Next, Stopwatch};

/// Circuits of task types.
#[derive(Debug)]
pub struct CircuitBreaker {
    policy: BreakerPolicy,
    /// Outcomes that count as failures.
    on: Vec<FailureKind>,
    stopwatch: Stopwatch,
    circuits: Mutex<HashMap<TaskType, Breaker>>,
}

impl CircuitBreaker {
    /// The outcomes that count by default: what one expects of a handler whose surroundings fail.
    pub const ON: [FailureKind; 3] =
        [FailureKind::Retry, FailureKind::TimedOut, FailureKind::Trapped];

    /// Circuits that open by this policy and on these outcomes.
    #[must_use]
    pub fn new(policy: BreakerPolicy, on: Vec<FailureKind>) -> Self {
        Self { policy, on, stopwatch: Stopwatch::start(), circuits: Mutex::default() }
    }

    /// What the circuit of a type does now.
    #[must_use]
    pub fn state(&self, task_type: &TaskType) -> BreakerState {
        self.circuits.lock().get(task_type).map_or(BreakerState::Closed, Breaker::state)
    }

    fn admit(&self, task_type: &TaskType) -> Result<Passage, u64> {
        let mut circuits = self.circuits.lock();
        // Types are those that plugins serve, which are bounded.
        let new = || Breaker::new(self.policy);
        circuits.entry(task_type.clone()).or_insert_with(new).admit(self.stopwatch.ms())
    }

    fn record(&self, task_type: &TaskType, passage: Passage, came: Passed) {
        let mut circuits = self.circuits.lock();
        let Some(breaker) = circuits.get_mut(task_type) else { return };
        match breaker.record(passage, came, self.stopwatch.ms()) {
            Some(BreakerState::Open) => tracing::warn!(%task_type,
                open_ms = self.policy.open_ms,
                "the circuit opened: attempts of the type fail again and again; its tasks wait"),
            Some(_) => tracing::info!(%task_type, "the circuit closed: attempts succeed again"),
            None => {}
        }
    }

    fn of(&self, reply: &AttemptReply) -> Passed {
        match reply {
            AttemptReply::Returned(_) => Passed::Neither,
            AttemptReply::Ended(end) => match &end.outcome {
                Outcome::Failed(failure) if self.on.contains(&failure.kind) => Passed::Badly,
                Outcome::Failed(failure) if failure.kind == FailureKind::Cancelled => {
                    Passed::Neither
                }
                _ => Passed::Well,
            },
        }
    }
}

/// Gives a passage back if the attempt is dropped.
struct Held<'a> {
    breaker: &'a CircuitBreaker,
    task_type: &'a TaskType,
    passage: Option<Passage>,
}

impl Held<'_> {
    fn came(mut self, came: Passed) {
        self.give(came);
    }

    fn give(&mut self, came: Passed) {
        if let Some(passage) = self.passage.take() {
            self.breaker.record(self.task_type, passage, came);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.give(Passed::Neither);
    }
}

#[async_trait]
impl AttemptLayer for CircuitBreaker {
    async fn around<'a>(&'a self, request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply {
        let task_type = &request.task.task_type;
        let held = match self.admit(task_type) {
            Ok(passage) => Held { breaker: self, task_type, passage: Some(passage) },
            Err(wait_ms) => {
                let reason = format!("the circuit of `{task_type}` is open");
                return AttemptReply::returned(reason, Duration::from_millis(wait_ms));
            }
        };
        let reply = next.run(request).await;
        held.came(self.of(&reply));
        reply
    }
}
