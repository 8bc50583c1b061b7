//! Depths and counters of a queue.

use bulkhead_core::{MinuteBucket, Priority, QueueName, Rate, TenantName};

use super::limit::bucket;
use super::queue::{HEAD_START_US, Queue, Total};
use super::{Machine, Now};
use crate::held::QuotaUse;
use crate::view::{QueueStats, TenantDepth, TypeDepth};

/// Tasks of a line by which its priorities are told.
const SAMPLE: usize = 8;

/// Tenants that are shown.
const TENANTS_SHOWN: usize = 100;

impl Machine {
    /// Depths and counters of a queue.
    #[must_use]
    pub fn stats(&self, queue: &QueueName, now_us: u64) -> QueueStats {
        self.at(queue).map(|at| self.queues[at].stats(Now(now_us))).unwrap_or_default()
    }

    /// What of their bounds tenants have in use, one answer each.
    #[must_use]
    pub fn quota_use(
        &self,
        queue: &QueueName,
        tenants: &[TenantName],
        now_us: u64,
    ) -> Vec<QuotaUse> {
        let queue = self.at(queue).map(|at| &self.queues[at]);
        let of = |tenant| queue.map(|queue| queue.quota_use(tenant, Now(now_us)));
        tenants.iter().map(|tenant| of(tenant).unwrap_or_default()).collect()
    }
}

impl Queue {
    fn stats(&self, now: Now) -> QueueStats {
        let index = &self.index;
        let mut by_type: Vec<TypeDepth> = Vec::new();
        let paused =
            |task_type: &str| self.facts.types.get(task_type).is_some_and(|facts| facts.paused);
        for (task_type, kind) in &index.kinds {
            by_type.push(TypeDepth {
                task_type: task_type.to_string(),
                pending: kind.pending,
                paused: paused(task_type.as_str()),
            });
        }
        for (task_type, facts) in &self.facts.types {
            if facts.paused && !index.kinds.contains_key(task_type) {
                let task_type = task_type.to_string();
                by_type.push(TypeDepth { task_type, pending: 0, paused: true });
            }
        }
        by_type.sort_by(|a, b| a.task_type.cmp(&b.task_type));
        let mut by_tenant: Vec<TenantDepth> = index
            .tenants
            .iter()
            .filter(|(_, load)| load.open > 0)
            .map(|(tenant, load)| TenantDepth { tenant: tenant.to_string(), open: load.open })
            .collect();
        by_tenant.sort_by(|a, b| b.open.cmp(&a.open).then_with(|| a.tenant.cmp(&b.tenant)));
        by_tenant.truncate(TENANTS_SHOWN);
        let parked = index.parked.iter().take(TENANTS_SHOWN);
        let held_tenants = parked.filter_map(|(_, tenant)| self.held(tenant, now)).collect();
        let over = index.dead.iter().take_while(|(until_ms, _)| *until_ms < now.ms()).count();
        let totals = Total::ALL
            .iter()
            .map(|(total, name)| ((*name).to_owned(), self.facts.counters.totals[*total as usize]))
            .filter(|(_, count)| *count > 0)
            .collect();
        QueueStats {
            pending: index.kinds.values().map(|kind| kind.pending).sum(),
            held_back: index.held_back,
            scheduled: index.scheduled.len() as u64,
            blocked: index.blocked.len() as u64,
            running: index.leases.len() as u64,
            failed: (index.dead.len() - over) as u64,
            oldest_pending_at: self.oldest_head_ms(),
            by_type,
            by_priority: self.by_priority(),
            by_tenant,
            held_tenants,
            totals,
            paused: self.facts.paused,
            concurrency: self.facts.policy.concurrency,
        }
    }

    fn quota_use(&self, tenant: &TenantName, now: Now) -> QuotaUse {
        let policy = self.facts.policy.tenant(tenant);
        let load = self.index.tenants.get(tenant);
        let share = self.facts.shares.get(tenant);
        let starts = |rate: Rate| {
            let tokens_us = share.map_or(0, |share| share.tokens_us);
            rate.burst - rate.available(bucket(rate, tokens_us, now), now.us())
        };
        let used = |bucket: Option<MinuteBucket>, quota: u64| {
            bucket.unwrap_or_default().used(quota, now.us())
        };
        QuotaUse {
            pending: load.map_or(0, |load| load.open),
            in_flight: policy.in_flight.map(|_| load.map_or(0, |load| load.running.into())),
            starts: policy.rate.map(|rate| starts(rate).into()),
            fuel: policy.fuel_per_minute.map(|quota| used(share.map(|share| share.fuel), quota)),
            kib_ms: policy
                .kib_ms_per_minute
                .map(|quota| used(share.map(|share| share.memory), quota)),
        }
    }

    /// Tasks in line by priority class. A line is as its first tasks are, which are next.
    fn by_priority(&self) -> [u64; Priority::CLASSES] {
        let mut by_class = [0; Priority::CLASSES];
        for line in self.index.kinds.values().flat_map(|kind| kind.lines.values()) {
            let first = line.tasks.iter().take(SAMPLE).filter_map(|(_, id)| self.tasks.get(id));
            let mut of = [0_u64; Priority::CLASSES];
            let class = |level| Priority::try_from(level).unwrap_or_default().class();
            first.for_each(|task| of[class(task.priority)] += 1);
            let (known, n) = (of.iter().sum::<u64>().max(1), line.tasks.len() as u64);
            let shares = of.map(|of| n * of / known);
            let rest = n - shares.iter().sum::<u64>();
            // What cannot be shared out is of the highest class there is.
            let highest = of.iter().rposition(|of| *of > 0);
            for (class, share) in shares.into_iter().enumerate() {
                by_class[class] += share + if highest == Some(class) { rest } else { 0 };
            }
        }
        by_class
    }

    /// When the oldest of the heads of lines and lanes was put there.
    fn oldest_head_ms(&self) -> Option<u64> {
        let lines = self.index.kinds.values().flat_map(|kind| kind.lines.values());
        let lanes = self.index.lanes.values().map(|lane| &lane.waiting);
        let heads = lines.map(|line| &line.tasks).chain(lanes).filter_map(|tasks| {
            let (score, id) = tasks.first()?;
            let priority = i64::from(self.tasks.get(id)?.priority);
            u64::try_from((score + priority * HEAD_START_US) / 1_000).ok()
        });
        heads.min()
    }
}
