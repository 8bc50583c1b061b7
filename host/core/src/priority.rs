//! Priorities: four named levels on a numeric scale.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How urgent a task is, from 0 (least) to 100 (most).
///
/// Priority orders the tasks of one tenant within one queue; it never takes from
/// another tenant's share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

/// A priority that is neither a level's name nor a number from 0 to 100.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the priority `{0}` is not known; use low, normal, high, critical or a number from 0 to 100"
)]
pub struct PriorityError(String);

impl Priority {
    /// Level 25.
    pub const LOW: Self = Self(25);
    /// Level 50, the default.
    pub const NORMAL: Self = Self(50);
    /// Level 75.
    pub const HIGH: Self = Self(75);
    /// Level 100, the highest.
    pub const CRITICAL: Self = Self(100);

    /// How many classes there are.
    pub const CLASSES: usize = 4;

    /// The class of the level that it is nearest to: 0 low, 1 normal, 2 high, 3 critical. Half
    /// way between two it is the higher one.
    #[must_use]
    pub fn class(self) -> usize {
        match self.0 {
            0..=37 => 0,
            38..=62 => 1,
            63..=87 => 2,
            _ => 3,
        }
    }

    /// The level, 0 to 100.
    #[must_use]
    pub fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

impl TryFrom<u8> for Priority {
    type Error = PriorityError;
    fn try_from(level: u8) -> Result<Self, PriorityError> {
        if level <= Self::CRITICAL.0 {
            Ok(Self(level))
        } else {
            Err(PriorityError(level.to_string()))
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl FromStr for Priority {
    type Err = PriorityError;
    fn from_str(text: &str) -> Result<Self, PriorityError> {
        match text {
            "low" => Ok(Self::LOW),
            "normal" => Ok(Self::NORMAL),
            "high" => Ok(Self::HIGH),
            "critical" => Ok(Self::CRITICAL),
            number => number
                .parse::<u8>()
                .ok()
                .and_then(|level| Self::try_from(level).ok())
                .ok_or_else(|| PriorityError(text.escape_debug().to_string())),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::LOW => f.write_str("low"),
            Self::NORMAL => f.write_str("normal"),
            Self::HIGH => f.write_str("high"),
            Self::CRITICAL => f.write_str("critical"),
            Self(level) => write!(f, "{level}"),
        }
    }
}

impl fmt::Debug for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Priority({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_of_the_nearest_class() {
        let levels = [Priority::LOW, Priority::NORMAL, Priority::HIGH, Priority::CRITICAL];
        assert_eq!(levels.map(Priority::class), [0, 1, 2, 3]);
        let classes: Vec<usize> = [0, 37, 38, 62, 63, 87, 88].map(|n| Priority(n).class()).into();
        assert_eq!(classes, [0, 0, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn names_and_numbers_round_trip() {
        for text in ["low", "normal", "high", "critical", "0", "33", "99"] {
            assert_eq!(text.parse::<Priority>().unwrap().to_string(), text);
        }
        for text in ["", "urgent", "101", "-1", "256"] {
            assert!(text.parse::<Priority>().is_err(), "{text}");
        }
        assert!(Priority::LOW < Priority::NORMAL && Priority::HIGH < Priority::CRITICAL);
    }
}
