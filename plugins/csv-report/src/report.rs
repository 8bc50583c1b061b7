//! From a file to the report on it.
//!
//! The file is read twice: once to learn what kind of values each column has, once
//! to measure the values as that kind. Memory is bounded by the number of columns and
//! by a budget that the columns share. Knows nothing of tasks.

use csv::StringRecord;
use serde::Serialize;
use thiserror::Error;

use crate::column::{Budget, Column, ColumnReport};
use crate::dialect::{guess_delimiter, is_header, reader};
use crate::encoding::decode;
use crate::options::{Decimal, Header, Options};
use crate::value::{KindCounts, classify};

/// The longest file that is read, in bytes.
pub const MAX_INPUT_BYTES: usize = 8 << 20;

/// The most columns a file may have.
pub const MAX_COLUMNS: usize = 1_000;

/// How many lines of unequal rows are listed.
const UNEQUAL_EXAMPLES: usize = 5;

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReportError {
    /// Nothing is in the file.
    #[error("the input has no rows; send CSV with at least one")]
    Empty,
    /// The file is longer than [`MAX_INPUT_BYTES`].
    #[error("the input has {bytes} bytes; at most {MAX_INPUT_BYTES} are read; split it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A row has more fields than [`MAX_COLUMNS`].
    #[error(
        "the row on line {line} has {fields} fields, separated by {delimiter:?}; at most \
         {MAX_COLUMNS} are read; is `delimiter` right?"
    )]
    TooWide {
        /// The line the row starts on, from 1.
        line: u64,
        /// How many it has.
        fields: usize,
        /// What separates them.
        delimiter: char,
    },
    /// A row cannot be read.
    #[error("the input cannot be read as CSV: {reason}")]
    Malformed {
        /// What the reader met.
        reason: String,
    },
}

/// What is known about a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How the bytes were read: `utf-8`, `utf-16le`, `utf-16be` or `windows-1252`.
    pub encoding: &'static str,
    /// What separates the fields.
    pub delimiter: char,
    /// Whether the first row was taken for a header.
    pub header: bool,
    /// How many rows of data there are.
    pub rows: u64,
    /// The rows that do not have as many fields as the first.
    pub unequal: Unequal,
    /// The columns, in their order.
    pub columns: Vec<ColumnReport>,
}

/// Rows that do not have as many fields as the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unequal {
    /// Rows with fewer; what they lack counts as null.
    pub short: u64,
    /// Rows with more; what they add makes columns without a name.
    pub long: u64,
    /// The lines that the first of them start on.
    pub lines: Vec<u64>,
}

/// Report on a CSV file.
///
/// # Errors
///
/// If the file is empty, too long or has too many columns.
pub fn report(file: &[u8], options: &Options) -> Result<Report, ReportError> {
    if file.len() > MAX_INPUT_BYTES {
        return Err(ReportError::TooLong { bytes: file.len() });
    }
    let (text, encoding) = decode(file);
    let delimiter = options.delimiter.unwrap_or_else(|| guess_delimiter(&text));
    let decimal_comma = match options.decimal {
        Decimal::Guess => delimiter == b';',
        Decimal::Point => false,
        Decimal::Comma => true,
    };
    let survey = Survey::of(&text, delimiter, decimal_comma, options.header)?;
    let (columns, rows, unequal) = measure(&text, delimiter, decimal_comma, &survey)?;
    let names = survey.names.unwrap_or_default();
    let columns = columns.into_iter().enumerate().map(|(index, column)| {
        column.report(index, names.get(index).unwrap_or_default(), options.top)
    });
    Ok(Report {
        encoding,
        delimiter: char::from(delimiter),
        header: survey.header,
        rows,
        unequal,
        columns: columns.collect(),
    })
}

/// What the first reading finds out.
struct Survey {
    header: bool,
    names: Option<StringRecord>,
    first_width: usize,
    kinds: Vec<KindCounts>,
}

impl Survey {
    fn of(
        text: &str,
        delimiter: u8,
        decimal_comma: bool,
        header: Header,
    ) -> Result<Self, ReportError> {
        let mut survey: Option<Self> = None;
        for_each_row(text, delimiter, |_, row| {
            let survey = match &mut survey {
                Some(survey) => survey,
                None => {
                    let header = match header {
                        Header::Guess => is_header(row, decimal_comma),
                        Header::Present => true,
                        Header::Absent => false,
                    };
                    let first = survey.insert(Self {
                        header,
                        names: header.then(|| row.clone()),
                        first_width: row.len(),
                        kinds: vec![KindCounts::default(); row.len()],
                    });
                    if header {
                        return;
                    }
                    first
                }
            };
            if survey.kinds.len() < row.len() {
                survey.kinds.resize(row.len(), KindCounts::default());
            }
            for (kinds, field) in survey.kinds.iter_mut().zip(row) {
                kinds.add(classify(field.trim(), decimal_comma).kind);
            }
        })?;
        survey.ok_or(ReportError::Empty)
    }
}

fn measure(
    text: &str,
    delimiter: u8,
    decimal_comma: bool,
    survey: &Survey,
) -> Result<(Vec<Column>, u64, Unequal), ReportError> {
    let share = survey.kinds.len().max(1);
    let budget = Budget {
        distinct: (200_000 / share).clamp(200, 10_000),
        sample: (1_000_000 / share).clamp(1_000, 50_000),
    };
    let mut columns: Vec<_> =
        survey.kinds.iter().map(|kinds| Column::new(*kinds, budget)).collect();
    let mut rows = 0;
    let mut unequal = Unequal::default();
    let mut skip = survey.header;
    for_each_row(text, delimiter, |line, row| {
        if std::mem::take(&mut skip) {
            return;
        }
        rows += 1;
        if row.len() != survey.first_width {
            let side =
                if row.len() < survey.first_width { &mut unequal.short } else { &mut unequal.long };
            *side += 1;
            if unequal.lines.len() < UNEQUAL_EXAMPLES {
                unequal.lines.push(line);
            }
        }
        for (index, column) in columns.iter_mut().enumerate() {
            match row.get(index).map(str::trim) {
                Some(field) => column.add(line, field, classify(field, decimal_comma)),
                None => column.add_missing(),
            }
        }
    })?;
    Ok((columns, rows, unequal))
}

/// Call `visit` with each row and the line it starts on.
fn for_each_row(
    text: &str,
    delimiter: u8,
    mut visit: impl FnMut(u64, &StringRecord),
) -> Result<(), ReportError> {
    let mut reader = reader(text, delimiter);
    let mut row = StringRecord::new();
    while reader
        .read_record(&mut row)
        .map_err(|error| ReportError::Malformed { reason: error.to_string() })?
    {
        let line = row.position().map_or(0, csv::Position::line);
        if row.len() > MAX_COLUMNS {
            let delimiter = char::from(delimiter);
            return Err(ReportError::TooWide { line, fields: row.len(), delimiter });
        }
        visit(line, &row);
    }
    Ok(())
}
