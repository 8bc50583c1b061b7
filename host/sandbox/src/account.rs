//! On whose account plugins are loaded: a tenant pays for compiling its own files.
//!
//! What is counted is the wall time of compiling, from when it has its turn until it ends,
//! however it ends; what comes from the cache costs nothing. What has begun is let end, so the
//! bound is passed by one file's time at most for each turn that the tenant has.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::TenantName;
use parking_lot::Mutex;

use crate::{Gate, Rejection};

/// The time that is looked back on.
const WINDOW: Duration = Duration::from_secs(3_600);

/// Times within so long of each other are counted as one; so at most 61 are kept.
const GRAIN: Duration = Duration::from_secs(60);

/// A tenant whose plugins are loaded.
#[derive(Debug, Clone)]
pub struct Account {
    /// The tenant.
    pub tenant: TenantName,
    /// Most time of compiling in an hour; none for no such bound.
    pub compile_per_hour: Option<Duration>,
    /// What it took.
    pub spent: Arc<CompileTime>,
}

impl Account {
    /// Whether a file may be compiled now.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Rejection> {
        let Some(bound) = self.compile_per_hour else { return Ok(()) };
        let Some(room_in) = self.spent.room_in(now, bound) else { return Ok(()) };
        let tenant = &self.tenant;
        let message = format!(
            "it waits: compiling took {:.1?} of the last hour for the tenant `{tenant}`, and its \
             `compile_time_per_hour` is {bound:?}; it is tried again in {} s, or when the bound is \
             raised",
            self.spent.used(now),
            room_in.as_secs() + 1
        );
        Err(Rejection::new(Gate::Quota, message))
    }

    /// Count time from now until the charge is dropped.
    pub(crate) fn charge(&self) -> Charge {
        Charge { spent: self.spent.clone(), since: Instant::now() }
    }
}

/// Compiling that goes on.
pub(crate) struct Charge {
    spent: Arc<CompileTime>,
    since: Instant,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let now = Instant::now();
        self.spent.add(now, now.duration_since(self.since));
    }
}

/// How long compiling took in the last hour.
#[derive(Debug, Default)]
pub struct CompileTime(Mutex<VecDeque<(Instant, Duration)>>);

impl CompileTime {
    /// Count time that ended now.
    pub fn add(&self, now: Instant, took: Duration) {
        let mut spent = self.0.lock();
        forget(&mut spent, now);
        match spent.back_mut() {
            Some((at, sum)) if now.duration_since(*at) < GRAIN => *sum += took,
            _ => spent.push_back((now, took)),
        }
    }

    /// What was spent within the last hour.
    #[must_use]
    pub fn used(&self, now: Instant) -> Duration {
        let mut spent = self.0.lock();
        forget(&mut spent, now);
        spent.iter().map(|(_, took)| *took).sum()
    }

    /// How long until there is room under this bound; none if there is now. Under a bound of
    /// nothing there never is, and an hour is as good as any time.
    #[must_use]
    pub fn room_in(&self, now: Instant, bound: Duration) -> Option<Duration> {
        let mut used = self.used(now);
        if used < bound {
            return None;
        }
        let spent = self.0.lock();
        for (at, took) in spent.iter() {
            used = used.saturating_sub(*took);
            if used < bound {
                return Some((*at + WINDOW).saturating_duration_since(now));
            }
        }
        Some(WINDOW)
    }
}

fn forget(spent: &mut VecDeque<(Instant, Duration)>, now: Instant) {
    while spent.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
        spent.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_hour_is_looked_back_on_and_little_is_kept() {
        let (spent, start) = (CompileTime::default(), Instant::now());
        for second in 0..3_600 {
            spent.add(start + SECOND * second, SECOND / 100);
        }
        assert_eq!(spent.used(start + SECOND * 3_599), SECOND * 36);
        assert!(spent.0.lock().len() <= 61);
        assert_eq!(spent.used(start + SECOND * 7_200), Duration::ZERO);
    }

    #[test]
    fn there_is_room_when_enough_of_it_is_an_hour_ago() {
        let (spent, start) = (CompileTime::default(), Instant::now());
        assert_eq!(spent.room_in(start, SECOND), None);
        assert_eq!(spent.room_in(start, Duration::ZERO), Some(WINDOW), "there never is");
        spent.add(start, SECOND * 3);
        spent.add(start + GRAIN, SECOND * 2);
        let now = start + GRAIN * 2;
        assert_eq!(spent.room_in(now, SECOND * 6), None);
        assert_eq!(spent.room_in(now, SECOND * 5), Some(WINDOW - GRAIN * 2));
        assert_eq!(spent.room_in(now, SECOND * 2), Some(WINDOW - GRAIN));
        assert_eq!(spent.room_in(start + WINDOW, SECOND * 5), None);
    }

    #[test]
    fn what_is_over_waits_and_says_for_what() {
        let tenant = TenantName::new("acme").unwrap();
        let account = |bound| Account {
            tenant: tenant.clone(),
            compile_per_hour: bound,
            spent: Arc::default(),
        };
        let now = Instant::now();
        assert_eq!(account(None).admit(now), Ok(()));
        let bounded = account(Some(SECOND));
        assert_eq!(bounded.admit(now), Ok(()));
        drop(bounded.charge());
        bounded.spent.add(Instant::now(), SECOND);
        let refused = bounded.admit(Instant::now()).unwrap_err();
        assert_eq!(refused.gate, Gate::Quota);
        for says in ["waits", "`acme`", "`compile_time_per_hour` is 1s", "tried again in"] {
            assert!(refused.message.contains(says), "{refused}");
        }
    }
}
