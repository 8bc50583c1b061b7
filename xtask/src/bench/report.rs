//! Samples of all rounds, their medians, and how they are shown.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use super::figure::rank;
use crate::figures::{Align, table};

/// One figure of one round.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Sample {
    pub(super) bench: String,
    pub(super) value: f64,
    pub(super) unit: String,
}

impl Sample {
    /// Reads one object a line.
    pub(super) fn parse(lines: &str) -> Result<Vec<Self>> {
        let is_filled = |line: &&str| !line.trim().is_empty();
        lines
            .lines()
            .filter(is_filled)
            .map(|line| {
                serde_json::from_str(line).with_context(|| format!("this is no figure: {line}"))
            })
            .collect()
    }
}

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Figure>);

#[derive(Debug)]
struct Figure {
    bench: String,
    unit: String,
    /// In ascending order, never empty.
    values: Vec<f64>,
}

impl Report {
    /// Adds the sample to the others of its name.
    pub(super) fn add(&mut self, sample: Sample) {
        let Sample { bench, value, unit } = sample;
        if let Some(figure) = self.0.iter_mut().find(|figure| figure.bench == bench) {
            let at = figure.values.partition_point(|other| *other < value);
            figure.values.insert(at, value);
            return;
        }
        self.0.push(Figure { bench, unit, values: vec![value] });
        self.0.sort_by_key(|figure| rank(&figure.bench));
    }

    pub(super) fn has(&self, bench: &str) -> bool {
        self.0.iter().any(|figure| figure.bench == bench)
    }

    /// One object a line, with the median as the value.
    pub(super) fn json_lines(&self) -> String {
        let line = |figure: &Figure| {
            // Written out by hand, for the order of the fields.
            let (bench, unit) = (json!(figure.bench), json!(figure.unit));
            let value = json!(figure.median());
            format!("{{\"bench\": {bench}, \"value\": {value}, \"unit\": {unit}}}\n")
        };
        self.0.iter().map(line).collect()
    }

    /// A table with the spread.
    pub(super) fn table(&self) -> String {
        let header = [
            ("BENCH", Align::Left),
            ("MEDIAN", Align::Right),
            ("MIN", Align::Right),
            ("MAX", Align::Right),
            ("UNIT", Align::Left),
        ];
        let last = |values: &[f64]| values.last().copied().unwrap_or(f64::NAN);
        let first = |values: &[f64]| values.first().copied().unwrap_or(f64::NAN);
        table(
            header,
            self.0.iter().map(|figure| {
                [
                    figure.bench.clone(),
                    number(figure.median()),
                    number(first(&figure.values)),
                    number(last(&figure.values)),
                    figure.unit.clone(),
                ]
            }),
        )
    }
}

impl Figure {
    fn median(&self) -> f64 {
        let middle = self.values.len() / 2;
        if self.values.len().is_multiple_of(2) {
            f64::midpoint(self.values[middle - 1], self.values[middle])
        } else {
            self.values[middle]
        }
    }
}

/// About four digits.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        1000.0.. => 0,
        100.0.. => 1,
        10.0.. => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(samples: &[(&str, f64)]) -> Report {
        let mut report = Report::default();
        for (bench, value) in samples {
            report.add(Sample { bench: (*bench).into(), value: *value, unit: "ms".into() });
        }
        report
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        let odd = report(&[("reload", 9.0), ("reload", 1.0), ("reload", 2.0)]);
        assert_eq!(odd.json_lines(), "{\"bench\": \"reload\", \"value\": 2.0, \"unit\": \"ms\"}\n");
        let even = report(&[("reload", 4.0), ("reload", 1.0)]);
        assert_eq!(Sample::parse(&even.json_lines()).unwrap()[0].value.to_string(), "2.5");
    }

    #[test]
    fn the_table_shows_the_spread_in_the_order_of_the_figures() {
        let shown = report(&[
            ("host_rss", 91.234),
            ("new", 0.5),
            ("drain_noop", 61_234.6),
            ("drain_noop", 60_000.0),
            ("drain_noop", 70_000.0),
        ])
        .table();
        let lines: Vec<Vec<_>> =
            shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["BENCH", "MEDIAN", "MIN", "MAX", "UNIT"]);
        assert_eq!(lines[1], ["drain_noop", "61235", "60000", "70000", "ms"]);
        assert_eq!(lines[2], ["host_rss", "91.23", "91.23", "91.23", "ms"]);
        assert_eq!(lines[3], ["new", "0.500", "0.500", "0.500", "ms"]);
    }

    #[test]
    fn figures_are_read_line_by_line() {
        let lines = "{\"bench\":\"a\",\"unit\":\"ms\",\"value\":1.5}\n\n";
        assert_eq!(
            Sample::parse(lines).unwrap(),
            [Sample { bench: "a".into(), value: 1.5, unit: "ms".into() }]
        );
        let error = Sample::parse("bench median").unwrap_err().to_string();
        assert_eq!(error, "this is no figure: bench median");
    }
}
