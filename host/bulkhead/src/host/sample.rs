//! The history of a host's queues: every minute each of them is asked to have its sample.
//!
//! All hosts of a queue ask, and the first in a minute makes it, so a queue has its history as
//! long as one of its hosts runs. What cannot be asked is not made up for.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::QueueName;
use bulkhead_queue::Broker;
use tokio::time::MissedTickBehavior;

/// How often a host asks.
pub(super) const EVERY: Duration = Duration::from_secs(60);

/// Ask again and again.
pub(super) async fn sample(broker: Arc<dyn Broker>, queues: Vec<QueueName>, every: Duration) {
    let mut minutes = tokio::time::interval(every);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        minutes.tick().await;
        for queue in &queues {
            if let Err(error) = broker.archive().sample(queue).await {
                tracing::debug!(%queue, %error, "no sample of the queue could be made");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use bulkhead_queue::{Clock, EmbeddedBroker, Resolution};

    use super::*;

    #[tokio::test]
    async fn every_queue_is_sampled_every_minute() {
        let now_us = Arc::new(AtomicU64::new(60_000_000));
        let read = now_us.clone();
        let clock = Clock::read_by(move || read.load(Ordering::Relaxed));
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory_at(clock));
        let queues = ["a", "b"].map(|name| QueueName::new(name).unwrap());
        let every = Duration::from_millis(5);
        let sampling = tokio::spawn(sample(broker.clone(), queues.to_vec(), every));
        let sampled = async |queue: &QueueName| {
            let history = broker.archive().history(queue, 0, u64::MAX, Resolution::Minute).await;
            history.unwrap().iter().map(|sample| sample.at).collect::<Vec<u64>>()
        };
        let mut expected = Vec::new();
        for at_ms in [60_000, 120_000, 180_000] {
            now_us.store(at_ms * 1_000, Ordering::Relaxed);
            expected.push(at_ms);
            for queue in &queues {
                let all_there = async {
                    while sampled(queue).await != expected {
                        tokio::time::sleep(every).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(20), all_there).await.unwrap();
            }
        }
        sampling.abort();
    }
}
