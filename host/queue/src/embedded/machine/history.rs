//! A queue's history: two rings of samples.

use std::collections::BTreeMap;

use bulkhead_core::{QueueName, UnixMs};

use super::journal::Touch;
use super::{Machine, Now};
use crate::history::{Resolution, Sample};

/// Samples by their slots.
pub(super) type History = BTreeMap<(Resolution, u64), Sample>;

impl Machine {
    /// Make the queue's sample of this minute, and of this hour, if there is none; whether one
    /// was made.
    pub fn sample(&mut self, queue: &QueueName, now_us: u64) -> bool {
        let (at, now_ms) = (self.open(queue), Now(now_us).ms());
        let missing: Vec<Resolution> = [Resolution::Minute, Resolution::Hour]
            .into_iter()
            .filter(|resolution| {
                let held =
                    self.queues[at].facts.history.get(&(*resolution, resolution.slot(now_ms)));
                let step = |at: u64| at / resolution.step_ms();
                held.is_none_or(|held| step(held.at) != step(now_ms))
            })
            .collect();
        if missing.is_empty() {
            return false;
        }
        let stats = self.stats(queue, now_us);
        let sample = Sample {
            at: now_ms,
            pending: stats.pending,
            scheduled: stats.scheduled,
            blocked: stats.blocked,
            running: stats.running,
            failed: stats.failed,
            oldest_pending_ms: stats.oldest_pending_at.map(|at| now_ms.saturating_sub(at)),
            totals: stats.totals,
        };
        let queue = &mut self.queues[at];
        for resolution in missing {
            let slot = resolution.slot(now_ms);
            queue.facts.history.insert((resolution, slot), sample.clone());
            queue.journal.note(|| Touch::Sample(resolution, slot));
        }
        true
    }

    /// The queue's samples from one time to another, oldest first.
    #[must_use]
    pub fn history(
        &self,
        queue: &QueueName,
        from: UnixMs,
        to: UnixMs,
        resolution: Resolution,
    ) -> Vec<Sample> {
        let Some(at) = self.at(queue) else { return Vec::new() };
        let all = &self.queues[at].facts.history;
        let all = all.range((resolution, 0)..=(resolution, u64::MAX)).map(|(_, sample)| sample);
        let mut found: Vec<Sample> =
            all.filter(|sample| (from..=to).contains(&sample.at)).cloned().collect();
        found.sort_by_key(|sample| sample.at);
        found
    }
}
