//! How fast and how well tasks went lately: the histograms of the metrics, remembered every few
//! seconds, so that the difference of two moments is what happened between them.
//!
//! Nothing is counted twice and no attempt does anything more for it. At most [`MOMENTS`] moments
//! are kept, each with the buckets of the queues and types that there are series for.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bulkhead_api::{Latency, Percentiles, Recent, RecentQueue, RecentType};
use bulkhead_core::{UnixMs, quantile};

use super::Metrics;
use super::family::{Buckets, Family, Histogram};
use crate::clock::unix_ms;

/// How often a moment is remembered.
const EVERY: Duration = Duration::from_secs(5);

/// Moments that are kept: those of a little over five minutes.
const MOMENTS: usize = 62;

/// What had been counted until one moment.
#[derive(Debug, Clone, Default)]
struct Moment {
    at: UnixMs,
    /// By queue.
    waits: BTreeMap<String, Buckets>,
    /// By queue.
    latency: BTreeMap<String, Buckets>,
    /// By queue and type.
    run: BTreeMap<(String, String), Buckets>,
    /// Attempts that did not fail, and those that did, by queue and type.
    attempts: BTreeMap<(String, String), (u64, u64)>,
}

/// The moments of one process.
#[derive(Debug, Default)]
pub(super) struct Moments(VecDeque<Moment>);

impl Moment {
    fn of(metrics: &Metrics, at: UnixMs) -> Self {
        let families = metrics.families();
        let mut moment = Self { at, ..Self::default() };
        families.pickup.visit(|labels, series| {
            add(moment.waits.entry(labels[0].to_owned()).or_default(), &series.buckets());
        });
        families.latency.visit(|labels, series| {
            add(moment.latency.entry(labels[0].to_owned()).or_default(), &series.buckets());
        });
        families.run.visit(|labels, series| {
            moment.run.insert((labels[0].to_owned(), labels[1].to_owned()), series.buckets());
        });
        families.attempts.visit(|labels, series| {
            let key = (labels[0].to_owned(), labels[1].to_owned());
            let (done, failed) = moment.attempts.entry(key).or_default();
            match labels[2] {
                "done" => *done += series.total(),
                // Nobody failed.
                "returned" | "cancelled" => {}
                _ => *failed += series.total(),
            }
        });
        moment
    }
}

fn add(sum: &mut Buckets, more: &[u64]) {
    if sum.is_empty() {
        *sum = more.to_vec();
        return;
    }
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

fn since(end: &[u64], begin: Option<&Buckets>) -> Buckets {
    let begin = |at: usize| begin.and_then(|begin| begin.get(at)).copied().unwrap_or(0);
    end.iter().enumerate().map(|(at, end)| end.saturating_sub(begin(at))).collect()
}

/// The percentiles of what was counted in buckets of a family, `per_ms` of which make a
/// millisecond.
fn percentiles(family: &Family<Histogram>, counts: &[u64], per_ms: f64) -> Option<Percentiles> {
    let of = |share| quantile(family.bounds(), counts, share).map(|value| value / per_ms);
    Some(Percentiles { p50_ms: of(0.5)?, p95_ms: of(0.95)?, p99_ms: of(0.99)? })
}

#[allow(clippy::cast_precision_loss, reason = "a share is a float")]
fn share(done: u64, failed: u64) -> Option<f64> {
    let all = done + failed;
    (all > 0).then(|| done as f64 / all as f64)
}

impl Moments {
    fn remember(&mut self, moment: Moment) {
        self.0.push_back(moment);
        while self.0.len() > MOMENTS {
            self.0.pop_front();
        }
    }

    /// The latest moment that is at least so long ago, or the first there is.
    fn begin(&self, end: UnixMs, over_ms: u64) -> Option<&Moment> {
        let before = self.0.iter().rev().find(|moment| end.saturating_sub(moment.at) >= over_ms);
        before.or_else(|| self.0.front())
    }
}

impl Metrics {
    /// Remember moments until dropped.
    pub(crate) async fn remember(self) {
        loop {
            let moment = Moment::of(&self, unix_ms());
            self.0.moments.lock().remember(moment);
            tokio::time::sleep(EVERY).await;
        }
    }

    /// How fast and how well tasks went lately, as far back as so long ago.
    #[must_use]
    pub fn recent(&self, over: Duration) -> Recent {
        let end = Moment::of(self, unix_ms());
        let over_ms = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
        let moments = self.0.moments.lock();
        let nothing = Moment { at: end.at, ..Moment::default() };
        let begin = moments.begin(end.at, over_ms).unwrap_or(&nothing);
        self.between(begin, &end)
    }

    fn between(&self, begin: &Moment, end: &Moment) -> Recent {
        const US_PER_MS: f64 = 1e3;
        let families = self.families();
        let (mut waits, mut runs) = (Buckets::new(), Buckets::new());
        let mut queues: BTreeMap<&str, RecentQueue> = BTreeMap::new();
        let mut runs_of: BTreeMap<&str, Buckets> = BTreeMap::new();
        let keys = end.run.keys().chain(end.attempts.keys());
        let names = end.waits.keys().chain(end.latency.keys()).chain(keys.map(|(queue, _)| queue));
        for queue in names {
            let queue = queue.as_str();
            queues.entry(queue).or_insert_with(|| RecentQueue {
                queue: queue.to_owned(),
                ..RecentQueue::default()
            });
        }
        for (name, buckets) in &end.waits {
            let waited = since(buckets, begin.waits.get(name));
            add(&mut waits, &waited);
            if let Some(queue) = queues.get_mut(name.as_str()) {
                queue.wait = percentiles(&families.pickup, &waited, 1.0);
            }
        }
        for (name, buckets) in &end.latency {
            let took = since(buckets, begin.latency.get(name));
            if let Some(queue) = queues.get_mut(name.as_str()) {
                queue.latency = percentiles(&families.latency, &took, 1.0);
            }
        }
        for (key, (done, failed)) in &end.attempts {
            let before = begin.attempts.get(key).copied().unwrap_or_default();
            let (done, failed) = (done.saturating_sub(before.0), failed.saturating_sub(before.1));
            let ran = end.run.get(key).map(|run| since(run, begin.run.get(key)));
            let ran = ran.unwrap_or_default();
            add(&mut runs, &ran);
            add(runs_of.entry(&key.0).or_default(), &ran);
            let Some(queue) = queues.get_mut(key.0.as_str()) else { continue };
            queue.done += done;
            queue.failed += failed;
            queue.types.push(RecentType {
                task_type: key.1.clone(),
                done,
                failed,
                success_rate: share(done, failed),
                run: percentiles(&families.run, &ran, US_PER_MS),
            });
        }
        for (name, queue) in &mut queues {
            queue.success_rate = share(queue.done, queue.failed);
            let ran = runs_of.get(name);
            queue.run = ran.and_then(|ran| percentiles(&families.run, ran, US_PER_MS));
        }
        Recent {
            over_ms: end.at.saturating_sub(begin.at),
            all: Latency {
                pick_up: percentiles(&families.pickup, &waits, 1.0),
                run: percentiles(&families.run, &runs, US_PER_MS),
            },
            queues: queues.into_values().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_the_window_does_not_count() {
        let metrics = Metrics::default();
        let families = metrics.families();
        let count = |fast: u64, slow: u64, failed: u64| {
            (0..fast).for_each(|_| families.run.of(&["q", "t"]).observe(900));
            (0..slow).for_each(|_| families.run.of(&["q", "t"]).observe(200_000));
            families.attempts.of(&["q", "t", "done"]).add(fast + slow);
            families.attempts.of(&["q", "t", "trapped"]).add(failed);
            families.attempts.of(&["q", "t", "cancelled"]).add(7);
            (0..fast).for_each(|_| families.pickup.of(&["q", "normal"]).observe(4));
        };
        assert_eq!(metrics.recent(Duration::from_secs(60)).all, Latency::default());
        count(0, 100, 100);
        let mut moments = Moments::default();
        moments.remember(Moment::of(&metrics, 1_000));
        count(98, 2, 0);
        moments.remember(Moment::of(&metrics, 6_000));
        let end = Moment::of(&metrics, 61_500);
        let recent = metrics.between(moments.begin(61_500, 60_000).unwrap(), &end);
        assert_eq!(recent.over_ms, 60_500);
        let run = recent.all.run.unwrap();
        assert!(run.p50_ms < 1.0 && run.p95_ms < 1.0 && run.p99_ms > 100.0, "{run:?}");
        let waited = recent.all.pick_up.unwrap();
        assert!(waited.p99_ms > 2.0 && waited.p99_ms <= 5.0, "{waited:?}");
        let queue = &recent.queues[0];
        assert_eq!((queue.done, queue.failed, queue.success_rate), (100, 0, Some(1.0)));
        assert_eq!(queue.types[0].task_type, "t");
        let nothing = metrics.between(moments.begin(61_500, 10_000).unwrap(), &end);
        assert_eq!((nothing.all, nothing.queues[0].success_rate), (Latency::default(), None));
        let longest = metrics.between(moments.begin(61_500, 600_000).unwrap(), &end);
        assert_eq!(longest.over_ms, 60_500, "as far back as is known");
    }

    #[test]
    fn moments_are_few() {
        let mut moments = Moments::default();
        (0..1_000).for_each(|at| moments.remember(Moment { at, ..Moment::default() }));
        assert_eq!((moments.0.len(), moments.0[0].at), (MOMENTS, 1_000 - MOMENTS as u64));
    }
}
