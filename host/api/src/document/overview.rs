//! How everything stands: what a dashboard and a terminal draw, again and again.
//!
//! A [`Look`] reads depths, totals and hosts, in a number of calls that depends on how many
//! queues and hosts there are and never on how many tasks. An [`Overview`] is made of a look and
//! the one before, which is how it knows what happens a second.

use std::collections::BTreeMap;

use bulkhead_core::{QueueName, UnixMs};
use bulkhead_queue::{Broker, HostInfo, QueueError, QueueStats, TIMES_MS, TIMES_US};
use futures::future::{try_join, try_join_all};
use serde::Serialize;
use utoipa::ToSchema;

use crate::local::Percentiles;
use crate::unix_ms;

/// Queues that are asked for at once.
const AT_ONCE: usize = 16;

/// What one look at a broker found.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// When, in Unix milliseconds.
    pub at: UnixMs,
    /// The queues, by name.
    pub queues: Vec<(QueueName, QueueStats)>,
    /// Queues beyond [`Look::QUEUES`], which were not looked at.
    pub left_out: usize,
    /// The running hosts, by name.
    pub hosts: Vec<HostInfo>,
}

impl Look {
    /// Queues that one look reads.
    pub const QUEUES: usize = 1_000;

    /// Look at these queues, or at all if none is named: one call for the names if none is, one
    /// for each queue, one for the hosts. At Redis the one for a queue is two commands and one
    /// more for each further 1,000 tenants up to 20,000, the one for the hosts one and one more
    /// for each 100 hosts.
    pub async fn take(broker: &dyn Broker, named: &[QueueName]) -> Result<Self, QueueError> {
        let mut names = named.to_vec();
        if names.is_empty() {
            names = broker.queues().await?;
        }
        let left_out = names.len().saturating_sub(Self::QUEUES);
        names.truncate(Self::QUEUES);
        let (queues, mut hosts) = try_join(stats(broker, names), broker.hosts()).await?;
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { at: unix_ms(), queues, left_out, hosts })
    }
}

async fn stats(
    broker: &dyn Broker,
    names: Vec<QueueName>,
) -> Result<Vec<(QueueName, QueueStats)>, QueueError> {
    let mut queues = Vec::with_capacity(names.len());
    for some in names.chunks(AT_ONCE) {
        let found = try_join_all(some.iter().map(|name| broker.stats(name))).await?;
        queues.extend(some.iter().cloned().zip(found));
    }
    Ok(queues)
}

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Overview {
    /// When this was looked at, in Unix milliseconds.
    pub at: UnixMs,
    /// By name, at most 1,000.
    pub queues: Vec<QueueNow>,
    /// By name.
    pub hosts: Vec<HostNow>,
    /// How fast tasks of all queues went in the last minute, on all these hosts together. Each
    /// tells every 3 seconds of the minute before.
    pub latency: Latency,
}

/// How fast tasks went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Latency {
    /// From when a task could begin to when its first attempt did; nothing if none did.
    pub pick_up: Option<Percentiles>,
    /// How long attempts ran; nothing if none ended.
    pub run: Option<Percentiles>,
}

/// How a queue stands, and what it does a second.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct QueueNow {
    /// Its name.
    pub queue: String,
    /// Tasks in line.
    pub pending: u64,
    /// Tasks that wait for their time.
    pub scheduled: u64,
    /// Tasks that wait for others.
    pub blocked: u64,
    /// Tasks that run.
    pub running: u64,
    /// Dead letters.
    pub failed: u64,
    /// How long the oldest pending task has been in line, in milliseconds.
    pub oldest_pending_ms: Option<u64>,
    /// Whether claims are stopped.
    pub paused: bool,
    /// Totals since the queue was made.
    pub totals: BTreeMap<String, u64>,
    /// The same a second, since the look before; nothing at the first look.
    pub rates: BTreeMap<String, f64>,
}

/// How a host stands.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct HostNow {
    /// Its name.
    pub name: String,
    /// Attempts it runs.
    pub in_flight: u32,
    /// Attempts it may run at once.
    pub concurrency: u32,
    /// Bytes that its attempts hold, if its memory is bounded.
    pub held_bytes: Option<u64>,
    /// Bytes that they may hold.
    pub budget_bytes: Option<u64>,
    /// When it was heard of last.
    pub seen_at: UnixMs,
}

impl Overview {
    /// What a look says, with what happened since an earlier one.
    #[must_use]
    pub fn of(look: &Look, before: Option<&Self>) -> Self {
        let queues = look.queues.iter().map(|(queue, stats)| {
            let known = before.and_then(|before| {
                let elapsed_ms = look.at.saturating_sub(before.at).max(1);
                let known = before.queues.iter().find(|known| known.queue == queue.as_str())?;
                Some((&known.totals, elapsed_ms))
            });
            QueueNow::of(queue, stats, look.at, known)
        });
        Self {
            at: look.at,
            queues: queues.collect(),
            hosts: look.hosts.iter().map(HostNow::of).collect(),
            latency: Latency::of(&look.hosts),
        }
    }
}

impl Latency {
    /// Of what these hosts counted together.
    fn of(hosts: &[HostInfo]) -> Self {
        const US_PER_MS: f64 = 1e3;
        let mut pick_up = vec![0; TIMES_MS.len() + 1];
        let mut run = vec![0; TIMES_US.len() + 1];
        for host in hosts {
            add(&mut pick_up, &host.latency.pick_up);
            add(&mut run, &host.latency.run);
        }
        Self {
            pick_up: Percentiles::of(TIMES_MS, &pick_up, 1.0),
            run: Percentiles::of(TIMES_US, &run, US_PER_MS),
        }
    }
}

/// Add what a host counted. What was counted in other buckets, by a host of another version, is
/// left out.
fn add(sum: &mut [u64], more: &[u64]) {
    if sum.len() == more.len() {
        sum.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
    }
}

impl QueueNow {
    /// The totals by which attempts that came to nothing are counted.
    pub const FAILED: [&'static str; 4] = ["retried", "dead_lettered", "unreadable", "reclaimed"];

    fn of(
        queue: &QueueName,
        stats: &QueueStats,
        at: UnixMs,
        before: Option<(&BTreeMap<String, u64>, u64)>,
    ) -> Self {
        let rates = before.map_or_else(BTreeMap::new, |(totals, elapsed_ms)| {
            let rate = |(name, total): (&String, &u64)| {
                let since = total.saturating_sub(totals.get(name).copied().unwrap_or(0));
                (name.clone(), since as f64 * 1_000.0 / elapsed_ms as f64)
            };
            stats.totals.iter().map(rate).collect()
        });
        Self {
            queue: queue.to_string(),
            pending: stats.pending,
            scheduled: stats.scheduled,
            blocked: stats.blocked,
            running: stats.running,
            failed: stats.failed,
            oldest_pending_ms: stats.oldest_pending_at.map(|oldest| at.saturating_sub(oldest)),
            paused: stats.paused,
            totals: stats.totals.clone(),
            rates,
        }
    }

    /// The sum of some of its rates; 0 of what never happened.
    #[must_use]
    pub fn rate(&self, totals: &[&str]) -> f64 {
        totals.iter().filter_map(|total| self.rates.get(*total)).sum()
    }
}

impl HostNow {
    fn of(host: &HostInfo) -> Self {
        Self {
            name: host.name.clone(),
            in_flight: host.in_flight,
            concurrency: host.concurrency,
            held_bytes: host.memory.map(|memory| memory.held_bytes),
            budget_bytes: host.memory.map(|memory| memory.budget_bytes),
            seen_at: host.seen_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn look(at: UnixMs, completed: u64, retried: u64) -> Look {
        let totals = [("completed".to_owned(), completed), ("retried".to_owned(), retried)];
        let stats = QueueStats {
            oldest_pending_at: Some(500),
            totals: totals.into(),
            ..QueueStats::default()
        };
        Look { at, queues: vec![(QueueName::default(), stats)], left_out: 0, hosts: Vec::new() }
    }

    #[test]
    fn rates_are_what_was_counted_since_the_look_before() {
        let first = Overview::of(&look(1_000, 10, 0), None);
        assert_eq!(
            (first.queues[0].oldest_pending_ms, first.queues[0].rates.len()),
            (Some(500), 0)
        );
        let second = Overview::of(&look(3_000, 30, 1), Some(&first));
        let queue = &second.queues[0];
        assert_eq!((queue.rate(&["completed"]), queue.rate(&QueueNow::FAILED)), (10.0, 0.5));
        // A queue that was emptied and made anew counts from nothing.
        let anew = Overview::of(&look(4_000, 2, 0), Some(&second));
        assert_eq!(anew.queues[0].rate(&["completed"]), 0.0);
    }

    /// A host as it announces itself, with more of its document.
    fn host(name: &str, more: serde_json::Value) -> HostInfo {
        let mut document = json!({
            "name": name, "pid": 7, "started_at": 1, "seen_at": 2, "concurrency": 8,
            "in_flight": 0, "memory": null, "queues": ["default"], "plugins": [], "rescans": 0,
        });
        let more = more.as_object().unwrap().clone();
        document.as_object_mut().unwrap().extend(more);
        serde_json::from_value(document).unwrap()
    }

    fn counted(bounds: &[u64], counts: &[(u64, u64)]) -> Vec<u64> {
        let mut buckets = vec![0; bounds.len() + 1];
        for (bound, count) in counts {
            buckets[bounds.iter().position(|at| at == bound).unwrap()] = *count;
        }
        buckets
    }

    #[test]
    fn percentiles_are_of_all_hosts_together() {
        let told = |name, pick_up: &[(u64, u64)], run: &[(u64, u64)]| {
            let pick_up = counted(TIMES_MS, pick_up);
            let latency = json!({"pick_up": pick_up, "run": counted(TIMES_US, run)});
            host(name, json!({"latency": latency}))
        };
        // 98 of 100 were picked up within 2 ms, all of them by the one host.
        let fast = told("fast", &[(2, 98)], &[(1_000, 50)]);
        let slow = told("slow", &[(1_000, 2)], &[(1_000_000, 50)]);
        let both = [fast.clone(), slow.clone()];
        let Latency { pick_up: Some(pick_up), run: Some(run) } = Latency::of(&both) else {
            panic!("both counted something");
        };
        assert!(pick_up.p50_ms <= 2.0 && pick_up.p95_ms <= 2.0, "{pick_up:?}");
        assert!(pick_up.p99_ms > 500.0 && pick_up.p99_ms <= 1_000.0, "{pick_up:?}");
        assert!(run.p50_ms <= 1.0 && run.p95_ms > 500.0, "{run:?}");
        // In whatever order they are told, and beside hosts that tell nothing of use.
        let before = host("of the version before", json!({}));
        let other = json!({"latency": {"pick_up": [9, 9], "run": vec![9; 50]}});
        let hosts = [slow, before.clone(), host("of other buckets", other), fast];
        assert_eq!(Latency::of(&hosts), Latency::of(&both));
        assert_eq!(Latency::of(&[before]), Latency::default());
        let over = Overview::of(&Look { hosts: both.to_vec(), ..look(1_000, 0, 0) }, None);
        assert_eq!(over.latency, Latency::of(&both));
    }

    #[test]
    fn counts_that_make_no_sense_are_survived() {
        let most = json!({"latency": {"pick_up": vec![u64::MAX; TIMES_MS.len() + 1], "run": []}});
        let latency = Latency::of(&[host("a", most.clone()), host("b", most)]);
        assert!(latency.pick_up.is_some() && latency.run.is_none(), "{latency:?}");
    }
}
