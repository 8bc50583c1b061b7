//! What a report says, and what it admits not to know.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail where it stands")]

use csv_report::{
    ColumnReport, Decimal, Distinct, Header, Kind, MAX_COLUMNS, Options, Report, ReportError,
    TopValue, report,
};
use proptest::prelude::*;

fn read(file: &str) -> Report {
    report(file.as_bytes(), &Options::default()).unwrap()
}

fn column<'r>(report: &'r Report, name: &str) -> &'r ColumnReport {
    report.columns.iter().find(|column| column.name == name).unwrap()
}

#[test]
fn the_sample_of_readings() {
    let report = read(include_str!("../samples/harbour-readings.csv"));
    assert_eq!((report.encoding, report.delimiter, report.header), ("utf-8", ',', true));
    assert_eq!((report.rows, report.columns.len()), (18, 7));
    assert_eq!((report.unequal.short, report.unequal.long), (0, 0));

    let kinds: Vec<_> = report.columns.iter().map(|column| column.kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Text,
            Kind::Datetime,
            Kind::Integer,
            Kind::Number,
            Kind::Boolean,
            Kind::Text,
            Kind::Text
        ]
    );
    let level = column(&report, "level cm");
    assert_eq!((level.count, level.nulls), (17, 1));
    let numbers = level.numbers.unwrap();
    assert_eq!((numbers.min, numbers.max, numbers.sum), (179.0, 240.0, Some(3551.0)));
    assert_eq!((numbers.quantiles.p50, numbers.quantiles.exact), (208.0, true));
    let station = column(&report, "station");
    assert_eq!(station.top[0], TopValue { value: "Lock Gate".into(), count: 6 });
    assert_eq!(station.distinct, Distinct { count: 3, exact: true });
    let times = column(&report, "taken at").times.clone().unwrap();
    assert_eq!(times.max, "2024-03-02T18:00:00Z");
    assert_eq!(column(&report, "berth code").top[0].value, "007");
}

#[test]
fn a_spreadsheet_from_windows() {
    let file = include_bytes!("../samples/cargo-windows-1252.csv");
    let report = report(file, &Options::default()).unwrap();
    assert_eq!((report.encoding, report.delimiter), ("windows-1252", ';'));
    let tons = column(&report, "Tonnen");
    assert_eq!((tons.kind, tons.nulls), (Kind::Number, 1));
    assert_eq!(tons.numbers.unwrap().sum, Some(2670.75));
    assert_eq!(column(&report, "Datum").times.clone().unwrap().min, "01.02.2024");
    assert!(column(&report, "Bemerkung").top.iter().any(|top| top.value == "pünktlich"));
}

#[test]
fn spread_and_quantiles() {
    let report = read("n\n2\n4\n4\n4\n5\n5\n7\n9\n");
    let numbers = report.columns[0].numbers.unwrap();
    assert_eq!(numbers.mean, Some(5.0));
    assert!((numbers.stddev.unwrap() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
    assert_eq!((numbers.quantiles.p25, numbers.quantiles.p50), (4.0, 4.5));
    assert_eq!(read("n\n7\n").columns[0].numbers.unwrap().stddev, None);
}

#[test]
fn numbers_beyond_a_double_are_left_out() {
    let numbers = read("n\n1.7e308\n1.7e308\n-1.7e308\n").columns[0].numbers.unwrap();
    assert_eq!((numbers.max, numbers.sum), (1.7e308, None));
    assert!(numbers.quantiles.p50.is_finite());
}

#[test]
fn misfits_are_named_with_their_line() {
    let mut file = String::from("n\n");
    for n in 0..40 {
        file.push_str(&format!("{n}\n"));
    }
    file.push_str("forty\n");
    let report = read(&file);
    let column = &report.columns[0];
    assert_eq!((column.kind, column.misfits.count), (Kind::Integer, 1));
    assert_eq!(column.misfits.examples[0].line, 42);
    assert_eq!(column.misfits.examples[0].value, "forty");
    assert_eq!(column.numbers.unwrap().max, 39.0);
}

#[test]
fn unequal_rows_are_counted_and_kept() {
    let report = read("a,b\nx,y\nx\nx,y,z\n");
    assert_eq!((report.unequal.short, report.unequal.long), (1, 1));
    assert_eq!(report.unequal.lines, [3, 4]);
    assert_eq!(report.columns[1].nulls, 1);
    assert_eq!((report.columns[2].name.as_str(), report.columns[2].nulls), ("column 3", 2));
}

#[test]
fn options_overrule_the_guesses() {
    let options =
        Options { delimiter: Some(b':'), header: Header::Absent, decimal: Decimal::Comma, top: 1 };
    let report = report(b"1,5:a\n2,5:a\n2,5:b\n", &options).unwrap();
    assert_eq!((report.header, report.rows), (false, 3));
    assert_eq!(report.columns[0].numbers.unwrap().mean, Some(6.5 / 3.0));
    assert_eq!(report.columns[1].top, [TopValue { value: "a".into(), count: 2 }]);
}

#[test]
fn many_different_values_are_admitted() {
    let mut file = String::from("n\n");
    for n in 0..60_000 {
        file.push_str(&format!("{n}\n"));
    }
    let report = read(&file);
    let column = &report.columns[0];
    assert_eq!(column.distinct, Distinct { count: 10_000, exact: false });
    let quantiles = column.numbers.unwrap().quantiles;
    assert!(!quantiles.exact);
    assert!((quantiles.p50 - 30_000.0).abs() < 1_500.0, "{}", quantiles.p50);
}

#[test]
fn long_values_are_cut_in_the_report() {
    let report = read(&format!("a\n{}\n", "ä".repeat(5_000)));
    assert_eq!(report.columns[0].top[0].value.chars().count(), 101);
    assert_eq!(report.columns[0].lengths.unwrap().max, 5_000);
}

#[test]
fn what_is_no_table_is_refused() {
    assert_eq!(report(b"", &Options::default()), Err(ReportError::Empty));
    assert_eq!(report(b"\n\n", &Options::default()), Err(ReportError::Empty));
    let wide = format!("a,b\n{}", ",".repeat(MAX_COLUMNS));
    let error = report(wide.as_bytes(), &Options::default()).unwrap_err();
    assert_eq!(error, ReportError::TooWide { line: 2, fields: MAX_COLUMNS + 1, delimiter: ',' });
    let long = vec![b'a'; csv_report::MAX_INPUT_BYTES + 1];
    assert!(matches!(report(&long, &Options::default()), Err(ReportError::TooLong { .. })));
}

#[test]
fn a_header_alone_is_a_report_without_rows() {
    let report = read("a,b\n");
    assert_eq!((report.rows, report.columns.len()), (0, 2));
    assert_eq!(report.columns[0].kind, Kind::Null);
}

proptest! {
    #[test]
    fn any_bytes_give_a_report_or_an_error(file in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = report(&file, &Options::default());
    }

    #[test]
    fn counts_add_up(file in "([a-z0-9.,;\"\n -]|NA|true|2024-01-0[1-9]){0,120}") {
        if let Ok(report) = report(file.as_bytes(), &Options::default()) {
            for column in &report.columns {
                prop_assert_eq!(column.count + column.nulls, report.rows);
                prop_assert!(column.distinct.count <= column.count);
                prop_assert!(column.misfits.count * 20 <= column.count);
                if let Some(numbers) = column.numbers {
                    let q = numbers.quantiles;
                    let ordered = [numbers.min, q.p05, q.p25, q.p50, q.p75, q.p95, numbers.max];
                    prop_assert!(ordered.is_sorted(), "{:?}", ordered);
                }
            }
        }
    }
}
