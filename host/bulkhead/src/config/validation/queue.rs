//! Queues: how they are served here, and the policy that is stored for all hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_core::{
    Bounds, MinuteBucket, QueueName, QueuePolicy, Rate, RetryPolicy, TaskType, TenantName,
    TenantPolicy, WhenSpent,
};

use super::{Check, DAY};
use crate::config::quantity::Span;
use crate::config::raw::{RawBounds, RawQueue, RawTenant};
use crate::layers::NamedLayer;
use crate::options::QueueOptions;

impl Check<'_> {
    pub(super) fn queues(
        &mut self,
        raw: &BTreeMap<String, RawQueue>,
        layers: &BTreeMap<String, NamedLayer>,
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
                layers: self.layers_of(key, &raw.layers, layers),
            };
            queues.insert(name, options);
        }
        queues
    }

    fn policy(&mut self, queue: &str, raw: &RawQueue) -> QueuePolicy {
        let at = ["queues", queue];
        let Bounds { concurrency, rate } = self.bounds(&at, raw.concurrency, &raw.rate);
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
        for problem in policy.problems() {
            let path = at.into_iter().chain(problem.path.iter().map(String::as_str));
            self.problem(&path.collect::<Vec<_>>(), problem.message);
        }
        policy
    }

    fn bounds(&mut self, at: &[&str], concurrency: Option<u32>, rate: &Option<String>) -> Bounds {
        Bounds { concurrency, rate: self.rate(at, rate) }
    }

    fn rate(&mut self, at: &[&str], rate: &Option<String>) -> Option<Rate> {
        rate.as_ref().and_then(|rate| self.parsed::<Rate>(&[at, &["rate"]].concat(), rate))
    }

    /// Keys, and prefixes of them that end in `*`.
    fn keys(&mut self, queue: &str, raw: &BTreeMap<String, RawBounds>) -> BTreeMap<String, Bounds> {
        let bounds = |(key, bounds): (&String, &RawBounds)| {
            let path = ["queues", queue, "keys", key];
            (key.clone(), self.bounds(&path, bounds.concurrency, &bounds.rate))
        };
        raw.iter().map(bounds).collect()
    }

    fn kib_ms(&mut self, at: &[&str], gib_seconds: Option<u64>) -> Option<u64> {
        let gib_seconds = gib_seconds?;
        let most = MinuteBucket::MAX_QUOTA / TenantPolicy::GIB_SECOND;
        if !(1..=most).contains(&gib_seconds) {
            let message = format!("{gib_seconds} is not from 1 to {most}");
            self.problem(&[at, &["gib_seconds_per_minute"]].concat(), message);
            return None;
        }
        Some(gib_seconds * TenantPolicy::GIB_SECOND)
    }

    fn when_spent(&mut self, at: &[&str], when: Option<&str>) -> WhenSpent {
        match when {
            None | Some("wait") => WhenSpent::Wait,
            Some("refuse") => WhenSpent::Refuse,
            Some(other) => {
                let message = format!("`{}` is neither `wait` nor `refuse`", other.escape_debug());
                self.problem(&[at, &["when_spent"]].concat(), message);
                WhenSpent::Wait
            }
        }
    }

    fn tenant(&mut self, at: &[&str], raw: &RawTenant) -> TenantPolicy {
        TenantPolicy {
            weight: raw.weight.unwrap_or(TenantPolicy::NORMAL_WEIGHT),
            in_flight: raw.in_flight,
            rate: self.rate(at, &raw.rate),
            pending: raw.pending,
            payload_bytes: raw.payload.map(|size| size.0),
            fuel_per_minute: raw.fuel_per_minute,
            kib_ms_per_minute: self.kib_ms(at, raw.gib_seconds_per_minute),
            when_spent: self.when_spent(at, raw.when_spent.as_deref()),
        }
    }
}
