//! Durations, sizes and times as people write them: `"10s"`, `"250ms"`, `"64 MiB"`,
//! `"2030-01-31T08:00:00Z"`.
//!
//! A duration always carries its unit, a time its zone; a size may be a plain number of
//! bytes. Durations and sizes are written back in a form that parses to the same value.

use core::time::Duration;
use std::fmt;
use std::str::FromStr;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanPrinter;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::UnixMs;

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Whole milliseconds.
    #[must_use]
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// From whole milliseconds.
    #[must_use]
    pub fn from_ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "`{}` is no duration; write a number with its unit, such as 250ms, 10s, 5m, 2h or \
                 7d",
                text.escape_debug()
            )
        };
        let span: jiff::Span = text.trim().parse().map_err(|_| refused())?;
        let length =
            span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| refused())?;
        Duration::try_from(length).map(Self).map_err(|_| {
            format!("`{}` is negative; a duration is zero or more", text.escape_debug())
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_S: u64 = 24 * 3_600;
        let seconds = self.0.as_secs();
        if seconds >= DAY_S && seconds.is_multiple_of(DAY_S) && self.0.subsec_nanos() == 0 {
            return write!(f, "{}d", seconds / DAY_S);
        }
        f.write_str(&SpanPrinter::new().unsigned_duration_to_string(&self.0))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes, such as \"10s\" or \"250ms\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_any(Text)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.trim().parse::<bytesize::ByteSize>().map(|size| Self(size.as_u64())).map_err(|_| {
            format!(
                "`{}` is no size; write bytes as a number or with a unit, such as 64 KiB, 64 MiB \
                 or 1 GiB",
                text.escape_debug()
            )
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{} {name}", self.0 / unit),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrBytes;
        impl Visitor<'_> for TextOrBytes {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size, such as \"64 MiB\" or a number of bytes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes)
                    .map(Size)
                    .map_err(|_| E::custom(format!("{bytes} is negative; a size is zero or more")))
            }
        }
        from.deserialize_any(TextOrBytes)
    }
}

/// A point in time, RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Moment(pub UnixMs);

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            format!(
                "`{}` is no time; write RFC 3339, such as 2030-01-31T08:00:00Z",
                text.escape_debug()
            )
        })?;
        Ok(Self(u64::try_from(time.as_millisecond()).unwrap_or(0)))
    }
}

impl TryFrom<String> for Moment {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_carries_its_zone() {
        let ms = |text: &str| text.parse::<Moment>().map(|moment| moment.0);
        assert_eq!(ms("2030-01-01T00:00:00+01:00"), Ok(1_893_452_400_000));
        assert_eq!(ms("1969-12-31T23:59:59Z"), Ok(0));
        for bad in ["tomorrow", "2030-01-01", "2030-01-01T00:00:00", "\u{1b}[31m"] {
            let error = ms(bad).unwrap_err();
            assert!(error.contains("RFC 3339") && !error.contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn durations_parse_and_print_back() {
        for (text, ms, printed) in [
            ("250ms", 250, "250ms"),
            ("10s", 10_000, "10s"),
            ("1.5s", 1_500, "1s 500ms"),
            ("10m", 600_000, "10m"),
            ("1h 30m", 5_400_000, "1h 30m"),
            ("24h", 86_400_000, "1d"),
            ("7d", 604_800_000, "7d"),
            ("1w", 604_800_000, "7d"),
            ("0s", 0, "0s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.as_ms(), ms, "{text}");
            assert_eq!(span.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(span), "{printed}");
        }
    }

    #[test]
    fn durations_without_unit_or_sense_are_refused() {
        for text in ["", "10", "ten seconds", "-5s", "1y", "1s\u{1b}[31m", "9999999999999999h"] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains("duration"), "{error}");
            assert!(!error.contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn sizes_parse_and_print_back() {
        for (text, bytes, printed) in [
            ("0", 0, "0 B"),
            ("1000", 1_000, "1000 B"),
            ("64 KiB", 64 << 10, "64 KiB"),
            ("64KiB", 64 << 10, "64 KiB"),
            ("128 MiB", 128 << 20, "128 MiB"),
            ("1.5 MiB", 3 << 19, "1536 KiB"),
            ("1 MB", 1_000_000, "1000000 B"),
            ("2 GiB", 2 << 30, "2 GiB"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size, Size(bytes), "{text}");
            assert_eq!(size.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(size), "{printed}");
        }
    }

    #[test]
    fn sizes_without_sense_are_refused() {
        for text in ["", "-1", "MiB", "1 fortnight", "1 MiB 2"] {
            assert!(text.parse::<Size>().unwrap_err().contains("size"), "{text}");
        }
    }
}
