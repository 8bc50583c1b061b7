//! What hosts tell of task types, over the last minute.
//!
//! A host tells sums since its start every few seconds; what lies between two of them is what
//! happened. One that starts anew begins from nothing.

use std::collections::{BTreeMap, VecDeque};

use bulkhead::core::UnixMs;
use bulkhead::queue::{HostInfo, TIMES_US, TypeFigures};
use bulkhead_api::document::Look;

/// How far back it goes.
const WINDOW_MS: u64 = 60_000;
/// What is kept of one host.
const TOLD: usize = 32;

/// What a host told at one time.
struct Told {
    started_at: UnixMs,
    at: UnixMs,
    types: BTreeMap<String, TypeFigures>,
}

/// What all hosts told of late.
#[derive(Default)]
pub(super) struct Window(BTreeMap<String, VecDeque<Told>>);

/// How a task type stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct TypeNow {
    pub(super) task_type: String,
    pub(super) pending: u64,
    pub(super) paused: bool,
    /// Attempts a second; unknown until a host has told twice.
    pub(super) rate: Option<f64>,
    /// Fuel a second.
    pub(super) fuel_rate: Option<f64>,
    /// The share of attempts that failed, of the last minute or, if there were none, of all.
    pub(super) failed: Option<f64>,
    /// How long attempts ran, in microseconds: the median, and what 95 of 100 stay below.
    pub(super) p50_us: Option<u64>,
    pub(super) p95_us: Option<u64>,
}

#[derive(Default)]
struct Sums {
    rate: Option<f64>,
    fuel_rate: Option<f64>,
    lately: TypeFigures,
    ever: TypeFigures,
}

impl Window {
    /// Take what hosts tell now; those that are gone are forgotten.
    pub(super) fn observe(&mut self, hosts: &[HostInfo]) {
        self.0.retain(|name, _| hosts.iter().any(|host| host.name == *name));
        for host in hosts {
            let told = self.0.entry(host.name.clone()).or_default();
            if told.back().is_some_and(|last| last.started_at != host.started_at) {
                told.clear();
            }
            if told.back().is_some_and(|last| last.at == host.seen_at) {
                continue;
            }
            let types = host.types.iter().map(|of| (of.task_type.clone(), of.clone())).collect();
            told.push_back(Told { started_at: host.started_at, at: host.seen_at, types });
            let is_old = |told: &Told| told.at.saturating_add(WINDOW_MS) < host.seen_at;
            while told.len() > TOLD || (told.len() > 2 && told.front().is_some_and(is_old)) {
                told.pop_front();
            }
        }
    }

    /// How each type stands, by name: those that hosts ran and those that wait.
    pub(super) fn types(&self, look: &Look) -> Vec<TypeNow> {
        let mut sums: BTreeMap<&str, Sums> = BTreeMap::new();
        for told in self.0.values() {
            let (Some(first), Some(last)) = (told.front(), told.back()) else { continue };
            let seconds = last.at.saturating_sub(first.at) as f64 / 1_000.0;
            for (name, now) in &last.types {
                let sum = sums.entry(name).or_default();
                add(&mut sum.ever, now);
                if seconds <= 0.0 {
                    continue;
                }
                let since = since(now, first.types.get(name));
                *sum.rate.get_or_insert(0.0) += since.attempts as f64 / seconds;
                *sum.fuel_rate.get_or_insert(0.0) += since.fuel as f64 / seconds;
                add(&mut sum.lately, &since);
            }
        }
        let mut types: BTreeMap<&str, TypeNow> = sums.iter().map(|(n, s)| (*n, s.now())).collect();
        for depth in look.queues.iter().flat_map(|(_, stats)| &stats.by_type) {
            let of = types.entry(&depth.task_type).or_default();
            of.pending += depth.pending;
            of.paused |= depth.paused;
        }
        let named = |(name, of): (&str, TypeNow)| TypeNow { task_type: name.to_owned(), ..of };
        types.into_iter().map(named).collect()
    }
}

impl Sums {
    fn now(&self) -> TypeNow {
        let of = if self.lately.attempts > 0 { &self.lately } else { &self.ever };
        let failed = (of.attempts > 0).then(|| of.failed as f64 / of.attempts as f64);
        TypeNow {
            rate: self.rate,
            fuel_rate: self.fuel_rate,
            failed,
            p50_us: quantile(&of.run, 0.5),
            p95_us: quantile(&of.run, 0.95),
            ..TypeNow::default()
        }
    }
}

fn add(sum: &mut TypeFigures, more: &TypeFigures) {
    sum.attempts = sum.attempts.saturating_add(more.attempts);
    sum.failed = sum.failed.saturating_add(more.failed);
    sum.fuel = sum.fuel.saturating_add(more.fuel);
    sum.run.resize(sum.run.len().max(more.run.len()), 0);
    sum.run.iter_mut().zip(&more.run).for_each(|(a, b)| *a = a.saturating_add(*b));
}

fn since(now: &TypeFigures, before: Option<&TypeFigures>) -> TypeFigures {
    let Some(before) = before else { return now.clone() };
    let run = now.run.iter().enumerate();
    TypeFigures {
        task_type: String::new(),
        attempts: now.attempts.saturating_sub(before.attempts),
        failed: now.failed.saturating_sub(before.failed),
        fuel: now.fuel.saturating_sub(before.fuel),
        run: run
            .map(|(at, count)| count.saturating_sub(before.run.get(at).copied().unwrap_or(0)))
            .collect(),
    }
}

/// The value that this share stays below, taken to be spread evenly within its bucket. Beyond the
/// last bound it is that bound.
fn quantile(buckets: &[u64], share: f64) -> Option<u64> {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = total as f64 * share;
    let mut below = 0.0;
    for (at, count) in buckets.iter().enumerate() {
        let count = *count as f64;
        if below + count >= wanted && count > 0.0 {
            let lower = at.checked_sub(1).and_then(|at| TIMES_US.get(at)).copied().unwrap_or(0);
            let Some(upper) = TIMES_US.get(at).copied() else { return Some(lower) };
            let within = (upper - lower) as f64 * ((wanted - below) / count);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in bounds"
            )]
            return Some(lower + within as u64);
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::sample::{host, look};
    use super::*;

    fn told(at: UnixMs, started_at: UnixMs, attempts: u64, failed: u64) -> HostInfo {
        let mut run = vec![0; TIMES_US.len() + 1];
        run[3] = attempts;
        let mail =
            TypeFigures { task_type: "mail".into(), attempts, failed, fuel: attempts * 100, run };
        HostInfo { seen_at: at, started_at, types: vec![mail], ..host("h") }
    }

    fn types(window: &Window) -> TypeNow {
        window.types(&look(0, Vec::new(), Vec::new())).remove(0)
    }

    #[test]
    fn what_happened_lies_between_two_tellings() {
        let mut window = Window::default();
        window.observe(&[told(1_000, 0, 100, 50)]);
        let once = types(&window);
        assert_eq!((once.rate, once.failed), (None, Some(0.5)));
        assert_eq!((once.p50_us, once.p95_us), (Some(750), Some(975)));
        window.observe(&[told(1_000, 0, 100, 50)]);
        window.observe(&[told(4_000, 0, 130, 56)]);
        let twice = types(&window);
        assert_eq!(
            (twice.rate, twice.fuel_rate, twice.failed),
            (Some(10.0), Some(1_000.0), Some(0.2))
        );
        // What is older than a minute counts no more, and a host that starts anew from nothing.
        window.observe(&[told(64_000, 0, 130, 56)]);
        assert_eq!((types(&window).rate, types(&window).failed), (Some(0.0), Some(56.0 / 130.0)));
        window.observe(&[told(65_000, 64_500, 1, 0)]);
        assert_eq!((types(&window).rate, types(&window).failed), (None, Some(0.0)));
        window.observe(&[]);
        assert_eq!(window.types(&look(0, Vec::new(), Vec::new())), []);
    }

    #[test]
    fn a_quantile_is_within_its_bucket() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[0, 0], 0.5), None);
        assert_eq!(quantile(&[10], 0.5), Some(50));
        let mut beyond = vec![0; TIMES_US.len() + 1];
        beyond[TIMES_US.len()] = 1;
        assert_eq!(quantile(&beyond, 0.5), TIMES_US.last().copied());
    }
}
