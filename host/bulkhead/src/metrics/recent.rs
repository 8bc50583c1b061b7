//! How fast and how well tasks went lately: the histograms of the metrics, remembered every few
//! seconds, so that the difference of two moments is what happened between them.
//!
//! Nothing is counted twice and no attempt does anything more for it. At most [`MOMENTS`] moments
//! are kept, each with the buckets of the queues and types that there are series for.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bulkhead_api::{Percentiles, Recent, RecentQueue, RecentType};
use bulkhead_core::UnixMs;
use bulkhead_queue::HostLatency;

use super::Metrics;
use super::family::{Buckets, Family, Histogram};
use crate::clock::unix_ms;

/// How often a moment is remembered.
const EVERY: Duration = Duration::from_secs(5);

/// Moments that are kept: those of a little over five minutes.
const MOMENTS: usize = 62;

/// How far back a host looks in what it announces.
const ANNOUNCED: Duration = Duration::from_secs(60);

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
        families.pickup.for_each(|labels, series| {
            let [queue, _] = labels else { return };
            add(moment.waits.entry(queue.to_string()).or_default(), &series.buckets());
        });
        families.latency.for_each(|labels, series| {
            let [queue] = labels else { return };
            add(moment.latency.entry(queue.to_string()).or_default(), &series.buckets());
        });
        families.run.for_each(|labels, series| {
            let [queue, task_type] = labels else { return };
            moment.run.insert((queue.to_string(), task_type.to_string()), series.buckets());
        });
        families.attempts.for_each(|labels, series| {
            let [queue, task_type, outcome] = labels else { return };
            let key = (queue.to_string(), task_type.to_string());
            let (done, failed) = moment.attempts.entry(key).or_default();
            match outcome.as_ref() {
                "done" => *done += series.get(),
                // Nobody failed.
                "returned" | "cancelled" => {}
                _ => *failed += series.get(),
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
    Percentiles::of(family.bounds(), counts, per_ms)
}

/// How fast tasks went between two moments, over all queues and types.
fn latency(begin: &Moment, end: &Moment) -> HostLatency {
    let mut latency = HostLatency::default();
    for (name, buckets) in &end.waits {
        add(&mut latency.pick_up, &since(buckets, begin.waits.get(name)));
    }
    for (key, buckets) in &end.run {
        add(&mut latency.run, &since(buckets, begin.run.get(key)));
    }
    latency
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
        self.over(over, |begin, end| self.between(begin, end))
    }

    /// How fast tasks went in the last minute, as the host announces it.
    pub(crate) fn latency(&self) -> HostLatency {
        self.over(ANNOUNCED, latency)
    }

    /// What lies between the moment so long ago and now.
    fn over<T>(&self, over: Duration, tell: impl FnOnce(&Moment, &Moment) -> T) -> T {
        let end = Moment::of(self, unix_ms());
        let over_ms = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
        let moments = self.0.moments.lock();
        let nothing = Moment { at: end.at, ..Moment::default() };
        tell(moments.begin(end.at, over_ms).unwrap_or(&nothing), &end)
    }

    fn between(&self, begin: &Moment, end: &Moment) -> Recent {
        const US_PER_MS: f64 = 1e3;
        let families = self.families();
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
        Recent { over_ms: end.at.saturating_sub(begin.at), queues: queues.into_values().collect() }
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_queue::{TIMES_MS, TIMES_US};

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
        assert_eq!(metrics.latency(), HostLatency::default());
        count(0, 100, 100);
        let mut moments = Moments::default();
        moments.remember(Moment::of(&metrics, 1_000));
        count(98, 2, 0);
        moments.remember(Moment::of(&metrics, 6_000));
        families.run.of(&["q2", "t"]).observe(900);
        let end = Moment::of(&metrics, 61_500);
        let minute = moments.begin(61_500, 60_000).unwrap();
        let told = latency(minute, &end);
        let at = |bounds: &[u64], bound: u64| bounds.iter().position(|at| *at == bound).unwrap();
        assert_eq!((told.run.len(), told.run.iter().sum::<u64>()), (TIMES_US.len() + 1, 101));
        let (fast, slow) = (at(TIMES_US, 1_000), at(TIMES_US, 250_000));
        assert_eq!((told.run[fast], told.run[slow]), (99, 2), "of both queues");
        assert_eq!((told.pick_up.len(), told.pick_up[at(TIMES_MS, 5)]), (TIMES_MS.len() + 1, 98));
        let recent = metrics.between(minute, &end);
        assert_eq!(recent.over_ms, 60_500);
        let queue = &recent.queues[0];
        let run = queue.run.unwrap();
        assert!(run.p50_ms < 1.0 && run.p95_ms < 1.0 && run.p99_ms > 100.0, "{run:?}");
        let waited = queue.wait.unwrap();
        assert!(waited.p99_ms > 2.0 && waited.p99_ms <= 5.0, "{waited:?}");
        assert_eq!((queue.done, queue.failed, queue.success_rate), (100, 0, Some(1.0)));
        assert_eq!(queue.types[0].task_type, "t");
        let nothing = metrics.between(moments.begin(61_500, 10_000).unwrap(), &end);
        assert_eq!((nothing.queues[0].run, nothing.queues[0].success_rate), (None, None));
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
