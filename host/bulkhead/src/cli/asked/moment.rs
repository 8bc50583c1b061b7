//! A point in time as people write it: RFC 3339.

use std::str::FromStr;

use serde::Deserialize;

/// A time in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Moment(pub(crate) u64);

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
}
