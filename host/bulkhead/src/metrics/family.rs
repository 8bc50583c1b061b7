//! Families of counters, gauges and histograms, in whole numbers and without locks where they
//! are counted.
//!
//! A series is looked up once and then kept by whoever counts; a count is one atomic addition.
//! Inside, everything is a whole number of a small unit; what is exposed is in base units. A
//! family has at most [`MAX_SERIES`] series: what is beyond goes to one whose labels are `other`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::RwLock;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// Series of one family at most.
pub(crate) const MAX_SERIES: usize = 4_096;

/// The value of a label for all that has no series of its own.
pub(crate) const OTHER: &str = "other";

/// What a metric is called and what it means.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// Its name as it is exposed; histograms have `_bucket`, `_sum` and `_count` of it.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The unit that its name ends in.
    pub unit: Option<&'static str>,
    /// What it means, one sentence.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// How many of what is counted inside make one of the unit.
    pub(crate) per_unit: f64,
    /// The upper bounds of a histogram's buckets, in what is counted inside.
    pub(crate) bounds: &'static [u64],
}

impl Declared {
    /// The name as the encoder wants it: without what it adds by itself.
    fn stem(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let of_unit = self.unit.and_then(|unit| name.strip_suffix(unit)?.strip_suffix('_'));
        of_unit.unwrap_or(name)
    }

    fn unit(&self) -> Option<Unit> {
        Some(match self.unit? {
            "seconds" => Unit::Seconds,
            "bytes" => Unit::Bytes,
            other => Unit::Other(other.to_owned()),
        })
    }

    /// The upper bounds of its buckets as they are exposed.
    pub(super) fn shown_bounds(&self) -> impl Iterator<Item = String> {
        self.bounds.iter().map(|bound| self.exposed(*bound).to_string())
    }

    fn exposed(&self, counted: u64) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "what is exposed is a float")]
        let counted = counted as f64;
        counted / self.per_unit
    }
}

/// One kind of series.
pub(crate) trait Series: Send + Sync + 'static {
    const KIND: MetricType;

    fn new(declared: &'static Declared) -> Self;

    fn encode(&self, declared: &Declared, encoder: &mut MetricEncoder<'_>) -> fmt::Result;
}

/// Something that only grows.
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Take the value of something that is counted elsewhere.
    pub(crate) fn follow(&self, total: u64) {
        self.0.fetch_max(total, Ordering::Relaxed);
    }
}

impl Series for Counter {
    const KIND: MetricType = MetricType::Counter;

    fn new(_: &'static Declared) -> Self {
        Self(AtomicU64::new(0))
    }

    fn encode(&self, declared: &Declared, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        let value = declared.exposed(self.0.load(Ordering::Relaxed));
        encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }
}

/// Something that goes up and down.
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

impl Series for Gauge {
    const KIND: MetricType = MetricType::Gauge;

    fn new(_: &'static Declared) -> Self {
        Self(AtomicI64::new(0))
    }

    fn encode(&self, declared: &Declared, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        #[allow(clippy::cast_precision_loss, reason = "what is exposed is a float")]
        let value = self.0.load(Ordering::Relaxed) as f64 / declared.per_unit;
        encoder.encode_gauge(&value)
    }
}

/// How something is spread.
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is beyond the last.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// The counts of a histogram's buckets at one time, the one beyond the last bound included.
pub(crate) type Buckets = Vec<u64>;

impl Histogram {
    pub(crate) fn observe(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Take the counts of something that is counted elsewhere, in buckets of the same bounds.
    pub(crate) fn follow(&self, buckets: &[u64], sum: u64) {
        for (own, count) in self.buckets.iter().zip(buckets) {
            own.store(*count, Ordering::Relaxed);
        }
        self.sum.store(sum, Ordering::Relaxed);
    }

    /// The upper bounds of its buckets.
    pub(crate) fn bounds(&self) -> &'static [u64] {
        self.bounds
    }

    pub(crate) fn buckets(&self) -> Buckets {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect()
    }
}

impl Series for Histogram {
    const KIND: MetricType = MetricType::Histogram;

    fn new(declared: &'static Declared) -> Self {
        let buckets = (0..=declared.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds: declared.bounds, buckets, sum: AtomicU64::new(0) }
    }

    fn encode(&self, declared: &Declared, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        let counts = self.buckets();
        let bounds = self.bounds.iter().map(|bound| declared.exposed(*bound));
        let buckets: Vec<(f64, u64)> =
            bounds.chain([f64::INFINITY]).zip(counts.iter().copied()).collect();
        let sum = declared.exposed(self.sum.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }
}

/// The values of the labels of one series, in the order of their names.
type Values = Vec<Cow<'static, str>>;

/// All series of one metric.
pub(crate) struct Family<S> {
    declared: &'static Declared,
    series: RwLock<BTreeMap<Values, Arc<S>>>,
}

impl<S: Series> Family<S> {
    pub(crate) fn new(declared: &'static Declared) -> Self {
        let family = Self { declared, series: RwLock::default() };
        // A metric without labels is exposed from the beginning.
        if declared.labels.is_empty() {
            family.of(&[]);
        }
        family
    }

    /// The series of these labels' values, made if there is none.
    pub(crate) fn of(&self, values: &[&str]) -> Arc<S> {
        let values: Values = values.iter().map(|value| Cow::Owned((*value).to_owned())).collect();
        if let Some(known) = self.series.read().get(&values) {
            return known.clone();
        }
        let mut series = self.series.write();
        let is_full = series.len() >= MAX_SERIES && !series.contains_key(&values);
        let values = match is_full {
            true => self.declared.labels.iter().map(|_| Cow::Borrowed(OTHER)).collect(),
            false => values,
        };
        series.entry(values).or_insert_with(|| Arc::new(S::new(self.declared))).clone()
    }

    /// Look at each series, by the values of its labels. Those without labels are passed over.
    pub(crate) fn visit(&self, mut look: impl FnMut(&[&str], &S)) {
        for (values, series) in self.series.read().iter().filter(|(values, _)| !values.is_empty()) {
            let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
            look(&values, series);
        }
    }

    /// The upper bounds of its buckets, in what is counted inside.
    pub(crate) fn bounds(&self) -> &'static [u64] {
        self.declared.bounds
    }

    /// The one series of a metric without labels.
    pub(crate) fn alone(&self) -> Arc<S> {
        self.of(&[])
    }
}

/// A family, whatever its kind.
pub(crate) trait Exposed: Send + Sync {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result;
}

impl<S: Series> Exposed for Family<S> {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Declared { help, labels, .. } = self.declared;
        let unit = self.declared.unit();
        let mut encoder =
            encoder.encode_descriptor(self.declared.stem(), help, unit.as_ref(), S::KIND)?;
        for (values, series) in self.series.read().iter() {
            if values.is_empty() {
                series.encode(self.declared, &mut encoder)?;
                continue;
            }
            let named: Vec<(&str, &str)> =
                labels.iter().copied().zip(values.iter().map(AsRef::as_ref)).collect();
            series.encode(self.declared, &mut encoder.encode_family(&named)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SPREAD: Declared = Declared {
        name: "x_seconds",
        kind: "histogram",
        unit: Some("seconds"),
        help: "X",
        labels: &["a", "b"],
        per_unit: 1_000.0,
        bounds: &[10, 100],
    };

    #[test]
    fn a_value_is_in_the_first_bucket_that_is_not_below_it() {
        let spread = Histogram::new(&SPREAD);
        for value in [0, 10, 11, 100, 101, 5_000] {
            spread.observe(value);
        }
        assert_eq!(spread.buckets(), [2, 2, 2]);
        assert_eq!(spread.sum.load(Ordering::Relaxed), 5_222);
    }

    #[test]
    fn what_is_beyond_the_bound_is_other() {
        let family: Family<Counter> = Family::new(&SPREAD);
        for at in 0..MAX_SERIES + 500 {
            family.of(&[&at.to_string(), "x"]).add(1);
        }
        let series = family.series.read();
        assert_eq!(series.len(), MAX_SERIES + 1);
        let other: Values = vec![Cow::Borrowed(OTHER), Cow::Borrowed(OTHER)];
        assert_eq!(series[&other].0.load(Ordering::Relaxed), 500);
    }
}
