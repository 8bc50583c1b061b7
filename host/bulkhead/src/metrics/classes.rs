//! Values of labels that producers and tenants choose, held in bounds.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_core::{Priority, TenantName};
use parking_lot::RwLock;

use super::family::OTHER;

/// Task types of one host that are told apart.
pub(super) const MAX_TYPES: usize = 100;

/// Task types that were seen, the first [`MAX_TYPES`].
#[derive(Default)]
pub(super) struct Types(RwLock<BTreeSet<Box<str>>>);

impl Types {
    /// The type as a label.
    pub(super) fn class<'a>(&self, task_type: &'a str) -> &'a str {
        if self.0.read().contains(task_type) {
            return task_type;
        }
        let mut known = self.0.write();
        if known.contains(task_type) {
            return task_type;
        }
        if known.len() >= MAX_TYPES {
            return OTHER;
        }
        known.insert(task_type.into());
        task_type
    }
}

/// The classes that tenants are counted in. Tenants themselves are never a label: there is no
/// bound on how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantClasses {
    /// The class of each tenant that has one of its own.
    pub named: BTreeMap<TenantName, String>,
    /// The class of all others, but for the tenant `default`.
    pub others: String,
}

impl Default for TenantClasses {
    fn default() -> Self {
        Self { named: BTreeMap::new(), others: OTHER.to_owned() }
    }
}

impl TenantClasses {
    /// The most classes that a configuration may name.
    pub const MAX: usize = 20;

    /// A tenant's class: its own; `default` for the tenant of that name; that of all others.
    #[must_use]
    pub fn class(&self, tenant: &str) -> &str {
        match self.named.get(tenant) {
            Some(class) => class,
            None if tenant == TenantName::default().as_str() => "default",
            None => &self.others,
        }
    }
}

/// The named level that a priority reaches.
pub(super) const PRIORITIES: [&str; 4] = ["low", "normal", "high", "critical"];

/// Where a priority stands among [`PRIORITIES`]: below 50 is low, and 100 alone is critical.
pub(super) fn priority_class(priority: Priority) -> usize {
    let reached = [Priority::NORMAL, Priority::HIGH, Priority::CRITICAL];
    reached.iter().filter(|level| priority >= **level).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_beyond_the_bound_are_other() {
        let types = Types::default();
        let name = |at: usize| format!("t{at}");
        for at in 0..1_000 {
            let expected = if at < MAX_TYPES { name(at) } else { OTHER.to_owned() };
            assert_eq!(types.class(&name(at)), expected);
        }
        assert_eq!(types.class("t7"), "t7");
    }

    #[test]
    fn tenants_are_known_by_their_class_only() {
        let gold = TenantName::new("acme").unwrap();
        let classes =
            TenantClasses { named: [(gold, "gold".to_owned())].into(), ..TenantClasses::default() };
        for (tenant, class) in [("acme", "gold"), ("default", "default"), ("stranger", OTHER)] {
            assert_eq!(classes.class(tenant), class);
        }
    }

    #[test]
    fn a_priority_is_of_the_level_that_it_reaches() {
        for (level, class) in [
            (0, "low"),
            (25, "low"),
            (49, "low"),
            (50, "normal"),
            (75, "high"),
            (99, "high"),
            (100, "critical"),
        ] {
            let priority = Priority::try_from(level).unwrap();
            assert_eq!(PRIORITIES[priority_class(priority)], class, "{level}");
        }
    }
}
