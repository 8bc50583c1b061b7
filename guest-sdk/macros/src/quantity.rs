//! Durations and sizes as they are written in the attribute: a whole number and a
//! unit, such as `10s` or `64 MiB`. A number without a unit is refused, because its
//! reader would have to guess.

/// The milliseconds of `text`, such as `250ms`, `10s`, `5m` or `1h`.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    quantity(text, &units).ok_or_else(|| {
        format!("`{text}` is no duration; write a whole number and ms, s, m or h, such as `10s`")
    })
}

/// The bytes of `text`, such as `512 KiB`, `64 MiB` or `1 GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    quantity(text, &units).ok_or_else(|| {
        format!(
            "`{text}` is no size; write a whole number and B, KiB, MiB, GiB, kB, MB or GB, \
             such as `64 MiB`"
        )
    })
}

/// `text` as number × unit; nothing if it is malformed, zero or beyond 64 bits.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.replace('_', "").parse().ok()?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.checked_mul(*scale).filter(|product| *product > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in
            [("250ms", 250), ("10s", 10_000), ("10 s", 10_000), ("5m", 300_000), ("1h", 3_600_000)]
        {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        for bad in ["", "10", "s", "0s", "-1s", "1.5s", "1d", "10 seconds", "99999999999999999h"] {
            let message = milliseconds(bad).unwrap_err();
            assert!(message.contains(&format!("`{bad}`")), "{message}");
            assert!(message.contains("such as `10s`"), "{message}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("1B", 1),
            ("64 MiB", 64 << 20),
            ("1_024KiB", 1 << 20),
            ("2GiB", 2 << 30),
            ("1MB", 1_000_000),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for bad in ["", "64", "MiB", "0 MiB", "64 mib", "64 M", "99999999999 GiB"] {
            let message = bytes(bad).unwrap_err();
            assert!(message.contains(&format!("`{bad}`")), "{message}");
            assert!(message.contains("such as `64 MiB`"), "{message}");
        }
    }
}
