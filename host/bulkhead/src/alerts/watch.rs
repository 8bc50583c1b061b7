//! The loop: a value for each alert and queue, and what follows from it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bulkhead_core::{AlertChange, AlertSignal, AlertState, UnixMs, quantile};
use tokio::task::JoinSet;

use super::webhook::{Notice, Webhook};
use super::{AlertOptions, AlertStatus, Alerts};
use crate::clock::unix_ms;
use crate::metrics::{Metrics, QueueFigures};

/// How often alerts are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Moments of one window that are kept.
const MOMENTS: u32 = 60;

/// The share that a percentile is of.
const P95: f64 = 0.95;

/// What was counted until one moment.
#[derive(Clone, Default)]
struct Moment {
    at: UnixMs,
    done: u64,
    failed: u64,
    latency: Vec<u64>,
    waits: Vec<u64>,
}

impl Moment {
    fn of(figures: &QueueFigures, at: UnixMs) -> Self {
        Self {
            at,
            done: figures.done.load(Ordering::Relaxed),
            failed: figures.failed.load(Ordering::Relaxed),
            latency: figures.latency.buckets(),
            waits: figures.waits(),
        }
    }
}

/// One alert for one queue.
struct Watched {
    options: AlertOptions,
    figures: Arc<QueueFigures>,
    state: AlertState,
    value: Option<f64>,
    moments: VecDeque<Moment>,
    webhook: Option<Webhook>,
}

/// Look at alerts until dropped.
pub(crate) async fn watch(
    host: Arc<str>,
    options: Vec<AlertOptions>,
    queues: Vec<Arc<QueueFigures>>,
    alerts: Alerts,
    metrics: Metrics,
) {
    if options.is_empty() {
        return;
    }
    let mut telling = JoinSet::new();
    let mut watched = Vec::new();
    let now = unix_ms();
    for options in options {
        let webhook = options.webhook.clone().map(|address| {
            let (webhook, delivering) = Webhook::to(address, metrics.clone());
            telling.spawn(delivering);
            webhook
        });
        let meant = |figures: &&Arc<QueueFigures>| {
            options.queue.as_ref().is_none_or(|queue| *queue == figures.name)
        };
        for figures in queues.iter().filter(meant) {
            metrics.families().alerts_firing.of(&[&options.name, figures.name.as_str()]).set(0);
            watched.push(Watched {
                options: options.clone(),
                figures: figures.clone(),
                state: AlertState::default(),
                value: None,
                moments: VecDeque::from([Moment::of(figures, now)]),
                webhook: webhook.clone(),
            });
        }
        if !queues.iter().any(|figures| meant(&figures)) {
            tracing::warn!(
                alert = options.name,
                "the alert is of a queue that this host does not serve; nobody watches here"
            );
        }
    }
    loop {
        let now = unix_ms();
        for one in &mut watched {
            one.look(&host, &metrics, now);
        }
        alerts.tell(watched.iter().map(|one| one.status(now)).collect());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Watched {
    fn look(&mut self, host: &str, metrics: &Metrics, now: UnixMs) {
        let Ok(value) = self.measure(now) else { return };
        self.value = value;
        let (state, change) = self.state.after(&self.options.rule, now, value);
        self.state = state;
        if let Some(change) = change {
            self.tell(host, metrics, change, now);
        }
    }

    /// The signal's value; nothing if there is nothing to judge, an error if nobody knows.
    fn measure(&mut self, now: UnixMs) -> Result<Option<f64>, ()> {
        #[allow(clippy::cast_precision_loss, reason = "what is judged is a float")]
        let float = |number: u64| number as f64;
        let signal = self.options.rule.signal;
        if let AlertSignal::Depth | AlertSignal::OldestAge = signal {
            let (pending, oldest_ms) = self.figures.last_sample().ok_or(())?;
            let value = match signal {
                AlertSignal::Depth => float(pending),
                _ => float(oldest_ms) / 1_000.0,
            };
            return Ok(Some(value));
        }
        let end = Moment::of(&self.figures, now);
        let begin = self.begin(&end);
        let since = |end: &[u64], begin: &[u64]| -> Vec<u64> {
            end.iter().zip(begin).map(|(end, begin)| end.saturating_sub(*begin)).collect()
        };
        let p95 = |end: &[u64], begin: &[u64]| {
            quantile(self.figures.bounds(), &since(end, begin), P95).map(|ms| ms / 1_000.0)
        };
        let failed = float(end.failed.saturating_sub(begin.failed));
        let all = failed + float(end.done.saturating_sub(begin.done));
        Ok(match signal {
            AlertSignal::ErrorRate => (all > 0.0).then(|| failed / all),
            AlertSignal::SuccessRate => (all > 0.0).then(|| 1.0 - failed / all),
            AlertSignal::P95Latency => p95(&end.latency, &begin.latency),
            _ => p95(&end.waits, &begin.waits),
        })
    }

    /// What had been counted when the window began; the moments are moved on.
    fn begin(&mut self, end: &Moment) -> Moment {
        let window_ms = u64::try_from(self.options.window.as_millis()).unwrap_or(u64::MAX);
        let apart_ms = window_ms / u64::from(MOMENTS);
        let began = end.at.saturating_sub(window_ms);
        // One is kept that is not within the window, so that all of the window is covered.
        while self.moments.get(1).is_some_and(|second| second.at <= began) {
            self.moments.pop_front();
        }
        if self.moments.back().is_none_or(|last| end.at.saturating_sub(last.at) >= apart_ms) {
            self.moments.push_back(end.clone());
        }
        self.moments.front().cloned().unwrap_or_default()
    }

    fn tell(&self, host: &str, metrics: &Metrics, change: AlertChange, now: UnixMs) {
        let (name, queue) = (self.options.name.as_str(), self.figures.name.as_str());
        let rule = &self.options.rule;
        let value = self.value.unwrap_or_default();
        let firing = metrics.families().alerts_firing.of(&[name, queue]);
        match change {
            AlertChange::Fired => {
                firing.set(1);
                tracing::warn!(alert = name, queue, signal = %rule.signal, value,
                    threshold = rule.bound.value(), "alert fires");
            }
            AlertChange::Resolved => {
                firing.set(0);
                tracing::info!(alert = name, queue, signal = %rule.signal, value,
                    clear = rule.clear, "alert is over");
            }
        }
        if let Some(webhook) = &self.webhook {
            webhook.tell(&Notice {
                host,
                alert: name,
                queue,
                change,
                signal: rule.signal,
                bound: rule.bound,
                clear: rule.clear,
                value: self.value,
                at: now,
            });
        }
    }

    fn status(&self, now: UnixMs) -> AlertStatus {
        AlertStatus {
            alert: self.options.name.clone(),
            queue: self.figures.name.clone(),
            signal: self.options.rule.signal,
            bound: self.options.rule.bound,
            clear: self.options.rule.clear,
            value: self.value,
            state: self.state,
            looked_at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_core::{AlertRule, Bound, QueueName};

    use super::*;

    fn watched(signal: AlertSignal, window: Duration) -> Watched {
        let figures = Metrics::default().queue(&QueueName::default());
        Watched {
            options: AlertOptions {
                name: "a".into(),
                queue: None,
                rule: AlertRule { signal, bound: Bound::Above(0.5), clear: 0.5, for_ms: 0 },
                window,
                webhook: None,
            },
            moments: VecDeque::from([Moment::of(&figures, 0)]),
            figures,
            state: AlertState::default(),
            value: None,
            webhook: None,
        }
    }

    #[test]
    fn a_share_is_that_of_its_window() {
        let mut watched = watched(AlertSignal::ErrorRate, Duration::from_secs(10));
        assert_eq!(watched.measure(0), Ok(None));
        watched.figures.failed.store(9, Ordering::Relaxed);
        watched.figures.done.store(1, Ordering::Relaxed);
        assert_eq!(watched.measure(1_000), Ok(Some(0.9)));
        watched.figures.done.store(11, Ordering::Relaxed);
        assert_eq!(watched.measure(10_000), Ok(Some(0.45)));
        assert_eq!(watched.measure(12_000), Ok(Some(0.0)), "the failures were before");
        assert_eq!(watched.measure(25_000), Ok(None));
        for second in 25..500 {
            watched.measure(second * 1_000).unwrap();
        }
        assert!(watched.moments.len() <= MOMENTS as usize + 2);
    }

    #[test]
    fn a_time_is_a_percentile_and_a_depth_is_what_the_broker_told() {
        let mut latency = watched(AlertSignal::P95Latency, Duration::from_secs(10));
        (0..100).for_each(|_| latency.figures.latency.observe(900));
        let value = latency.measure(1).unwrap().unwrap();
        assert!((0.5..=1.0).contains(&value), "{value}");
        let mut depth = watched(AlertSignal::Depth, Duration::from_secs(10));
        assert_eq!(depth.measure(1), Err(()));
        depth.figures.sampled(Some((7, 2_500)));
        assert_eq!(depth.measure(1), Ok(Some(7.0)));
        depth.options.rule.signal = AlertSignal::OldestAge;
        assert_eq!(depth.measure(1), Ok(Some(2.5)));
    }
}
