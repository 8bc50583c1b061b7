//! Schedules: tasks that are submitted again and again, or once at a time.
//!
//! A schedule is data; its fire times are computed by [`Timing`]. Whoever computes them
//! gets the same answer, and the queue accepts each fire once.

mod cron;
mod due;
mod error;
mod timing;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use due::{Due, fire_id};
pub use error::TimingError;

use crate::{LimitsRequest, Payload, Priority, TaskType, TenantName, Terms, UnixMs};

/// A schedule, named uniquely in its queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name, checked like a queue's.
    pub name: String,
    /// When it fires.
    pub timing: Timing,
    /// Whether a fire is skipped while the previous one's task has not ended.
    #[serde(default)]
    pub exclusive: bool,
    /// What becomes of fires that nobody was there for.
    #[serde(default)]
    pub missed: Missed,
    /// What it submits.
    pub task: Template,
    /// Where the definition comes from: `config`, `cli` or `api`.
    #[serde(default)]
    pub origin: String,
}

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Timing {
    /// Once.
    Once {
        /// The time.
        at: UnixMs,
    },
    /// By a cron expression of five fields, or six with seconds first.
    Cron {
        /// The expression.
        expression: String,
        /// The IANA time zone, for example `Europe/Berlin`.
        zone: String,
    },
    /// Again and again after the same time, counted from `start`.
    Every {
        /// The interval, in milliseconds; from 1,000 to 366 days.
        interval_ms: u64,
        /// The most that a fire is delayed, in milliseconds, less than the interval; the
        /// delay is spread evenly and is the same wherever it is computed.
        jitter_ms: u64,
        /// The first fire without jitter.
        start: UnixMs,
    },
}

/// What becomes of fires whose time passed while no host ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are dropped, unless they are less than a minute late.
    Skip,
    /// The latest of them fires.
    #[default]
    Once,
    /// The latest so many fire, oldest first.
    All {
        /// How many at most, from 1 to 1,000.
        at_most: u32,
    },
}

/// `skip`, `once`, `all` (the latest 1,000) or `all 10` (the latest ten).
impl FromStr for Missed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{}` is no way with missed fires; use skip, once, all or all 10 (the latest ten)",
                text.escape_debug()
            )
        };
        match text.trim() {
            "skip" => Ok(Self::Skip),
            "once" => Ok(Self::Once),
            "all" => Ok(Self::All { at_most: due::MAX_MADE_UP_FOR }),
            other => {
                let at_most = other.strip_prefix("all ").ok_or_else(bad)?;
                Ok(Self::All { at_most: at_most.trim().parse().map_err(|_| bad())? })
            }
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip => f.write_str("skip"),
            Self::Once => f.write_str("once"),
            Self::All { at_most } => write!(f, "all {at_most}"),
        }
    }
}

/// The task that a schedule submits, without id and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Which handler it is for.
    pub task_type: TaskType,
    /// Whose it is.
    #[serde(default)]
    pub tenant: TenantName,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// The input.
    #[serde(default)]
    pub payload: Payload,
    /// Key-value pairs for the handler.
    #[serde(default)]
    pub metadata: Vec<(String, String)>,
    /// Limits below the host's.
    #[serde(default)]
    pub limits: LimitsRequest,
    /// The terms; `not_before`, `after`, `batch` and `schedule` are ignored, and
    /// `expires_at` and `deadline_at` count from the time the fire is for.
    #[serde(default)]
    pub terms: Terms,
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
