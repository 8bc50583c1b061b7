//! Which bound holds a tenant's tasks back, for people.

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
