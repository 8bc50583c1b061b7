//! The statistics of one column, gathered value by value in bounded memory.
//!
//! Where a bound bites, the report says so: `exact` turns false, and never is an
//! estimate passed off as a count.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::value::{Kind, KindCounts, Value};

/// How many misfits are shown per column.
const MISFIT_EXAMPLES: usize = 3;

/// The longest value that is shown, in characters; longer ones end in `…`.
const MAX_SHOWN_CHARS: usize = 100;

/// What is known about a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnReport {
    /// Its place, from 0.
    pub index: usize,
    /// Its name in the header; `column N`, from 1, if it has none.
    pub name: String,
    /// The kind that at least 95 % of its values fit.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// How many values it has, nulls aside.
    pub count: u64,
    /// How many of its fields are empty, missing or say `NA`, `null` or the like.
    pub nulls: u64,
    /// How many different values it has.
    pub distinct: Distinct,
    /// What kinds its values have, one by one.
    pub kinds: KindCounts,
    /// The values that do not fit its type.
    pub misfits: Misfits,
    /// Statistics of a column of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumberStats>,
    /// The range of a column of days or times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<TimeRange>,
    /// The lengths of a column of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lengths: Option<TextLengths>,
    /// Its most frequent values, the most frequent first. Where `distinct` is not
    /// exact, only values that came early are considered.
    pub top: Vec<TopValue>,
}

/// A number of different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Distinct {
    /// How many were seen.
    pub count: u64,
    /// Whether there are no more than these.
    pub exact: bool,
}

/// Values that do not fit the type of their column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Misfits {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<Misfit>,
}

/// A value that does not fit the type of its column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// The line that its row starts on, from 1.
    pub line: u64,
    /// The value.
    pub value: String,
}

/// Statistics of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NumberStats {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The sum; absent if it is beyond what a double holds.
    pub sum: Option<f64>,
    /// The mean; absent if it is beyond what a double holds.
    pub mean: Option<f64>,
    /// The sample standard deviation; absent for fewer than two values.
    pub stddev: Option<f64>,
    /// Values below which a share of the numbers lies.
    pub quantiles: Quantiles,
}

/// Values below which 5, 25, 50, 75 and 95 % of the numbers lie, interpolated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// 5 %.
    pub p05: f64,
    /// 25 %.
    pub p25: f64,
    /// The median.
    pub p50: f64,
    /// 75 %.
    pub p75: f64,
    /// 95 %.
    pub p95: f64,
    /// Whether they are of all the numbers rather than of an even sample.
    pub exact: bool,
}

/// The range of days or times, as they are written in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeRange {
    /// The earliest.
    pub min: String,
    /// The latest.
    pub max: String,
}

/// The lengths of texts, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TextLengths {
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// The mean.
    pub mean: f64,
}

/// A value and how often it occurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopValue {
    /// The value.
    pub value: String,
    /// How often it occurs.
    pub count: u64,
}

/// How much memory a column may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Different values that are kept.
    pub(crate) distinct: usize,
    /// Numbers that are kept for the quantiles.
    pub(crate) sample: usize,
}

/// A column whose values are being gathered.
pub(crate) struct Column {
    kinds: KindCounts,
    kind: Kind,
    nulls: u64,
    budget: Budget,
    values: BTreeMap<Box<str>, u64>,
    values_exact: bool,
    misfits: Misfits,
    numbers: Moments,
    sample: Sample,
    earliest: Option<(f64, String)>,
    latest: Option<(f64, String)>,
    lengths: Moments,
}

impl Column {
    /// A column whose values have `kinds`, without the values yet.
    pub(crate) fn new(kinds: KindCounts, budget: Budget) -> Self {
        Self {
            kinds,
            kind: kinds.column_kind(),
            nulls: 0,
            budget,
            values: BTreeMap::new(),
            values_exact: true,
            misfits: Misfits::default(),
            numbers: Moments::default(),
            sample: Sample::new(budget.sample),
            earliest: None,
            latest: None,
            lengths: Moments::default(),
        }
    }

    /// Take in the field on `line`.
    pub(crate) fn add(&mut self, line: u64, field: &str, value: Value) {
        if value.kind == Kind::Null {
            self.nulls += 1;
            return;
        }
        self.count_value(field);
        if !value.kind.fits(self.kind) {
            self.misfits.count += 1;
            if self.misfits.examples.len() < MISFIT_EXAMPLES {
                self.misfits.examples.push(Misfit { line, value: shown(field) });
            }
            return;
        }
        match self.kind {
            Kind::Integer | Kind::Number => {
                self.numbers.add(value.size);
                self.sample.add(value.size);
            }
            Kind::Date | Kind::Datetime => self.extend_range(value.size, field),
            Kind::Text => self.lengths.add(field.chars().count() as f64),
            Kind::Null | Kind::Boolean => {}
        }
    }

    /// Take in a field that its row does not have.
    pub(crate) fn add_missing(&mut self) {
        self.nulls += 1;
    }

    fn count_value(&mut self, field: &str) {
        if let Some(count) = self.values.get_mut(field) {
            *count += 1;
        } else if self.values.len() < self.budget.distinct {
            self.values.insert(field.into(), 1);
        } else {
            self.values_exact = false;
        }
    }

    fn extend_range(&mut self, seconds: f64, field: &str) {
        if self.earliest.as_ref().is_none_or(|(earliest, _)| seconds < *earliest) {
            self.earliest = Some((seconds, field.to_owned()));
        }
        if self.latest.as_ref().is_none_or(|(latest, _)| seconds > *latest) {
            self.latest = Some((seconds, field.to_owned()));
        }
    }

    /// Everything about the column, its `top` most frequent values among it.
    pub(crate) fn report(self, index: usize, name: &str, top: usize) -> ColumnReport {
        let count = self.kinds.total();
        let distinct = Distinct { count: self.values.len() as u64, exact: self.values_exact };
        let mut values: Vec<_> = self.values.into_iter().collect();
        values.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        let top = values.into_iter().take(top);
        let times = match (self.earliest, self.latest) {
            (Some((_, min)), Some((_, max))) => Some(TimeRange { min, max }),
            _ => None,
        };
        ColumnReport {
            index,
            name: match name.trim() {
                "" => format!("column {}", index + 1),
                name => shown(name),
            },
            kind: self.kind,
            count,
            nulls: self.nulls,
            distinct,
            kinds: self.kinds,
            misfits: self.misfits,
            numbers: self.numbers.number_stats(self.sample),
            times,
            lengths: self.lengths.text_lengths(),
            top: top.map(|(value, count)| TopValue { value: shown(&value), count }).collect(),
        }
    }
}

fn shown(value: &str) -> String {
    let mut chars = value.chars();
    let mut shown: String = chars.by_ref().take(MAX_SHOWN_CHARS).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Running count, range, sum, mean and spread, by Welford's method.
#[derive(Default)]
struct Moments {
    count: u64,
    min: f64,
    max: f64,
    sum: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, number: f64) {
        self.count += 1;
        if self.count == 1 {
            (self.min, self.max) = (number, number);
        }
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        self.sum += number;
        let before = number - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (number - self.mean);
    }

    fn number_stats(&self, sample: Sample) -> Option<NumberStats> {
        let finite = |number: f64| number.is_finite().then_some(number);
        let variance =
            if self.count > 1 { self.squares / (self.count - 1) as f64 } else { f64::NAN };
        Some(NumberStats {
            min: self.min,
            max: self.max,
            sum: finite(self.sum),
            mean: finite(self.mean),
            stddev: finite(variance.sqrt()),
            quantiles: sample.quantiles()?,
        })
    }

    fn text_lengths(&self) -> Option<TextLengths> {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "lengths of fields: whole, not negative, and far below 2^53"
        )]
        let length = |number: f64| number as u64;
        (self.count > 0).then(|| TextLengths {
            min: length(self.min),
            max: length(self.max),
            mean: self.mean,
        })
    }
}

/// An even sample of a stream of numbers: each has the same chance to be in it.
struct Sample {
    kept: Vec<f64>,
    most: usize,
    seen: u64,
    dice: u64,
}

impl Sample {
    fn new(most: usize) -> Self {
        Self { kept: Vec::new(), most, seen: 0, dice: 0x9e37_79b9_7f4a_7c15 }
    }

    fn add(&mut self, number: f64) {
        self.seen += 1;
        if self.kept.len() < self.most {
            self.kept.push(number);
            return;
        }
        let place = self.roll() % self.seen;
        if let Some(kept) = usize::try_from(place).ok().and_then(|place| self.kept.get_mut(place)) {
            *kept = number;
        }
    }

    /// The next number of a fixed sequence, so that a file always has the same report.
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }

    fn quantiles(mut self) -> Option<Quantiles> {
        self.kept.sort_by(f64::total_cmp);
        let last = self.kept.len().checked_sub(1)?;
        let at = |share: f64| {
            let place = share * last as f64;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of an index, so from 0 to `last`"
            )]
            let below = (place.floor() as usize).min(last);
            let (low, high) = (self.kept[below], self.kept[(below + 1).min(last)]);
            let part = place.fract();
            (low * (1.0 - part) + high * part).clamp(low, high)
        };
        Some(Quantiles {
            p05: at(0.05),
            p25: at(0.25),
            p50: at(0.5),
            p75: at(0.75),
            p95: at(0.95),
            exact: self.seen == self.kept.len() as u64,
        })
    }
}
