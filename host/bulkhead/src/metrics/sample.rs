//! What is not counted as it happens: read when the figures are asked for, or asked of the
//! broker from time to time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bulkhead_queue::{BrokerFigures, QueueStats, Spread};

use super::family::{Family, Histogram};
use super::table::Families;
use crate::clock::unix_ms;
use crate::serve::{Line, Shared};

/// What a host is read from. It does not keep a host alive that has stopped.
pub(crate) struct Sources {
    shared: Weak<Shared>,
    lines: Vec<Weak<Line>>,
    is_memory_bounded: bool,
}

impl Sources {
    pub(crate) fn of(shared: &Arc<Shared>, lines: &[Arc<Line>], is_memory_bounded: bool) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            lines: lines.iter().map(Arc::downgrade).collect(),
            is_memory_bounded,
        }
    }

    /// Read what can be read at once.
    pub(super) fn look(&self, families: &Families) {
        for line in self.lines.iter().filter_map(Weak::upgrade) {
            let glance = line.ledger.glance();
            line.figures.in_flight.set(glance.running as u64);
            line.figures.settlements_buffered.set(glance.ended as u64);
        }
        let Some(shared) = self.shared.upgrade() else { return };
        families.permits.alone().set(shared.permits.total().into());
        families.permits_used.alone().set(shared.permits.used().into());
        let pool = shared.sandbox.pool();
        families.pool_slots.alone().set(pool.slots);
        families.pool_slots_used.alone().set(pool.used);
        families.workers.alone().set(shared.sandbox.worker_pids().len() as u64);
        let budget = shared.budget.status();
        let total = if self.is_memory_bounded { budget.total_bytes } else { 0 };
        families.memory_budget.alone().set(total);
        families.memory_held.alone().set(budget.held_bytes);
        families.memory_waiting.alone().set(u64::from(budget.waiting));
        let (serving, rejected) = shared.registry.count();
        families.plugins.of(&["serving"]).set(serving);
        families.plugins.of(&["rejected"]).set(rejected);
        if let Some(figures) = shared.broker.figures() {
            broker(families, &figures);
        }
    }
}

fn broker(families: &Families, figures: &BrokerFigures) {
    let BrokerFigures { calls, scripts, failures, reconnects } = figures;
    follow(&families.redis_calls, calls);
    follow(&families.redis_scripts, scripts);
    families.redis_failures.alone().follow(*failures);
    families.redis_reconnects.alone().follow(*reconnects);
}

fn follow(family: &Family<Histogram>, spreads: &[(&'static str, Spread)]) {
    for (name, spread) in spreads {
        family.of(&[name]).follow(&spread.buckets, spread.sum_us);
    }
}

/// Ask the broker for the depths of the queues that are served, again and again.
pub(crate) async fn sample(shared: Arc<Shared>, lines: Vec<Arc<Line>>, every: Duration) {
    loop {
        for line in &lines {
            match shared.broker.stats(&line.queue.name).await {
                Ok(stats) => tell(&shared, &line.figures, &stats),
                Err(error) => {
                    line.figures.sampled(None);
                    tracing::debug!(queue = %line.queue.name, %error, "cannot sample the queue");
                }
            }
        }
        tokio::time::sleep(every).await;
    }
}

fn tell(shared: &Shared, figures: &super::QueueFigures, stats: &QueueStats) {
    let families = shared.metrics.families();
    let queue = figures.name.as_str();
    for (state, tasks) in [
        ("pending", stats.pending),
        ("held_back", stats.held_back),
        ("scheduled", stats.scheduled),
        ("blocked", stats.blocked),
        ("running", stats.running),
        ("failed", stats.failed),
    ] {
        families.queue_tasks.of(&[queue, state]).set(tasks);
    }
    let oldest_ms = stats.oldest_pending_at.map_or(0, |at| unix_ms().saturating_sub(at));
    families.queue_oldest.of(&[queue]).set(oldest_ms);
    families.queue_paused.of(&[queue]).set(stats.paused.into());
    figures.sampled(Some((stats.pending, oldest_ms)));
}
