//! What is wrong with a schedule, and where in it.

use crate::NameError;

/// A schedule that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// Its name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The cron expression has too many or too few fields.
    #[error(
        "the cron expression `{expression}` has {fields} fields; write five (minute, hour, day of \
         the month, month, day of the week), or six with seconds first"
    )]
    Fields {
        /// The expression, control characters escaped.
        expression: String,
        /// How many it has.
        fields: usize,
    },
    /// One field of the cron expression.
    #[error("the {field} `{text}` of the cron expression is not understood; use {range}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What was written, control characters escaped.
        text: String,
        /// What may be written.
        range: &'static str,
    },
    /// The cron expression as a whole.
    #[error("the cron expression `{expression}` is not understood: {reason}")]
    Expression {
        /// The expression, control characters escaped.
        expression: String,
        /// Why.
        reason: String,
    },
    /// A date that never comes.
    #[error("the cron expression `{expression}` names a day that never comes")]
    Never {
        /// The expression, control characters escaped.
        expression: String,
    },
    /// The time zone.
    #[error("`{zone}` is no IANA time zone; write one such as `Europe/Berlin` or `UTC`")]
    Zone {
        /// What was written, control characters escaped.
        zone: String,
    },
    /// The interval.
    #[error("the interval is {interval_ms} ms; use from 1 s to 366 days")]
    Interval {
        /// What was written.
        interval_ms: u64,
    },
    /// The jitter.
    #[error(
        "the jitter of {jitter_ms} ms is not less than the interval of {interval_ms} ms; fires \
         would change places"
    )]
    Jitter {
        /// What was written.
        jitter_ms: u64,
        /// The interval.
        interval_ms: u64,
    },
    /// A time outside the calendar.
    #[error("the time {at} is not before the year 9999")]
    Time {
        /// The time, in Unix milliseconds.
        at: u64,
    },
    /// The bound on missed fires.
    #[error("{at_most} missed fires are to be made up for; use from 1 to 1000")]
    Missed {
        /// What was written.
        at_most: u32,
    },
}
