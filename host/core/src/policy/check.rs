//! What of a policy can be kept: the one place that says so, for brokers, configuration and
//! commands alike.
//!
//! A problem has its place by the names of the configuration, below the queue's section.

use std::fmt;
use std::ops::RangeInclusive;

use super::{Bounds, QueuePolicy, TenantPolicy, WhenSpent};
use crate::{MinuteBucket, Rate, TermKey};

/// The longest time for one token to come back: a year.
const MAX_INTERVAL_US: u64 = 366 * 86_400_000_000;
/// The longest time for a bucket to fill: 71 years, within what scripts can add to a time.
const MAX_FULL_US: u64 = 1 << 51;

/// Why a policy cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be kept: {message}", path.join(".").escape_debug())]
pub struct PolicyError {
    /// Where in the policy, by the names of the configuration: `tenants`, `acme`, `weight`.
    pub path: Vec<String>,
    /// What is wrong, and what is right.
    pub message: String,
}

impl QueuePolicy {
    /// Refuse a policy that cannot be kept.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// All that keeps a policy from being kept.
    #[must_use]
    pub fn problems(&self) -> Vec<PolicyError> {
        let mut found = Found(Vec::new());
        for (name, entries) in [
            ("types", self.types.len()),
            ("keys", self.keys.len()),
            ("tenants", self.tenants.len()),
        ] {
            if entries > Self::MAX_ENTRIES {
                found.add(&[name], format!("{entries} entries are over {}", Self::MAX_ENTRIES));
            }
        }
        let prefixes = self.keys.keys().filter(|key| key.ends_with('*')).count();
        if prefixes > Self::MAX_KEY_PREFIXES {
            let most = Self::MAX_KEY_PREFIXES;
            found.add(&["keys"], format!("{prefixes} of the keys end in `*`; at most {most} may"));
        }
        if let Some(events) = self.events {
            found.within(&["events"], events, 1..=Self::MAX_EVENTS);
        }
        found.bounds(&[], &Bounds { concurrency: self.concurrency, rate: self.rate });
        for (task_type, bounds) in &self.types {
            found.bounds(&["types", task_type.as_str()], bounds);
        }
        for (key, bounds) in &self.keys {
            // The prefix of all keys is empty, which a key is not.
            if key != "*"
                && let Err(error) = TermKey::new(key.as_str())
            {
                found.add(&["keys", key], error.to_string());
            }
            found.bounds(&["keys", key], bounds);
        }
        for (name, tenant) in &self.tenants {
            found.tenant(name.as_str(), tenant);
        }
        if let Some(tenant) = &self.other_tenants {
            found.tenant("*", tenant);
        }
        found.0
    }
}

struct Found(Vec<PolicyError>);

impl Found {
    fn add(&mut self, path: &[&str], message: String) {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        self.0.push(PolicyError { path, message });
    }

    fn within<T: PartialOrd + fmt::Display>(
        &mut self,
        path: &[&str],
        value: T,
        to: RangeInclusive<T>,
    ) {
        if !to.contains(&value) {
            self.add(path, format!("{value} is not from {} to {}", to.start(), to.end()));
        }
    }

    fn bounds(&mut self, at: &[&str], bounds: &Bounds) {
        self.at_once(&[at, &["concurrency"]].concat(), bounds.concurrency);
        self.rate(&[at, &["rate"]].concat(), bounds.rate);
    }

    fn at_once(&mut self, path: &[&str], bound: Option<u32>) {
        let most = QueuePolicy::MAX_AT_ONCE;
        match bound {
            Some(0) => self.add(path, format!("0 is not from 1 to {most}; pause to stop all")),
            Some(bound) => self.within(path, bound, 1..=most),
            None => {}
        }
    }

    fn rate(&mut self, path: &[&str], rate: Option<Rate>) {
        let Some(Rate { interval_us, burst }) = rate else { return };
        let reason = if interval_us == 0 || burst == 0 {
            "its interval or its burst is 0; use 1 or more"
        } else if interval_us > MAX_INTERVAL_US {
            "once in more than 366 days is too seldom"
        } else if interval_us.saturating_mul(u64::from(burst)) > MAX_FULL_US {
            "the burst takes more than 71 years to come back; use a smaller one"
        } else {
            return;
        };
        self.add(path, reason.to_owned());
    }

    fn tenant(&mut self, name: &str, tenant: &TenantPolicy) {
        let of = |key| ["tenants", name, key];
        self.within(&of("weight"), tenant.weight, 1..=TenantPolicy::MAX_WEIGHT);
        self.at_once(&of("in_flight"), tenant.in_flight);
        self.rate(&of("rate"), tenant.rate);
        if let Some(pending) = tenant.pending {
            self.within(&of("pending"), pending, 0..=TenantPolicy::MAX_PENDING);
        }
        for (key, quota) in [
            ("fuel_per_minute", tenant.fuel_per_minute),
            ("kib_ms_per_minute", tenant.kib_ms_per_minute),
        ] {
            if let Some(quota) = quota {
                self.within(&of(key), quota, 1..=MinuteBucket::MAX_QUOTA);
            }
        }
        if tenant.when_spent == WhenSpent::Refuse && !tenant.is_metered() {
            let message = "there is no quota to spend; give `fuel_per_minute` or \
                           `gib_seconds_per_minute`";
            self.add(&of("when_spent"), message.to_owned());
        }
        if let Some(bytes) = tenant.payload_bytes {
            let most = TenantPolicy::MAX_PAYLOAD_BYTES;
            if !(1..=most).contains(&bytes) {
                let message = format!("{bytes} bytes are not from 1 byte to {} MiB", most >> 20);
                self.add(&of("payload"), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TaskType, TenantName};

    fn refusal(policy: &QueuePolicy) -> String {
        policy.check().map_or_else(|error| error.to_string(), |()| "kept".to_owned())
    }

    fn bounded(concurrency: u32) -> Bounds {
        Bounds { concurrency: Some(concurrency), rate: None }
    }

    fn rated(interval_us: u64, burst: u32) -> QueuePolicy {
        QueuePolicy { rate: Some(Rate { interval_us, burst }), ..QueuePolicy::default() }
    }

    fn of_all(tenant: TenantPolicy) -> QueuePolicy {
        QueuePolicy { other_tenants: Some(tenant), ..QueuePolicy::default() }
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_its_place() {
        let normal = TenantPolicy::default();
        let many = |end| (0..=QueuePolicy::MAX_KEY_PREFIXES).map(move |n| format!("{n}{end}"));
        let keys = |keys: Vec<String>| QueuePolicy {
            keys: keys.into_iter().map(|key| (key, bounded(1))).collect(),
            ..QueuePolicy::default()
        };
        let of_type = (TaskType::new("mail").unwrap(), bounded(0));
        let of_tenant = (TenantName::new("a").unwrap(), TenantPolicy { weight: 0, ..normal });
        for (policy, says) in [
            (QueuePolicy { concurrency: Some(1_000_001), ..Default::default() }, "`concurrency`"),
            (QueuePolicy { types: [of_type].into(), ..Default::default() }, "pause"),
            (QueuePolicy { events: Some(0), ..Default::default() }, "0 is not from 1 to 1000000"),
            (
                QueuePolicy { tenants: [of_tenant].into(), ..Default::default() },
                "`tenants.a.weight`",
            ),
            (rated(0, 1), "`rate`"),
            (rated(1, 0), "burst is 0"),
            (rated(367 * 86_400_000_000, 1), "366 days"),
            (rated(86_400_000_000, 30_000), "71 years"),
            (keys(vec!["a b".into()]), "`keys.a b`"),
            (keys(many("*").collect()), "65 of the keys end in `*`"),
            (of_all(TenantPolicy { in_flight: Some(0), ..normal }), "`tenants.*.in_flight`"),
            (of_all(TenantPolicy { pending: Some(u64::MAX), ..normal }), "`tenants.*.pending`"),
            (of_all(TenantPolicy { payload_bytes: Some(0), ..normal }), "`tenants.*.payload`"),
            (
                of_all(TenantPolicy { fuel_per_minute: Some(0), ..normal }),
                "`tenants.*.fuel_per_minute`",
            ),
            (
                of_all(TenantPolicy { kib_ms_per_minute: Some(u64::MAX), ..normal }),
                "`tenants.*.kib_ms_per_minute`",
            ),
            (of_all(TenantPolicy { when_spent: WhenSpent::Refuse, ..normal }), "no quota to spend"),
        ] {
            let refusal = refusal(&policy);
            assert!(refusal.contains(says), "`{says}` is not in: {refusal}");
        }
    }

    #[test]
    fn bounds_at_their_ends_are_kept() {
        let tenant = TenantPolicy {
            weight: TenantPolicy::MAX_WEIGHT,
            in_flight: Some(1),
            rate: Some(Rate { interval_us: MAX_INTERVAL_US, burst: 71 }),
            pending: Some(0),
            payload_bytes: Some(TenantPolicy::MAX_PAYLOAD_BYTES),
            fuel_per_minute: Some(MinuteBucket::MAX_QUOTA),
            kib_ms_per_minute: Some(1),
            when_spent: WhenSpent::Refuse,
        };
        let policy = QueuePolicy {
            concurrency: Some(QueuePolicy::MAX_AT_ONCE),
            events: Some(QueuePolicy::MAX_EVENTS),
            keys: [("*".to_owned(), bounded(1)), ("smtp:*".to_owned(), bounded(2))].into(),
            ..of_all(tenant)
        };
        assert_eq!(policy.problems(), []);
        assert_eq!(QueuePolicy::default().check(), Ok(()));
    }

    #[test]
    fn all_problems_are_told() {
        let policy = QueuePolicy {
            concurrency: Some(0),
            events: Some(0),
            types: (0..=QueuePolicy::MAX_ENTRIES)
                .map(|n| (TaskType::new(&format!("t{n}")).unwrap(), bounded(1)))
                .collect(),
            ..QueuePolicy::default()
        };
        let paths: Vec<String> =
            policy.problems().into_iter().map(|problem| problem.path.join(".")).collect();
        assert_eq!(paths, ["types", "events", "concurrency"]);
    }
}
