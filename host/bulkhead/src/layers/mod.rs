//! Layers around an attempt: named, in an order, as a queue's configuration lists them.
//!
//! A layer sees the task before it runs and its end afterwards. It may lower limits, wait, answer
//! in the attempt's place, give the task back so that no attempt counts, and change what is told
//! of the end. It cannot raise a limit, and it knows no broker: what becomes of the task is still
//! policy's affair. A queue without layers never comes here.

mod circuit_breaker;
mod logging;
mod metrics;
mod payload_size;
mod rate_limit;
mod redaction;
mod timeout;
mod upstream_breaker;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bulkhead_core::{Failure, Limits, Metering, Outcome, Task};
use bulkhead_sandbox::{AttemptEnd, Cancel, Upstreams};
use futures::future::BoxFuture;

pub use circuit_breaker::CircuitBreaker;
pub use logging::{LogAt, Logging};
pub use metrics::{AttemptMetrics, Metrics};
pub use payload_size::PayloadSize;
pub use rate_limit::{RateLimit, RatePer};
pub use redaction::Redaction;
pub use timeout::Timeout;
pub use upstream_breaker::UpstreamBreaker;

/// Something around an attempt.
#[async_trait]
pub trait AttemptLayer: Send + Sync {
    /// Run the attempt by `next`, or answer in its place.
    async fn around<'a>(&'a self, request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply;
}

/// An attempt that is about to run.
#[derive(Clone)]
#[non_exhaustive]
pub struct AttemptRequest<'a> {
    /// The task.
    pub task: &'a Task,
    /// The attempt's number, starting at 1.
    pub attempt: u32,
    /// How many attempts the task may use in all.
    pub max_attempts: u32,
    /// The limits that it is to run under. What is raised here has no effect.
    pub limits: Limits,
    /// Cancelled when the attempt is interrupted: a layer that waits should stop then and go on.
    pub cancel: Cancel,
    /// Who is asked before each request that it sends by `http`.
    pub upstreams: Option<Arc<dyn Upstreams>>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptReply {
    /// It ended.
    Ended(AttemptEnd),
    /// The task goes back to its queue as if it had not been claimed.
    Returned(Returned),
}

/// Why a task goes back, and when its type is claimed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// For the log.
    pub reason: String,
    /// For so long this host claims no task of its type from its queue: from 10 ms to 5 minutes.
    pub hold: Duration,
}

impl AttemptReply {
    /// The attempt failed without running.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        let (outcome, metering) = (Outcome::Failed(failure), Metering::default());
        Self::Ended(AttemptEnd { outcome, metering, logs: Vec::new(), children: Vec::new() })
    }

    /// The task goes back.
    #[must_use]
    pub fn returned(reason: impl Into<String>, hold: Duration) -> Self {
        Self::Returned(Returned { reason: reason.into(), hold })
    }
}

/// What is inside of a layer: the layers after it, and the attempt.
pub struct Next<'a> {
    layers: &'a [NamedLayer],
    innermost: &'a dyn Innermost,
}

impl<'a> Next<'a> {
    pub(crate) fn new(layers: &'a [NamedLayer], innermost: &'a dyn Innermost) -> Self {
        Self { layers, innermost }
    }

    /// Go on.
    #[must_use]
    pub fn run(self, request: AttemptRequest<'a>) -> BoxFuture<'a, AttemptReply> {
        match self.layers.split_first() {
            Some((first, rest)) => {
                first.layer.around(request, Next { layers: rest, innermost: self.innermost })
            }
            None => self.innermost.run(request),
        }
    }
}

/// The attempt itself.
pub(crate) trait Innermost: Send + Sync {
    fn run<'a>(&'a self, request: AttemptRequest<'a>) -> BoxFuture<'a, AttemptReply>;
}

/// A layer under the name by which queues list it. Queues that list the same one share its
/// state: a rate, a circuit.
#[derive(Clone)]
pub struct NamedLayer {
    /// Its name.
    pub name: String,
    /// The layer.
    pub layer: Arc<dyn AttemptLayer>,
}

impl NamedLayer {
    /// A layer under a name.
    #[must_use]
    pub fn new(name: impl Into<String>, layer: impl AttemptLayer + 'static) -> Self {
        Self { name: name.into(), layer: Arc::new(layer) }
    }
}

impl fmt::Debug for NamedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamedLayer({})", self.name)
    }
}

/// Milliseconds since it was made, for what counts time.
#[derive(Debug, Clone, Copy)]
struct Stopwatch(Instant);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
