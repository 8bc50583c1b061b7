//! One field: what kind of value it is, and its size where it has one.
//!
//! A kind is a claim about spelling. `007` is text, since whoever wrote the zeros
//! meant them; `1,234` is a number only where the comma is known to be decimal.

use serde::Serialize;

/// What kind of value a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing, or one of the usual words for nothing.
    Null,
    /// A whole number without leading zeros.
    Integer,
    /// A number with a fraction or an exponent.
    Number,
    /// `true`, `false`, `yes` or `no`.
    Boolean,
    /// A day: `2024-02-29`, `2024/02/29` or `29.02.2024`.
    Date,
    /// A day and a time as in ISO 8601.
    Datetime,
    /// Anything else.
    Text,
}

/// How many values of each kind a column holds, nulls aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KindCounts {
    /// Whole numbers.
    pub integer: u64,
    /// Other numbers.
    pub number: u64,
    /// Booleans.
    pub boolean: u64,
    /// Days.
    pub date: u64,
    /// Days with a time.
    pub datetime: u64,
    /// The rest.
    pub text: u64,
}

impl KindCounts {
    /// Count one value.
    pub(crate) fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Null => {}
            Kind::Integer => self.integer += 1,
            Kind::Number => self.number += 1,
            Kind::Boolean => self.boolean += 1,
            Kind::Date => self.date += 1,
            Kind::Datetime => self.datetime += 1,
            Kind::Text => self.text += 1,
        }
    }

    /// All values.
    pub(crate) fn total(&self) -> u64 {
        let Self { integer, number, boolean, date, datetime, text } = self;
        integer + number + boolean + date + datetime + text
    }

    /// The column's kind: the one that at least 95 % of the values fit, or text.
    pub(crate) fn column_kind(&self) -> Kind {
        let total = self.total();
        let enough = |count: u64| count * 100 >= total * 95;
        if total == 0 {
            Kind::Null
        } else if enough(self.integer) && self.number == 0 {
            Kind::Integer
        } else if enough(self.integer + self.number) {
            Kind::Number
        } else if enough(self.boolean) {
            Kind::Boolean
        } else if enough(self.date) && self.datetime == 0 {
            Kind::Date
        } else if enough(self.date + self.datetime) {
            Kind::Datetime
        } else {
            Kind::Text
        }
    }
}

impl Kind {
    /// Whether a value of this kind belongs in a column of the kind `column`.
    pub(crate) fn fits(self, column: Self) -> bool {
        match column {
            Self::Number => matches!(self, Self::Integer | Self::Number),
            Self::Datetime => matches!(self, Self::Date | Self::Datetime),
            Self::Text => true,
            _ => self == column,
        }
    }
}

/// A field that has been looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Value {
    /// Its kind.
    pub(crate) kind: Kind,
    /// The number, or the seconds since 1970 of a day or time.
    pub(crate) size: f64,
}

/// Look at a field whose white space has been trimmed.
pub(crate) fn classify(field: &str, decimal_comma: bool) -> Value {
    let of = |kind, size| Value { kind, size };
    if let Some(number) = plain_integer(field) {
        return of(Kind::Integer, number);
    }
    if is_null(field) {
        return of(Kind::Null, 0.0);
    }
    if let Some((number, whole)) = number(field, decimal_comma) {
        return of(if whole { Kind::Integer } else { Kind::Number }, number);
    }
    if ["true", "yes", "false", "no"].iter().any(|word| field.eq_ignore_ascii_case(word)) {
        return of(Kind::Boolean, 0.0);
    }
    match moment(field) {
        Some((seconds, true)) => of(Kind::Datetime, seconds),
        Some((seconds, false)) => of(Kind::Date, seconds),
        None => of(Kind::Text, 0.0),
    }
}

/// A short whole number without a sign: most fields of most files, so they get a path
/// that costs little fuel.
fn plain_integer(field: &str) -> Option<f64> {
    let bytes = field.as_bytes();
    let is_short = (1..=15).contains(&bytes.len());
    if !is_short || (bytes.len() > 1 && bytes[0] == b'0') {
        return None;
    }
    let mut number = 0_u64;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(byte - b'0');
    }
    Some(number as f64)
}

fn is_null(field: &str) -> bool {
    const WORDS: [&str; 8] = ["na", "n/a", "#n/a", "null", "none", "nil", "nan", "-"];
    const LONGEST: usize = 4;
    field.is_empty()
        || field.len() <= LONGEST && WORDS.iter().any(|word| field.eq_ignore_ascii_case(word))
}

/// The number that `field` spells, and whether it is whole.
fn number(field: &str, decimal_comma: bool) -> Option<(f64, bool)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let unsigned = field.strip_prefix(['+', '-']).unwrap_or(field);
    let whole = digits(unsigned);
    if whole > 1 && unsigned.starts_with('0') {
        return None;
    }
    let mut rest = &unsigned[whole..];
    let mut fraction = 0;
    if let Some(after) =
        rest.strip_prefix('.').or_else(|| rest.strip_prefix(',').filter(|_| decimal_comma))
    {
        fraction = digits(after);
        if fraction == 0 {
            return None;
        }
        rest = &after[fraction..];
    }
    if whole + fraction == 0 {
        return None;
    }
    let mut exponent = 0;
    if let Some(after) = rest.strip_prefix(['e', 'E']) {
        let after = after.strip_prefix(['+', '-']).unwrap_or(after);
        exponent = digits(after);
        if exponent == 0 {
            return None;
        }
        rest = &after[exponent..];
    }
    if !rest.is_empty() {
        return None;
    }
    let number: f64 = if field.contains(',') {
        field.replace(',', ".").parse().ok()?
    } else {
        field.parse().ok()?
    };
    number.is_finite().then_some((number, fraction + exponent == 0))
}

/// The seconds since 1970 of a day or of a time, and whether it is a time. Times
/// without an offset count as UTC.
fn moment(field: &str) -> Option<(f64, bool)> {
    let bytes = field.as_bytes();
    if bytes.len() < 10 || !field.is_ascii() {
        return None;
    }
    let (day, rest) = field.split_at(10);
    let days = day_number(day)?;
    let midnight = days as f64 * 86_400.0;
    if rest.is_empty() {
        return Some((midnight, false));
    }
    let seconds = time_of_day(rest.strip_prefix(['T', 't', ' '])?)?;
    Some((midnight + seconds, true))
}

fn day_number(day: &str) -> Option<i64> {
    let bytes = day.as_bytes();
    let (year, month, date) = match (bytes[2], bytes[4], bytes[5], bytes[7]) {
        (_, separator @ (b'-' | b'/'), _, other) if separator == other => {
            (&day[..4], &day[5..7], &day[8..])
        }
        (b'.', _, b'.', _) => (&day[6..], &day[3..5], &day[..2]),
        _ => return None,
    };
    let (year, month, date) = (whole(year)?, whole(month)?, whole(date)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if date == 0 || date > length {
        return None;
    }
    // Days are counted from 1 March, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + (153 * month + 2) / 5 + date - 1 - 719_468)
}

fn time_of_day(text: &str) -> Option<f64> {
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (&text[..at], offset_seconds(&text[at..])?),
        None => (text, 0),
    };
    let mut parts = clock.split(':');
    let (hour, minute) = (two(parts.next()?, 23)?, two(parts.next()?, 59)?);
    let second = match parts.next() {
        None => 0.0,
        Some(text) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let digits = !fraction.is_empty()
                && fraction.len() <= 9
                && fraction.bytes().all(|byte| byte.is_ascii_digit());
            if !digits {
                return None;
            }
            two(whole, 60)? as f64 + format!("0.{fraction}").parse::<f64>().ok()?
        }
    };
    if parts.next().is_some() {
        return None;
    }
    Some((hour * 3_600 + minute * 60 - offset) as f64 + second)
}

fn offset_seconds(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, digits) = text.split_at(1);
    let digits = digits.replace(':', "");
    if digits.len() != 4 {
        return None;
    }
    let seconds = two(&digits[..2], 23)? * 3_600 + two(&digits[2..], 59)? * 60;
    Some(if sign == "-" { -seconds } else { seconds })
}

fn two(text: &str, most: i64) -> Option<i64> {
    whole(text).filter(|number| text.len() == 2 && *number <= most)
}

fn whole(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinds_are_told_by_their_spelling() {
        for (field, kind) in [
            ("", Kind::Null),
            ("N/A", Kind::Null),
            ("-", Kind::Null),
            ("0", Kind::Integer),
            ("-12", Kind::Integer),
            ("007", Kind::Text),
            ("12345678901234567890", Kind::Integer),
            ("0.5", Kind::Number),
            (".5", Kind::Number),
            ("1.", Kind::Text),
            ("1e-3", Kind::Number),
            ("1e999", Kind::Text),
            ("1,5", Kind::Text),
            ("0x10", Kind::Text),
            ("+", Kind::Text),
            ("inf", Kind::Text),
            ("Yes", Kind::Boolean),
            ("2024-02-29", Kind::Date),
            ("2023-02-29", Kind::Text),
            ("2024-2-29", Kind::Text),
            ("31.12.1999", Kind::Date),
            ("2024-13-01", Kind::Text),
            ("2024-01-01T10:00", Kind::Datetime),
            ("2024-01-01 10:00:59.5+02:00", Kind::Datetime),
            ("2024-01-01T24:00:00Z", Kind::Text),
            ("2024-01-01T10:00:00Zebra", Kind::Text),
            ("2024-01-01T10:00:+1", Kind::Text),
            ("ten", Kind::Text),
        ] {
            assert_eq!(classify(field, false).kind, kind, "{field:?}");
        }
    }

    #[test]
    fn a_decimal_comma_is_read_where_it_is_known() {
        assert_eq!(classify("1,5", true), Value { kind: Kind::Number, size: 1.5 });
        assert_eq!(classify("1.234,5", true).kind, Kind::Text);
    }

    #[test]
    fn times_are_seconds_since_1970() {
        for (field, seconds) in [
            ("1970-01-01", 0.0),
            ("2000-03-01", 951_868_800.0),
            ("0001-01-01", -62_135_596_800.0),
            ("1969-12-31T23:59:59Z", -1.0),
            ("1970-01-01T01:00+01:00", 0.0),
            ("1970-01-01T00:00:00.25", 0.25),
        ] {
            assert_eq!(classify(field, false).size, seconds, "{field}");
        }
    }

    proptest! {
        #[test]
        fn any_field_has_a_kind(field in "[-+0-9.,eETZ: /ä]{0,30}", comma: bool) {
            let value = classify(&field, comma);
            prop_assert!(value.size.is_finite());
        }

        #[test]
        fn every_number_is_read_back(number in -1e15_f64..1e15) {
            let text = number.to_string();
            prop_assert_eq!(classify(&text, false).size, number);
            let whole = number.trunc();
            prop_assert_eq!(classify(&whole.to_string(), false).size, whole);
        }
    }
}
