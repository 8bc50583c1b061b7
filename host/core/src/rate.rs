//! Rates: token buckets kept as one number.
//!
//! A bucket is its *theoretical arrival time* (GCRA): the time at which it will be full
//! again. One integer holds tokens and clock, and a bucket that is full needs no storage.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// So many per period, with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Rate {
    /// Time for one token to come back, in microseconds; at least 1.
    pub interval_us: u64,
    /// Tokens in a full bucket; at least 1.
    pub burst: u32,
}

impl Rate {
    /// `count` per `period_us` microseconds with this burst. Nothing if one of them is 0.
    #[must_use]
    pub fn new(count: u32, period_us: u64, burst: u32) -> Option<Self> {
        if count == 0 || period_us == 0 || burst == 0 {
            return None;
        }
        Some(Self { interval_us: (period_us / u64::from(count)).max(1), burst })
    }

    /// Tokens in a bucket of arrival time `tat_us` (0 for a new one).
    #[must_use]
    pub fn available(self, tat_us: u64, now_us: u64) -> u32 {
        let full_us = self.interval_us.saturating_mul(u64::from(self.burst));
        let missing_us = tat_us.saturating_sub(now_us);
        u32::try_from(full_us.saturating_sub(missing_us) / self.interval_us).unwrap_or(u32::MAX)
    }

    /// The arrival time after `count` tokens are taken.
    #[must_use]
    pub fn spend(self, tat_us: u64, now_us: u64, count: u32) -> u64 {
        tat_us.max(now_us).saturating_add(self.interval_us.saturating_mul(u64::from(count)))
    }

    /// When the bucket will hold `count` tokens, at most its burst.
    #[must_use]
    pub fn ready_at_us(self, tat_us: u64, count: u32) -> u64 {
        let spare = u64::from(self.burst.saturating_sub(count));
        tat_us.saturating_sub(self.interval_us.saturating_mul(spare))
    }
}

/// `10/s`, `600/m`, `5/h`, `100/d` or `1/250ms`; a burst follows as `10/s burst 20`.
/// Without one the burst is the count.
impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{}` is no rate; write a count and a period, such as `10/s`, `600/m`, `1/250ms` \
                 or `10/s burst 20`",
                text.escape_debug()
            )
        };
        let (rate, burst) = match text.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(burst.trim().parse::<u32>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let (count, period) = rate.trim().split_once('/').ok_or_else(bad)?;
        let count: u32 = count.trim().parse().map_err(|_| bad())?;
        let period = period.trim();
        let digits = period.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, unit) = period.split_at(digits);
        let number: u64 = if number.is_empty() { 1 } else { number.parse().map_err(|_| bad())? };
        let unit_us: u64 = match unit {
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return Err(bad()),
        };
        let period_us = number.checked_mul(unit_us).ok_or_else(bad)?;
        Self::new(count, period_us, burst.unwrap_or(count)).ok_or_else(bad)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_second = 1_000_000.0 / self.interval_us as f64;
        if per_second >= 1.0 {
            write!(f, "{}/s", rounded(per_second))?;
        } else if per_second * 60.0 >= 1.0 {
            write!(f, "{}/m", rounded(per_second * 60.0))?;
        } else {
            write!(f, "{}/h", rounded(per_second * 3_600.0))?;
        }
        write!(f, " burst {}", self.burst)
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_starts_full_and_refills_at_its_rate() {
        let rate = Rate::new(10, 1_000_000, 3).unwrap();
        assert_eq!(rate.available(0, 5_000_000), 3);
        let tat = rate.spend(0, 5_000_000, 3);
        assert_eq!(rate.available(tat, 5_000_000), 0);
        assert_eq!(rate.available(tat, 5_099_999), 0);
        assert_eq!(rate.available(tat, 5_100_000), 1);
        assert_eq!(rate.ready_at_us(tat, 1), 5_100_000);
        assert_eq!(rate.available(tat, 9_000_000), 3);
    }

    #[test]
    fn rates_are_read_and_shown() {
        let rate = |text: &str| text.parse::<Rate>();
        assert_eq!(rate("10/s"), Ok(Rate { interval_us: 100_000, burst: 10 }));
        assert_eq!(rate("1/250ms"), Ok(Rate { interval_us: 250_000, burst: 1 }));
        assert_eq!(rate("600/m burst 5"), Ok(Rate { interval_us: 100_000, burst: 5 }));
        assert_eq!(rate("10/s burst 20").unwrap().to_string(), "10/s burst 20");
        assert_eq!(rate("90/h").unwrap().to_string(), "1.5/m burst 90");
        for bad in [
            "",
            "10",
            "10/",
            "0/s",
            "10/0s",
            "10/x",
            "-1/s",
            "10/s burst 0",
            "1/99999999999999999999d",
        ] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_window_grants_more_than_burst_and_rate(
            interval_us in 1u64..1_000_000, burst in 1u32..50,
            waits in proptest::collection::vec(0u64..2_000_000, 1..60),
        ) {
            let rate = Rate { interval_us, burst };
            let (start, mut now, mut tat, mut taken) = (1u64 << 40, 1u64 << 40, 0, 0u64);
            for wait in waits {
                now += wait;
                let grant = rate.available(tat, now);
                prop_assert!(grant <= burst);
                tat = rate.spend(tat, now, grant);
                taken += u64::from(grant);
                prop_assert!(taken <= u64::from(burst) + (now - start) / interval_us);
                prop_assert_eq!(rate.available(tat, now), 0);
                let ready = rate.ready_at_us(tat, 1);
                prop_assert_eq!(rate.available(tat, ready), 1);
            }
        }
    }
}
