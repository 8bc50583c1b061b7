//! What a host counts, and how it is exposed: OpenMetrics text for Prometheus.
//!
//! Each metric is declared in one table, of which `docs/metrics.md` is made. The values of
//! labels are bounded whatever producers and tenants do. What attempts came to is counted by
//! the line loop when it is settled, so that guests' threads share no counter. This module
//! knows nothing of HTTP: whoever serves `/metrics` asks [`Metrics::render`].

mod classes;
mod family;
mod page;
mod queue;
mod recent;
mod sample;
mod table;
mod types;

use std::fmt;
use std::sync::Arc;

use bulkhead_core::{Direction, QueueName, Verdict};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

pub use self::classes::TenantClasses;
use self::classes::Types;
pub use self::family::Declared;
pub(crate) use self::family::{Counter, Histogram};
pub use self::page::page;
pub(crate) use self::queue::{QueueFigures, Tally, ready_at};
pub(crate) use self::sample::{Sources, sample};
use self::table::Families;
pub use self::table::TABLE;

/// The figures of one process. Clones are the same figures.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    families: Families,
    types: Types,
    classes: TenantClasses,
    queues: Mutex<Vec<Arc<QueueFigures>>>,
    sources: Mutex<Vec<Sources>>,
    moments: Mutex<recent::Moments>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(TenantClasses::default())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").finish()
    }
}

impl Metrics {
    /// The media type of what [`Self::render`] gives.
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// No figures yet; tenants are told apart by these classes.
    #[must_use]
    pub fn new(classes: TenantClasses) -> Self {
        Self(Arc::new(Inner {
            families: Families::new(),
            types: Types::default(),
            classes,
            queues: Mutex::default(),
            sources: Mutex::default(),
            moments: Mutex::default(),
        }))
    }

    /// All figures as OpenMetrics text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(self.collector());
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }

    /// The figures for a registry of the program that the host is embedded in.
    #[must_use]
    pub fn collector(&self) -> Box<dyn Collector> {
        Box::new(self.clone())
    }

    pub(crate) fn families(&self) -> &Families {
        &self.0.families
    }

    /// The figures of a queue.
    pub(crate) fn queue(&self, name: &QueueName) -> Arc<QueueFigures> {
        let mut queues = self.0.queues.lock();
        if let Some(known) = queues.iter().find(|known| known.name == *name) {
            return known.clone();
        }
        let figures = Arc::new(QueueFigures::new(self.clone(), name.clone()));
        queues.push(figures.clone());
        figures
    }

    /// Look at these whenever the figures are asked for.
    pub(crate) fn follow(&self, sources: Sources) {
        self.0.sources.lock().push(sources);
    }

    /// How the verdict on a new version of a plugin that ran beside the old one was.
    pub fn canary_verdict(&self, verdict: CanaryVerdict) {
        self.0.families.canary_verdicts.of(&[verdict.as_str()]).add(1);
    }

    /// What the autoscaler decided, which is to hold where nothing changes.
    pub(crate) fn autoscaled(&self, verdict: &Verdict) {
        let direction = if verdict.is_change() { verdict.direction } else { Direction::Hold };
        self.0.families.autoscaler_decisions.of(&[&direction.to_string()]).add(1);
        self.autoscale_to(verdict.to);
    }

    /// How many attempts at once the autoscaler wants.
    pub(crate) fn autoscale_to(&self, target: u32) {
        self.0.families.autoscaler_target.alone().set(target.into());
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sources = self.0.sources.lock();
        sources.iter().for_each(|sources| sources.look(&self.0.families));
        drop(sources);
        self.0.families.each().try_for_each(|family| family.encode(&mut encoder))
    }
}

/// What a new version of a plugin was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryVerdict {
    /// Not worse than the old one: it serves all tasks.
    Promoted,
    /// Worse: the old one serves all tasks.
    RolledBack,
    /// Neither could be shown.
    Undecided,
}

impl CanaryVerdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Undecided => "undecided",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_registry_has_the_same_figures() {
        let metrics = Metrics::default();
        metrics.autoscale_to(12);
        metrics.canary_verdict(CanaryVerdict::RolledBack);
        let mut registry = Registry::default();
        registry.register_collector(metrics.collector());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert_eq!(text, metrics.render());
        for line in [
            "bulkhead_autoscaler_target 12.0",
            "bulkhead_canary_verdicts_total{verdict=\"rolled_back\"} 1.0",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
