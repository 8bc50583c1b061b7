//! Which bound holds a tenant's tasks back, and how much of its bounds is in use, for people.

use bulkhead_core::UnixMs;
use serde::{Deserialize, Serialize};

/// A tenant whose pending tasks are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HeldTenant {
    /// The tenant.
    pub tenant: String,
    /// What holds it back.
    pub by: HeldBy,
    /// When it is looked at again; `None` if one of its tasks has to end first.
    pub until: Option<UnixMs>,
}

/// The bound that holds a tenant back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    /// As many of its tasks run as may.
    InFlight,
    /// Its tasks may not start so often.
    Rate,
    /// Its fuel of a minute is spent.
    Fuel,
    /// Its memory × time of a minute is spent.
    Memory,
}

/// What of its bounds a tenant has in use in a queue. A figure is told where the queue's policy
/// bounds it for this tenant, and nothing otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QuotaUse {
    /// Tasks that have not ended, of `pending`; told in any case.
    pub pending: u64,
    /// Tasks that run, of `in_flight`.
    pub in_flight: Option<u64>,
    /// Starts that have not come back, of the `burst` of `rate`.
    pub starts: Option<u64>,
    /// Fuel that has not come back, of `fuel_per_minute`; more than that with a debt.
    pub fuel: Option<u64>,
    /// Kibibyte-milliseconds that have not come back, of `kib_ms_per_minute`; more than that with
    /// a debt.
    pub kib_ms: Option<u64>,
}
