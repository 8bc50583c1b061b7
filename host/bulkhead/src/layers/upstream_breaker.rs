//! `upstream_breaker`: requests by `http` to a host that fails again and again are refused at
//! once, for a while.
//!
//! An attempt that fails after one of its requests was refused so does not count: its task goes
//! back until the circuit lets probes through. Each host finds out for itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{Breaker, BreakerPolicy, BreakerState, FailureKind, Outcome, Passage, Passed};
use bulkhead_sandbox::{UpstreamRefused, Upstreams};
use parking_lot::Mutex;

use super::{AttemptLayer, AttemptReply, AttemptRequest, Next, Stopwatch};

/// Upstreams that are remembered. Those whose circuits are closed are forgotten first; beyond it
/// others have none.
const MOST_UPSTREAMS: usize = 1_000;

/// Circuits of upstream hosts.
#[derive(Debug)]
pub struct UpstreamBreaker(Arc<Circuits>);

#[derive(Debug)]
struct Circuits {
    policy: BreakerPolicy,
    stopwatch: Stopwatch,
    breakers: Mutex<HashMap<String, Breaker>>,
}

/// The circuits as one attempt meets them.
struct Met {
    circuits: Arc<Circuits>,
    /// For how many milliseconds it was refused at most; 0 if it was not.
    refused_ms: AtomicU64,
}

impl UpstreamBreaker {
    /// Circuits that open by this policy.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        let (stopwatch, breakers) = (Stopwatch::start(), Mutex::default());
        Self(Arc::new(Circuits { policy, stopwatch, breakers }))
    }

    /// What the circuit of an upstream does now. It is named `host:port`.
    #[must_use]
    pub fn state(&self, upstream: &str) -> BreakerState {
        self.0.breakers.lock().get(upstream).map_or(BreakerState::Closed, Breaker::state)
    }
}

impl Upstreams for Met {
    fn admit(&self, upstream: &str) -> Result<Option<Passage>, UpstreamRefused> {
        let circuits = &self.circuits;
        let mut breakers = circuits.breakers.lock();
        if !breakers.contains_key(upstream) {
            if breakers.len() >= MOST_UPSTREAMS {
                breakers.retain(|_, breaker| breaker.state() != BreakerState::Closed);
            }
            if breakers.len() >= MOST_UPSTREAMS {
                return Ok(None);
            }
            breakers.insert(upstream.to_owned(), Breaker::new(circuits.policy));
        }
        let Some(breaker) = breakers.get_mut(upstream) else { return Ok(None) };
        breaker.admit(circuits.stopwatch.ms()).map(Some).map_err(|wait_ms| {
            self.refused_ms.fetch_max(wait_ms.max(1), Ordering::AcqRel);
            UpstreamRefused
        })
    }

    fn record(&self, upstream: &str, passage: Passage, came: Passed) {
        let circuits = &self.circuits;
        let mut breakers = circuits.breakers.lock();
        let Some(breaker) = breakers.get_mut(upstream) else { return };
        match breaker.record(passage, came, circuits.stopwatch.ms()) {
            Some(BreakerState::Open) => tracing::warn!(%upstream,
                open_ms = circuits.policy.open_ms,
                "the circuit opened: requests there fail again and again"),
            Some(_) => {
                tracing::info!(%upstream, "the circuit closed: requests there succeed again")
            }
            None => {}
        }
    }
}

#[async_trait]
impl AttemptLayer for UpstreamBreaker {
    async fn around<'a>(&'a self, mut request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply {
        let met = Arc::new(Met { circuits: self.0.clone(), refused_ms: AtomicU64::new(0) });
        request.upstreams = Some(met.clone());
        let reply = next.run(request).await;
        let refused_ms = met.refused_ms.load(Ordering::Acquire);
        match &reply {
            AttemptReply::Ended(end) if refused_ms > 0 && is_failure(&end.outcome) => {
                let reason = "an upstream that it asks has its circuit open";
                AttemptReply::returned(reason, Duration::from_millis(refused_ms))
            }
            _ => reply,
        }
    }
}

/// Whether the upstream may be why.
fn is_failure(outcome: &Outcome) -> bool {
    let not_by_it = [FailureKind::Cancelled, FailureKind::Reject];
    matches!(outcome, Outcome::Failed(failure) if !not_by_it.contains(&failure.kind))
}
