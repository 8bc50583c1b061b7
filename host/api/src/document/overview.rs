//! How everything stands: what a dashboard and a terminal draw, again and again.
//!
//! A [`Look`] reads depths, totals and hosts, in a number of calls that depends on how many
//! queues and hosts there are and never on how many tasks. An [`Overview`] is made of a look and
//! the one before, which is how it knows what happens a second.

use std::collections::BTreeMap;

use bulkhead_core::{QueueName, UnixMs};
use bulkhead_queue::{Broker, HostInfo, QueueError, QueueStats};
use futures::future::{try_join, try_join_all};
use serde::Serialize;
use utoipa::ToSchema;

use crate::local::Latency;
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
    /// How fast tasks went in the last minute, as the host that is asked counted them; nothing
    /// where no host answers.
    pub latency: Option<Latency>,
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
        let hosts = look.hosts.iter().map(HostNow::of).collect();
        Self { at: look.at, queues: queues.collect(), hosts, latency: None }
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
}
