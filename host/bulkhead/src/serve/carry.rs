//! Carrying ends to the queues that wait for them, beside the line's loop.
//!
//! What waits in the outbox was written with the edge itself and is not lost; carrying it
//! twice changes nothing. So this only has to look often enough, and never delays a step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bulkhead_core::QueueName;
use bulkhead_queue::Broker;
use tokio::sync::Notify;

use super::line::Line;

/// How often the outbox is looked at unasked: another host may have left something.
const LOOK: Duration = Duration::from_secs(5);
/// How long a stopping host carries what its last settlements caused.
const LAST_CARRY: Duration = Duration::from_secs(2);
/// Calls of one round, of at most 1,000 ends each.
const ROUND: u32 = 100;
/// Other queues that one look goes through.
const OTHERS: usize = 1_000;

/// What is known of ends that other queues wait for.
#[derive(Default)]
pub(super) struct Outbox {
    /// Rung when there are some.
    bell: Notify,
    /// Whether there were some when last heard of.
    waits: AtomicBool,
}

impl Outbox {
    /// There are some.
    pub(super) fn ring(&self) {
        self.waits.store(true, Ordering::Release);
        self.bell.notify_one();
    }
}

/// Carry until aborted.
pub(crate) async fn carry(line: Arc<Line>) {
    loop {
        // Asked or not, what is there is carried.
        let _ = tokio::time::timeout(LOOK, line.outbox.bell.notified()).await;
        empty(&line).await;
    }
}

/// Carry, until aborted, what lies in queues that this host does not serve: their own host may
/// have gone, and tasks of this one may wait for them.
pub(crate) async fn carry_others(broker: Arc<dyn Broker>, served: Vec<QueueName>) {
    loop {
        // Hosts that started together need not look together.
        tokio::time::sleep(LOOK.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        let queues = match broker.queues().await {
            Ok(queues) => queues,
            Err(error) => {
                tracing::debug!(%error, "cannot look for other queues' ends");
                continue;
            }
        };
        for queue in queues.iter().filter(|queue| !served.contains(queue)).take(OTHERS) {
            if let Err(error) = broker.deliver(queue).await {
                tracing::debug!(%queue, %error, "cannot carry this queue's ends");
            }
        }
    }
}

/// Carry what the last settlements left, if they left something.
pub(crate) async fn carry_last(line: &Line) {
    if line.outbox.waits.load(Ordering::Acquire) {
        let _ = tokio::time::timeout(LAST_CARRY, empty(line)).await;
    }
}

async fn empty(line: &Line) {
    line.outbox.waits.store(false, Ordering::Release);
    for _ in 0..ROUND {
        match line.shared.broker.deliver(&line.queue.name).await {
            Ok(0) => return,
            Ok(carried) => {
                tracing::trace!(queue = %line.queue.name, carried, "ends carried");
            }
            Err(error) => {
                line.outbox.waits.store(true, Ordering::Release);
                tracing::debug!(queue = %line.queue.name, %error,
                    "cannot carry ends to other queues; trying again later");
                return;
            }
        }
    }
    // More than a round: go on at once, without keeping the caller for ever.
    line.outbox.ring();
}
