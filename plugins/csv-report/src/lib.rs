//! CSV to statistics of its columns.
//!
//! A plugin for the task type `csv-report`. The report is made by ordinary Rust; this
//! file only ties it to tasks: metadata to options, errors to permanent failures,
//! since no later attempt would find the same file better.

mod column;
mod dialect;
mod encoding;
mod options;
mod report;
mod value;

use bulkhead_guest::prelude::*;

pub use column::{
    ColumnReport, Distinct, Misfit, Misfits, NumberStats, Quantiles, TextLengths, TimeRange,
    TopValue,
};
pub use options::{Decimal, Header, Options};
pub use report::{MAX_COLUMNS, MAX_INPUT_BYTES, Report, ReportError, Unequal, report};
pub use value::{Kind, KindCounts};

/// Reports on each column of a CSV file: its type, nulls, distinct and most frequent
/// values, and the range, mean, spread and quantiles of numbers.
#[handler(
    task_type = "csv-report",
    fuel = 10_000_000_000,
    memory = "96 MiB",
    timeout = "20s",
    max_attempts = 2
)]
fn csv_report(file: Payload, task: &Task) -> Result<Payload, Failure> {
    let options = Options::read(task.options())?;
    Payload::json(&report(&file.data, &options).map_err(reject)?)
}

fn reject(error: impl std::error::Error) -> Failure {
    Failure::permanent(error.to_string())
}

plugin!(csv_report);

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_guest::serde_json::{Value, json};
    use bulkhead_guest::testing::{Attempt, run};

    #[test]
    fn the_shape_of_a_report() {
        let file = Payload::new("text/csv", "name,age\nAda,36\nGrace,\n");
        let output = run::<csv_report>(Attempt::new(file).meta("top", "1"));
        assert_eq!(output.output.as_ref().unwrap().content_type, "application/json");
        let expected = json!({
            "encoding": "utf-8", "delimiter": ",", "header": true, "rows": 2,
            "unequal": {"short": 0, "long": 0, "lines": []},
            "columns": [
                {
                    "index": 0, "name": "name", "type": "text", "count": 2, "nulls": 0,
                    "distinct": {"count": 2, "exact": true},
                    "kinds": {"integer": 0, "number": 0, "boolean": 0, "date": 0,
                              "datetime": 0, "text": 2},
                    "misfits": {"count": 0, "examples": []},
                    "lengths": {"min": 3, "max": 5, "mean": 4.0},
                    "top": [{"value": "Ada", "count": 1}],
                },
                {
                    "index": 1, "name": "age", "type": "integer", "count": 1, "nulls": 1,
                    "distinct": {"count": 1, "exact": true},
                    "kinds": {"integer": 1, "number": 0, "boolean": 0, "date": 0,
                              "datetime": 0, "text": 0},
                    "misfits": {"count": 0, "examples": []},
                    "numbers": {
                        "min": 36.0, "max": 36.0, "sum": 36.0, "mean": 36.0, "stddev": null,
                        "quantiles": {"p05": 36.0, "p25": 36.0, "p50": 36.0, "p75": 36.0,
                                      "p95": 36.0, "exact": true},
                    },
                    "top": [{"value": "36", "count": 1}],
                },
            ],
        });
        assert_eq!(output.json::<Value>(), Ok(expected));
    }

    #[test]
    fn bad_input_and_bad_options_are_permanent() {
        let failure = run::<csv_report>(Payload::text("")).output.unwrap_err();
        assert!(!failure.is_retryable() && failure.message().contains("no rows"), "{failure}");
        let attempt = Attempt::new(Payload::text("a")).meta("header", "perhaps");
        let failure = run::<csv_report>(attempt).output.unwrap_err();
        assert!(!failure.is_retryable() && failure.message().contains("header"), "{failure}");
    }
}
