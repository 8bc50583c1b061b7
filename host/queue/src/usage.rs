//! What tenants use, counted by day.

use std::collections::BTreeMap;
use std::fmt;

use bulkhead_core::{Metering, TenantName, UnixMs};
use serde::{Deserialize, Serialize};

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

/// What one tenant used in one queue on one day. Attempts count on the day they are
/// settled, also those whose claim had become stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The day.
    pub day: Day,
    /// The tenant.
    pub tenant: TenantName,
    /// What it used.
    pub usage: Usage,
}

/// Sums over attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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

/// Sum up by tenant.
pub(crate) fn by_tenant<'a>(
    attempts: impl Iterator<Item = (&'a str, &'a Metering)>,
) -> BTreeMap<&'a str, Usage> {
    let mut sums: BTreeMap<&str, Usage> = BTreeMap::new();
    for (tenant, metering) in attempts {
        sums.entry(tenant).or_default().add(Usage::of(metering));
    }
    sums
}
