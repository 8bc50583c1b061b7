//! CSV to statistics of its columns.

mod column;
mod dialect;
mod encoding;
mod options;
mod report;
mod value;

pub use column::{
    ColumnReport, Distinct, Misfit, Misfits, NumberStats, Quantiles, TextLengths, TimeRange,
    TopValue,
};
pub use options::{Decimal, Header, OptionError, Options};
pub use report::{MAX_COLUMNS, MAX_INPUT_BYTES, Report, ReportError, Unequal, report};
pub use value::{Kind, KindCounts};
