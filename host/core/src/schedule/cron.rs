//! Cron expressions on the wall clock of a time zone.
//!
//! The expression is followed on a wall clock that never jumps; each reading is then placed
//! in the zone. A reading that does not exist is placed at the first moment after the gap,
//! one that exists twice at its first occurrence. So a reading is one moment, and moments
//! keep the order of readings. Zones come from tables inside the program: every host that
//! runs the same version computes the same.

use std::sync::OnceLock;

use croner::Cron;
use croner::parser::{CronParser, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use super::TimingError;
use crate::UnixMs;

/// Longest expression, in bytes.
const MAX_EXPRESSION_BYTES: usize = 256;

/// The fields in their order, seconds first, and what may stand there.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59, *, lists `1,2`, ranges `1-5` and steps `*/15`"),
    ("minute", "0 to 59, *, lists `1,2`, ranges `1-5` and steps `*/15`"),
    ("hour", "0 to 23, *, lists `1,2`, ranges `1-5` and steps `*/6`"),
    ("day of the month", "1 to 31, *, L (the last), 15W (the nearest weekday), lists and ranges"),
    ("month", "1 to 12, JAN to DEC, *, lists, ranges and steps"),
    ("day of the week", "0 to 7, SUN to SAT, *, MON#1 (the first), FRI#L (the last), lists"),
];

/// A cron expression in a time zone.
pub(super) struct WallClock {
    cron: Cron,
    zone: TimeZone,
}

impl WallClock {
    pub(super) fn new(expression: &str, zone: &str) -> Result<Self, TimingError> {
        let zone = zones()
            .get(zone)
            .map_err(|_| TimingError::Zone { zone: zone.escape_debug().to_string() })?;
        Ok(Self { cron: parse(expression)?, zone })
    }

    /// Whether it ever fires.
    pub(super) fn ever(&self) -> bool {
        self.cron.find_next_occurrence(&DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true).is_ok()
    }

    /// The first fire after a moment.
    pub(super) fn next_after(&self, after: UnixMs) -> Option<UnixMs> {
        let from = self.reading(moment(after)?)?;
        let next = self.cron.find_next_occurrence(&from, false).ok()?;
        self.place(next)
    }

    /// The last fire not after a moment.
    pub(super) fn latest_until(&self, until: UnixMs) -> Option<UnixMs> {
        let from = self.reading(moment(until)?)?;
        let latest = self.cron.find_previous_occurrence(&from, true).ok()?;
        self.place(latest)
    }

    /// The wall clock's reading at a moment, in whole seconds. When the clock was set back
    /// and shows times for the second time, this is the last of them: all have fired.
    fn reading(&self, at: Timestamp) -> Option<DateTime> {
        let shown = self.zone.to_datetime(at);
        let shown = shown.with().subsec_nanosecond(0).build().ok()?;
        match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Fold { before, after } if self.zone.to_offset(at) == after => {
                let second = SignedDuration::from_secs(1);
                let from = at.checked_add(second).ok()?;
                let set_back = self.zone.preceding(from).next()?.timestamp();
                before.to_datetime(set_back).checked_sub(second).ok()
            }
            _ => Some(shown),
        }
    }

    /// The moment of a reading.
    fn place(&self, reading: DateTime) -> Option<UnixMs> {
        let at = match self.zone.to_ambiguous_timestamp(reading).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(reading).ok()?,
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(reading).ok()?,
            AmbiguousOffset::Gap { after, .. } => {
                let short_of = after.to_timestamp(reading).ok()?;
                self.zone.following(short_of).next()?.timestamp()
            }
        };
        UnixMs::try_from(at.as_millisecond()).ok()
    }
}

fn zones() -> &'static TimeZoneDatabase {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    ZONES.get_or_init(TimeZoneDatabase::bundled)
}

/// A moment of the calendar; nothing beyond the year 9999.
pub(super) fn moment(at: UnixMs) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()
}

fn parse(expression: &str) -> Result<Cron, TimingError> {
    let shown = || expression.escape_debug().take(MAX_EXPRESSION_BYTES).collect::<String>();
    if expression.len() > MAX_EXPRESSION_BYTES {
        let reason = format!("it has {} bytes, over {MAX_EXPRESSION_BYTES}", expression.len());
        return Err(TimingError::Expression { expression: shown(), reason });
    }
    let parser = CronParser::builder().year(Year::Disallowed).build();
    let trimmed = expression.trim();
    if trimmed.starts_with('@') {
        let alias = if trimmed.eq_ignore_ascii_case("@midnight") { "@daily" } else { trimmed };
        return parser.parse(alias).map_err(|_| TimingError::Expression {
            expression: shown(),
            reason: "there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and \
                     @annually"
                .into(),
        });
    }
    let fields: Vec<&str> = trimmed.split_whitespace().collect();
    let named = match fields.len() {
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        fields => return Err(TimingError::Fields { expression: shown(), fields }),
    };
    for (at, (&text, &(field, range))) in fields.iter().zip(named).enumerate() {
        let mut alone = vec!["*"; fields.len()];
        alone[at] = text;
        // An element of a list that is left out would be passed over in silence.
        if text.split(',').any(str::is_empty) || parser.parse(&alone.join(" ")).is_err() {
            return Err(TimingError::Field { field, text: text.escape_debug().to_string(), range });
        }
    }
    parser
        .parse(trimmed)
        .map_err(|error| TimingError::Expression { expression: shown(), reason: error.to_string() })
}
