//! A queue's policy: what it bounds, for whom.
//!
//! It is stored with the queue, so that all hosts apply the same. Whatever it bounds is
//! passed over while the bound holds; other work goes on.

mod check;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Rate, TaskType, TenantName};

pub use check::PolicyError;

/// The policy of one queue. The empty one bounds nothing and costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct QueuePolicy {
    /// Tasks of the queue that may run at once, over all hosts.
    pub concurrency: Option<u32>,
    /// How often a task of the queue may start.
    pub rate: Option<Rate>,
    /// Bounds of single task types.
    pub types: BTreeMap<TaskType, Bounds>,
    /// Bounds of tasks by their key (`Terms::key`): an exact key, or a prefix that ends in
    /// `*` and bounds each key that begins so by itself. The longest match counts.
    pub keys: BTreeMap<String, Bounds>,
    /// Shares and quotas of single tenants.
    pub tenants: BTreeMap<TenantName, TenantPolicy>,
    /// Shares and quotas of each tenant not named in `tenants`.
    pub other_tenants: Option<TenantPolicy>,
    /// How many lifecycle events the queue keeps; without it none are recorded.
    pub events: Option<u32>,
}

impl QueuePolicy {
    /// Most entries of each of the three maps.
    pub const MAX_ENTRIES: usize = 10_000;
    /// Most prefixes among `keys`.
    pub const MAX_KEY_PREFIXES: usize = 64;
    /// The largest bound on what runs at once.
    pub const MAX_AT_ONCE: u32 = 1_000_000;
    /// The most events that a queue keeps.
    pub const MAX_EVENTS: u32 = 1_000_000;

    /// The bounds of a key: the exact entry, else the longest prefix.
    #[must_use]
    pub fn key_bounds(&self, key: &str) -> Option<Bounds> {
        if let Some(exact) = self.keys.get(key) {
            return Some(*exact);
        }
        self.keys
            .iter()
            .filter_map(|(pattern, bounds)| Some((pattern.strip_suffix('*')?, bounds)))
            .filter(|(prefix, _)| key.starts_with(prefix))
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(_, bounds)| *bounds)
    }

    /// The policy of a tenant.
    #[must_use]
    pub fn tenant(&self, tenant: &TenantName) -> TenantPolicy {
        self.tenants.get(tenant).copied().or(self.other_tenants).unwrap_or_default()
    }
}

/// Bounds on what may run at once and how often it may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Tasks at once, over all hosts.
    pub concurrency: Option<u32>,
    /// Starts per time.
    pub rate: Option<Rate>,
}

/// A tenant's share and quotas within one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TenantPolicy {
    /// Its share of claims relative to other tenants that have work, from 1 to 1,000.
    pub weight: u32,
    /// Its tasks that may run at once, over all hosts.
    pub in_flight: Option<u32>,
    /// How often its tasks may start.
    pub rate: Option<Rate>,
    /// Its tasks that may be there and not ended; more are refused, with 0 all of them.
    pub pending: Option<u64>,
    /// Bytes of one task's record (payload, metadata and about 100 bytes); larger ones are
    /// refused.
    pub payload_bytes: Option<u64>,
    /// Fuel that its attempts may use a minute; see [`crate::MinuteBucket`].
    pub fuel_per_minute: Option<u64>,
    /// Memory × time that its attempts may use a minute, in kibibyte-milliseconds (a
    /// gibibyte-second is 1,048,576,000 of them).
    pub kib_ms_per_minute: Option<u64>,
    /// What becomes of its new tasks while one of these two is spent.
    pub when_spent: WhenSpent,
}

/// What becomes of the new tasks of a tenant that has spent its minute's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhenSpent {
    /// They are taken, and wait like those that are there.
    #[default]
    Wait,
    /// They are refused.
    Refuse,
}

impl Default for TenantPolicy {
    fn default() -> Self {
        Self {
            weight: Self::NORMAL_WEIGHT,
            in_flight: None,
            rate: None,
            pending: None,
            payload_bytes: None,
            fuel_per_minute: None,
            kib_ms_per_minute: None,
            when_spent: WhenSpent::Wait,
        }
    }
}

impl TenantPolicy {
    /// The weight of a tenant without a policy.
    pub const NORMAL_WEIGHT: u32 = 10;
    /// The largest weight.
    pub const MAX_WEIGHT: u32 = 1_000;
    /// The largest quota of tasks.
    pub const MAX_PENDING: u64 = 1_000_000_000_000;
    /// The largest quota of one task's bytes.
    pub const MAX_PAYLOAD_BYTES: u64 = 256 << 20;

    /// A gibibyte-second in kibibyte-milliseconds.
    pub const GIB_SECOND: u64 = 1_048_576_000;

    /// Whether it has a quota of a minute.
    #[must_use]
    pub fn is_metered(self) -> bool {
        self.fuel_per_minute.or(self.kib_ms_per_minute).is_some()
    }

    /// How far one claim moves a tenant's virtual time.
    #[must_use]
    pub fn stride(self) -> u64 {
        VIRTUAL_SECOND / u64::from(self.weight.clamp(1, Self::MAX_WEIGHT))
    }
}

/// Virtual time of one claim at weight 1.
const VIRTUAL_SECOND: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_bounds_a_key() {
        let bounds = |concurrency| Bounds { concurrency: Some(concurrency), rate: None };
        let policy = QueuePolicy {
            keys: [("*", 1), ("smtp:*", 2), ("smtp:slow:*", 3), ("smtp:a", 4)]
                .map(|(key, n)| (key.to_owned(), bounds(n)))
                .into(),
            ..Default::default()
        };
        let found = |key| policy.key_bounds(key).and_then(|b| b.concurrency);
        assert_eq!(found("x"), Some(1));
        assert_eq!(found("smtp:b"), Some(2));
        assert_eq!(found("smtp:slow:b"), Some(3));
        assert_eq!(found("smtp:a"), Some(4));
        assert_eq!(QueuePolicy::default().key_bounds("x"), None);
    }

    #[test]
    fn a_heavier_tenant_takes_shorter_strides() {
        let of = |weight| TenantPolicy { weight, ..Default::default() }.stride();
        assert_eq!((of(1), of(10), of(1_000)), (100_000, 10_000, 100));
        assert_eq!(of(0), of(1));
    }
}
