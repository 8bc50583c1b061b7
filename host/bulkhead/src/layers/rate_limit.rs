//! `rate_limit`: so many attempts in a time, on this host.
//!
//! A rate over all hosts is the queue's policy; this one protects what a host has of its own.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{Rate, Task};
use parking_lot::Mutex;

use super::{AttemptLayer, AttemptReply, AttemptRequest, Next, Stopwatch};

/// Buckets that are kept; those that are full are forgotten first.
const MOST_BUCKETS: usize = 10_000;

/// What has a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RatePer {
    /// All that passes the layer, together.
    #[default]
    All,
    /// Each task type.
    Type,
    /// Each tenant.
    Tenant,
}

/// Lets attempts begin at a rate. What comes too early waits, or goes back to its queue.
#[derive(Debug)]
pub struct RateLimit {
    rate: Rate,
    per: RatePer,
    /// Longer than this nothing waits with its slot held.
    wait: Duration,
    stopwatch: Stopwatch,
    /// When each bucket will be full.
    buckets: Mutex<HashMap<String, u64>>,
}

impl RateLimit {
    /// A rate for each of these; what would wait for longer than `wait` goes back.
    #[must_use]
    pub fn new(rate: Rate, per: RatePer, wait: Duration) -> Self {
        Self { rate, per, wait, stopwatch: Stopwatch::start(), buckets: Mutex::default() }
    }

    fn key(&self, task: &Task) -> String {
        match self.per {
            RatePer::All => String::new(),
            RatePer::Type => task.task_type.to_string(),
            RatePer::Tenant => task.tenant.to_string(),
        }
    }

    /// How long this one is to wait before it begins; or for how long it is too early.
    fn take(&self, task: &Task) -> Result<Duration, Duration> {
        let now_us = self.stopwatch.us();
        let mut buckets = self.buckets.lock();
        if buckets.len() >= MOST_BUCKETS {
            buckets.retain(|_, full_at_us| *full_at_us > now_us);
        }
        let key = self.key(task);
        let full_at_us = buckets.get(&key).copied().unwrap_or(0);
        let ready_at_us = self.rate.ready_at_us(full_at_us, 1);
        let wait = Duration::from_micros(ready_at_us.saturating_sub(now_us));
        if wait > self.wait {
            return Err(wait);
        }
        // Beyond the bound a new key is let through and not remembered.
        if buckets.len() < MOST_BUCKETS || buckets.contains_key(&key) {
            buckets.insert(key, self.rate.spend(full_at_us, now_us, 1));
        }
        Ok(wait)
    }
}

#[async_trait]
impl AttemptLayer for RateLimit {
    async fn around<'a>(&'a self, request: AttemptRequest<'a>, next: Next<'a>) -> AttemptReply {
        match self.take(request.task) {
            Ok(wait) if wait.is_zero() => {}
            Ok(wait) => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = request.cancel.cancelled() => {}
                }
            }
            Err(early) => {
                let reason = format!("beyond the rate of {}", self.rate);
                return AttemptReply::returned(reason, early.saturating_sub(self.wait));
            }
        }
        next.run(request).await
    }
}
