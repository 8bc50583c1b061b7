//! What the autoscaler decided, with what it saw and why: in words, for people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Fewer attempts.
    Down,
    /// As many.
    Hold,
    /// More attempts.
    Up,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "down",
            Self::Hold => "hold",
            Self::Up => "up",
        })
    }
}

/// The five things that concurrency follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// What waits, weighted by priority, for each slot.
    QueuePressure,
    /// Of the slots, how many are used.
    Utilisation,
    /// What tasks need: CPU time, or time to wait.
    TaskCost,
    /// How many attempts fail for an overload.
    ErrorRate,
    /// The host's memory.
    Memory,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 5] =
        [Self::QueuePressure, Self::Utilisation, Self::TaskCost, Self::ErrorRate, Self::Memory];

    /// Its name in JSON, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueuePressure => "queue_pressure",
            Self::Utilisation => "utilisation",
            Self::TaskCost => "task_cost",
            Self::ErrorRate => "error_rate",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there should be more, fewer or as many attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// More work waits than there are slots.
    Backlog,
    /// Work waits, and begins later than it should.
    Late,
    /// Little or nothing waits, and most slots are used.
    Steady,
    /// Most slots are idle.
    Idle,
    /// Work waits although slots are free: something else holds it back.
    NotTheSlots,
    /// The CPUs are busy; more attempts would gain nothing.
    CpuBound,
    /// The CPUs are spent on more attempts than keep them busy.
    CpuSpent,
    /// Most attempts fail for an overload.
    Failing,
    /// Many attempts fail for an overload.
    Doubtful,
    /// The memory is full.
    MemoryFull,
    /// There is no memory for more attempts.
    MemoryTight,
    /// As many attempts as there may be.
    AtMost,
    /// As few attempts as there may be.
    AtLeast,
}

impl Reason {
    /// What it was seen by.
    #[must_use]
    pub fn signal(self) -> Signal {
        match self {
            Self::Backlog | Self::Late | Self::AtMost => Signal::QueuePressure,
            Self::Steady | Self::Idle | Self::NotTheSlots | Self::AtLeast => Signal::Utilisation,
            Self::CpuBound | Self::CpuSpent => Signal::TaskCost,
            Self::Failing | Self::Doubtful => Signal::ErrorRate,
            Self::MemoryFull | Self::MemoryTight => Signal::Memory,
        }
    }

    /// The same in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backlog => "more work waits than there are slots",
            Self::Late => "work begins later than it should",
            Self::Steady => "the slots do for the work",
            Self::Idle => "most slots are idle",
            Self::NotTheSlots => "work waits, but not for slots",
            Self::CpuBound => "the CPUs are busy, more would gain nothing",
            Self::CpuSpent => "the CPUs are spent on more than keep them busy",
            Self::Failing => "most attempts fail for an overload",
            Self::Doubtful => "many attempts fail for an overload",
            Self::MemoryFull => "the memory is full",
            Self::MemoryTight => "there is no memory for more",
            Self::AtMost => "it is at the most",
            Self::AtLeast => "it is at the least",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the signals were.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Readings {
    /// What waits for each slot, weighted by priority.
    pub pressure: f64,
    /// Attempts that run for each slot.
    pub utilisation: f64,
    /// The share of the CPUs that is used.
    pub cpu_busy: f64,
    /// Attempts that keep the CPUs busy, if that is known.
    pub useful: Option<u32>,
    /// The share of attempts that failed for an overload, if enough have ended.
    pub overloaded: Option<f64>,
    /// The resident share of the memory's ceiling, if it has one.
    pub memory: Option<f64>,
    /// Within how many milliseconds 95 of 100 tasks began.
    pub pick_up_ms: Option<u64>,
}

impl fmt::Display for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 100.0).round();
        write!(
            f,
            "pressure {:.1}, {} % in use, CPU {} %",
            self.pressure,
            percent(self.utilisation),
            percent(self.cpu_busy)
        )?;
        if let Some(useful) = self.useful {
            write!(f, " ({useful} keep it busy)")?;
        }
        if let Some(overloaded) = self.overloaded {
            write!(f, ", {} % overloaded", percent(overloaded))?;
        }
        if let Some(memory) = self.memory {
            write!(f, ", memory {} %", percent(memory))?;
        }
        if let Some(pick_up_ms) = self.pick_up_ms {
            write!(f, ", picked up in {pick_up_ms} ms")?;
        }
        Ok(())
    }
}

/// What one observation came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Verdict {
    /// Attempts that there might be at once before.
    pub from: u32,
    /// And from now on.
    pub to: u32,
    /// Which way the observation asks for.
    pub direction: Direction,
    /// Why.
    pub reason: Reason,
    /// How often in a row that way was asked for.
    pub in_a_row: u32,
    /// How often it must be.
    pub needed: u32,
    /// How long no change is made that way yet, in milliseconds.
    pub cooldown_left_ms: u64,
    /// What was seen.
    pub readings: Readings,
}

impl Verdict {
    /// Whether it changes anything.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.from != self.to
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, direction, reason, in_a_row, needed, cooldown_left_ms, readings } =
            self;
        match direction {
            _ if from != to => write!(f, "{from} to {to}: {reason} ({in_a_row} in a row)")?,
            Direction::Hold => write!(f, "{from}: {reason}")?,
            _ => {
                write!(f, "{from}, {direction} soon: {reason} ({in_a_row} of {needed} in a row")?;
                if *cooldown_left_ms > 0 {
                    write!(f, ", cooling down for {cooldown_left_ms} ms")?;
                }
                f.write_str(")")?;
            }
        }
        write!(f, "; {readings}")
    }
}
