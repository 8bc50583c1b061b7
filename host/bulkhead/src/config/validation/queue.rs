//! Queues: how they are served here, and the policy that is stored for all hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_core::{
    Bounds, QueueName, QueuePolicy, Rate, RetryPolicy, TaskType, TenantName, TenantPolicy, TermKey,
};

use super::{Check, DAY, MIB};
use crate::config::quantity::Span;
use crate::config::raw::{RawBounds, RawQueue, RawTenant};
use crate::options::QueueOptions;

/// Most tasks at once of anything.
const MAX_CONCURRENCY: u32 = 1_000_000;
/// Most events that a queue keeps.
const MAX_EVENTS: u32 = 1_000_000;

impl Check<'_> {
    pub(super) fn queues(
        &mut self,
        raw: &BTreeMap<String, RawQueue>,
    ) -> BTreeMap<QueueName, QueueOptions> {
        let mut queues = BTreeMap::new();
        for (key, raw) in raw {
            let Some(name) = self.parsed::<QueueName>(&["queues", key], key) else { continue };
            let kept = Duration::ZERO..=366 * DAY;
            let retention = self.span(&["queues", key, "retention"], raw.retention, kept.clone());
            let dead = self.span(&["queues", key, "dead_retention"], raw.dead_retention, kept);
            let retry = self.retry(&["queues", key, "retry"], &raw.retry);
            let policy = self.policy(key, raw);
            let options = QueueOptions {
                name: name.clone(),
                retry: RetryPolicy::default().with(&retry),
                retention_ms: Span(retention).as_ms(),
                dead_retention_ms: Span(dead).as_ms(),
                policy: raw.has_policy().then_some(policy),
            };
            queues.insert(name, options);
        }
        queues
    }

    fn policy(&mut self, queue: &str, raw: &RawQueue) -> QueuePolicy {
        let at = ["queues", queue];
        if let Some(events) = raw.events {
            self.within(&["queues", queue, "events"], events, 1..=MAX_EVENTS);
        }
        let Bounds { concurrency, rate } = self.bounds(&at, raw.concurrency, &raw.rate);
        for (name, entries) in
            [("types", raw.types.len()), ("keys", raw.keys.len()), ("tenants", raw.tenants.len())]
        {
            let most = QueuePolicy::MAX_ENTRIES;
            if entries > most {
                self.problem(
                    &["queues", queue, name],
                    format!("{entries} entries are over {most}"),
                );
            }
        }
        let mut policy = QueuePolicy {
            concurrency,
            rate,
            events: raw.events,
            keys: self.keys(queue, &raw.keys),
            ..QueuePolicy::default()
        };
        for (name, bounds) in &raw.types {
            let path = ["queues", queue, "types", name];
            let bounds = self.bounds(&path, bounds.concurrency, &bounds.rate);
            if let Some(task_type) = self.parsed::<TaskType>(&path, name) {
                policy.types.insert(task_type, bounds);
            }
        }
        for (name, tenant) in &raw.tenants {
            let path = ["queues", queue, "tenants", name];
            let tenant = self.tenant(&path, tenant);
            if name == "*" {
                policy.other_tenants = Some(tenant);
            } else if let Some(name) = self.parsed::<TenantName>(&path, name) {
                policy.tenants.insert(name, tenant);
            }
        }
        policy
    }

    fn bounds(&mut self, at: &[&str], concurrency: Option<u32>, rate: &Option<String>) -> Bounds {
        if let Some(limit) = concurrency {
            self.within(&[at, &["concurrency"]].concat(), limit, 1..=MAX_CONCURRENCY);
        }
        Bounds { concurrency, rate: self.rate(at, rate) }
    }

    fn rate(&mut self, at: &[&str], rate: &Option<String>) -> Option<Rate> {
        rate.as_ref().and_then(|rate| self.parsed::<Rate>(&[at, &["rate"]].concat(), rate))
    }

    /// Keys, and prefixes of them that end in `*`.
    fn keys(&mut self, queue: &str, raw: &BTreeMap<String, RawBounds>) -> BTreeMap<String, Bounds> {
        let mut keys = BTreeMap::new();
        for (key, bounds) in raw {
            let path = ["queues", queue, "keys", key];
            let bounds = self.bounds(&path, bounds.concurrency, &bounds.rate);
            // The prefix of all keys is empty, which a key is not.
            if key != "*" {
                self.parsed::<TermKey>(&path, key);
            }
            keys.insert(key.clone(), bounds);
        }
        let (prefixes, most) =
            (keys.keys().filter(|key| key.ends_with('*')).count(), QueuePolicy::MAX_KEY_PREFIXES);
        if prefixes > most {
            let message = format!("{prefixes} of the keys end in `*`; at most {most} may");
            self.problem(&["queues", queue, "keys"], message);
        }
        keys
    }

    fn tenant(&mut self, at: &[&str], raw: &RawTenant) -> TenantPolicy {
        let path = |key| [at, &[key]].concat();
        let weight = raw.weight.unwrap_or(TenantPolicy::NORMAL_WEIGHT);
        self.within(&path("weight"), weight, 1..=TenantPolicy::MAX_WEIGHT);
        if let Some(limit) = raw.in_flight {
            self.within(&path("in_flight"), limit, 1..=MAX_CONCURRENCY);
        }
        if let Some(pending) = raw.pending {
            self.within(&path("pending"), pending, 1..=1_000_000_000_000);
        }
        let payload_bytes =
            raw.payload.map(|size| self.size(&path("payload"), size, 1..=256 * MIB));
        TenantPolicy {
            weight,
            in_flight: raw.in_flight,
            rate: self.rate(at, &raw.rate),
            pending: raw.pending,
            payload_bytes,
        }
    }
}
