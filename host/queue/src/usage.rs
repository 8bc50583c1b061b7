//! What tenants use, counted by day, plugin and task type.

use std::collections::BTreeMap;
use std::fmt;

use bulkhead_core::{Metering, PluginId, UnixMs};
use serde::{Deserialize, Serialize};

use crate::step::{End, Settlement};

/// A day in UTC, as days since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(pub u32);

impl Day {
    /// The day of a time.
    #[must_use]
    pub fn of(at: UnixMs) -> Self {
        Self(u32::try_from(at / 86_400_000).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose usage it is: of a tenant, by a plugin, for a task type.
///
/// A queue keeps 100,000 of them a day. What is over is summed up by tenant, with
/// [`UsageLine::OTHER`] for plugin and type, for 10,000 tenants, and then with it for the
/// tenant too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UsageLine {
    /// The tenant.
    pub tenant: String,
    /// The plugin; empty if none ran.
    pub plugin: String,
    /// The task type.
    pub task_type: String,
}

impl UsageLine {
    /// What stands for all others; no name is like it.
    pub const OTHER: &'static str = "*";
    /// Lines that a day of a queue has for tenants, plugins and types.
    pub const DAY_MAX: u32 = 100_000;
    /// Tenants beyond them that have a line of their own.
    pub const TENANTS_MAX: u32 = 10_000;

    pub(crate) fn others_of(tenant: &str) -> Self {
        let other = || Self::OTHER.to_owned();
        Self { tenant: tenant.to_owned(), plugin: other(), task_type: other() }
    }

    /// From `tenant:plugin:type`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':').map(str::to_owned);
        Some(Self { tenant: parts.next()?, plugin: parts.next()?, task_type: parts.next()? })
    }
}

/// `tenant:plugin:type`.
impl fmt::Display for UsageLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.tenant, self.plugin, self.task_type)
    }
}

/// What was used in one queue on one day. Attempts count on the day they are settled, also
/// those whose claim had become stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The day.
    pub day: Day,
    /// Whose.
    pub line: UsageLine,
    /// What was used.
    pub usage: Usage,
}

/// Sums over attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Attempts that ended.
    pub attempts: u64,
    /// Fuel.
    pub fuel: u64,
    /// Thread CPU time, in microseconds.
    pub cpu_us: u64,
    /// Peak memory times wall time, in kibibyte-milliseconds: divide by 1,048,576,000 for
    /// gibibyte-seconds.
    pub kib_ms: u64,
    /// Calls to capabilities.
    pub host_calls: u64,
    /// Bytes that capabilities gave.
    pub bytes_in: u64,
    /// Bytes that capabilities were given.
    pub bytes_out: u64,
}

impl Usage {
    /// One attempt's.
    #[must_use]
    pub fn of(metering: &Metering) -> Self {
        let kib = u128::from(metering.peak_memory_bytes / 1_024);
        let kib_ms = kib * u128::from(metering.wall_us) / 1_000;
        Self {
            attempts: 1,
            fuel: metering.fuel,
            cpu_us: metering.cpu_us,
            kib_ms: u64::try_from(kib_ms).unwrap_or(u64::MAX),
            host_calls: metering.host_calls,
            bytes_in: metering.bytes_in,
            bytes_out: metering.bytes_out,
        }
    }

    /// Add another sum, saturating.
    pub fn add(&mut self, other: Self) {
        self.attempts = self.attempts.saturating_add(other.attempts);
        self.fuel = self.fuel.saturating_add(other.fuel);
        self.cpu_us = self.cpu_us.saturating_add(other.cpu_us);
        self.kib_ms = self.kib_ms.saturating_add(other.kib_ms);
        self.host_calls = self.host_calls.saturating_add(other.host_calls);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
    }

    /// Gibibyte-seconds.
    #[must_use]
    pub fn gib_seconds(self) -> f64 {
        self.kib_ms as f64 / 1_048_576_000.0
    }
}

/// The most that one step adds to a sum: sums stay within 64 bits for ever.
const ADDED_MAX: u64 = 1 << 52;

/// What the attempts of these settlements used, by tenant, plugin and type, in this order.
pub(crate) fn sums(settle: &[Settlement]) -> BTreeMap<(&str, &str, &str), Usage> {
    let mut sums: BTreeMap<(&str, &str, &str), Usage> = BTreeMap::new();
    for settlement in settle {
        let report = match &settlement.end {
            End::Complete { report, .. }
            | End::DeadLetter { report, .. }
            | End::Cancel { report, .. }
            | End::Retry { report, .. }
            | End::Unreadable { report, .. } => report,
            End::Return { .. } => continue,
        };
        let Some((tenant, task_type)) = settlement.token.line() else { continue };
        let plugin = settlement.plugin.as_ref().map_or("", PluginId::as_str);
        sums.entry((tenant, plugin, task_type)).or_default().add(Usage::of(&report.metering));
    }
    for sum in sums.values_mut() {
        let Usage { attempts: _, fuel, cpu_us, kib_ms, host_calls, bytes_in, bytes_out } = sum;
        for sum in [fuel, cpu_us, kib_ms, host_calls, bytes_in, bytes_out] {
            *sum = (*sum).min(ADDED_MAX);
        }
    }
    sums
}
