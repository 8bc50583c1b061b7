//! Numbers for people: sizes, durations, counts and times.

use jiff::Timestamp;

/// A size with a binary unit and three significant digits.
pub(crate) fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A count such as fuel: `12.3 M`.
pub(crate) fn count(count: u64) -> String {
    scaled(count as f64, 1000.0, &["", "k", "M", "G", "T"]).trim_end().to_owned()
}

/// A duration given in microseconds.
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..60_000_000 => scaled(us as f64, 1000.0, &["µs", "ms", "s"]),
        _ => seconds(us / 1_000_000),
    }
}

/// A duration of whole seconds: `2m 5s`.
pub(crate) fn seconds(s: u64) -> String {
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m {}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h {}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// A time in Unix milliseconds as RFC 3339 in UTC.
pub(crate) fn time(unix_ms: u64) -> String {
    i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{unix_ms} ms"), |time| format!("{time:.3}"))
}

/// A time in Unix milliseconds by the wall clock of a time zone.
pub(crate) fn time_in(unix_ms: u64, zone: &str) -> String {
    i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .and_then(|time| time.in_tz(zone).ok())
        .map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
}

/// How long ago a time in Unix milliseconds was, or how far ahead it is.
pub(crate) fn relative(unix_ms: u64, now_ms: u64) -> String {
    if unix_ms > now_ms {
        format!("in {}", seconds((unix_ms - now_ms) / 1000))
    } else {
        format!("{} ago", seconds((now_ms - unix_ms) / 1000))
    }
}

/// The wall clock in Unix milliseconds.
pub(crate) fn now() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let (mut value, mut at) = (value, 0);
    // 999.5 would be rounded to a fourth digit.
    while value >= step - 0.5 && at + 1 < units.len() {
        value /= step;
        at += 1;
    }
    let digits = match value {
        _ if at == 0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", units[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        for (number, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (10 << 10, "10.0 KiB"),
            (300 << 20, "300 MiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!(count(999), "999");
        assert_eq!(count(12_345_678), "12.3 M");
        assert_eq!(count(999_999), "1.00 M");
        assert_eq!(micros(15), "15 µs");
        assert_eq!(micros(1_500), "1.50 ms");
        assert_eq!(micros(2_000_000), "2.00 s");
        assert_eq!(micros(125_000_000), "2m 5s");
        assert_eq!(micros(u64::MAX), "213503982d 8h");
    }

    #[test]
    fn times_are_utc_and_relative_to_now() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(u64::MAX), format!("{} ms", u64::MAX));
        assert_eq!(time_in(0, "Europe/Berlin"), "1970-01-01 01:00:00 CET");
        assert_eq!(time_in(0, "Nowhere"), "");
        assert_eq!(relative(1_000, 6_000), "5s ago");
        assert_eq!(relative(3_700_000, 0), "in 1h 1m");
    }
}
