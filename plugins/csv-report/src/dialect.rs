//! How a file is written: its delimiter, and whether its first row is a header.
//!
//! The delimiter is the candidate that splits the first rows most evenly, read with
//! quotes respected. Both guesses are part of the report, so that a wrong one shows.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord};

use crate::value::{Kind, classify};

/// Delimiters that are guessed, the likeliest first.
const CANDIDATES: [u8; 4] = *b",;\t|";

/// How much of a file the guess looks at.
const SNIFFED_BYTES: usize = 64 << 10;
const SNIFFED_ROWS: usize = 100;

/// A reader of `text` that takes rows as they are.
pub(crate) fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes())
}

/// The likeliest delimiter of `text`; a comma if nothing speaks for another.
pub(crate) fn guess_delimiter(text: &str) -> u8 {
    let mut end = text.len().min(SNIFFED_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let sample = &text[..end];
    let mut best = (0.0, b',');
    for candidate in CANDIDATES {
        let score = evenness(sample, candidate);
        if score > best.0 {
            best = (score, candidate);
        }
    }
    best.1
}

/// How evenly a delimiter splits the rows: 0 if it splits none, else the share of rows
/// with the usual number of fields, and a little more for more fields.
fn evenness(sample: &str, delimiter: u8) -> f64 {
    let mut widths = BTreeMap::<usize, u32>::new();
    let mut rows = 0_u32;
    for record in reader(sample, delimiter).into_records().take(SNIFFED_ROWS).flatten() {
        *widths.entry(record.len()).or_default() += 1;
        rows += 1;
    }
    match widths.into_iter().max_by_key(|(width, rows)| (*rows, *width)) {
        Some((width, usual)) if width > 1 => {
            f64::from(usual) / f64::from(rows) + (width.min(100) as f64) / 1_000.0
        }
        _ => 0.0,
    }
}

/// Whether a first row names columns rather than being data.
pub(crate) fn is_header(first: &StringRecord, decimal_comma: bool) -> bool {
    first
        .iter()
        .all(|field| matches!(classify(field.trim(), decimal_comma).kind, Kind::Text | Kind::Null))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_told_by_even_rows() {
        for (text, delimiter) in [
            ("a,b\n1,2\n", b','),
            ("a;b\n1,5;2,5\n3,5;4,5\n", b';'),
            ("a\tb\nx, y\tz\n", b'\t'),
            ("a|b|c\n1|2|3\n", b'|'),
            ("\"a;b;c\",d\n\"e;f;g\",h\n", b','),
            ("name\nAda\nGrace\n", b','),
            ("", b','),
        ] {
            assert_eq!(char::from(guess_delimiter(text)), char::from(delimiter), "{text:?}");
        }
    }

    #[test]
    fn a_row_with_data_is_no_header() {
        for (row, header) in
            [(["name", "age"], true), (["Ada", "36"], false), (["day", "2024-01-01"], false)]
        {
            assert_eq!(is_header(&StringRecord::from(&row[..]), false), header, "{row:?}");
        }
    }
}
