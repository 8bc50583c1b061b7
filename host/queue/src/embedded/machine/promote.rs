//! What time alone brings about: tasks come due, expire, and limits let go.

use bulkhead_core::{TaskType, TenantName};

use super::Now;
use super::limit::bucket;
use super::queue::Queue;
use crate::serves::Offers;

/// Due tasks put in line in one step.
const PROMOTE_MAX: i64 = 200;
/// Expired tasks ended in one step.
const EXPIRE_MAX: usize = 200;

impl Queue {
    /// End what was not started in time; whether more is left.
    pub(super) fn expire_due(&mut self, now: Now) -> bool {
        for _ in 0..EXPIRE_MAX {
            match self.index.expiring.first() {
                Some((at, id)) if *at <= now.ms() => {
                    let id = *id;
                    self.expire(id, now);
                }
                _ => return false,
            }
        }
        true
    }

    /// Put in line what is due, in the order of its times; whether more is left.
    pub(super) fn promote(&mut self, now: Now) -> bool {
        for behind in 0..PROMOTE_MAX {
            match self.index.scheduled.first() {
                Some((due_ms, id)) if *due_ms <= now.ms() => {
                    let id = *id;
                    self.make_ready(id, -behind, now);
                }
                _ => return false,
            }
        }
        true
    }

    /// Let go what a rate held back.
    pub(super) fn release_due(&mut self, now: Now) {
        self.unpark_due(now);
        self.stir_due(now);
    }

    /// In how many milliseconds the queue has something to do by time alone.
    pub(super) fn next_due_ms(&self, offers: &Offers<'_>, now: Now) -> Option<u64> {
        let index = &self.index;
        let ms = |at: &u64| at.saturating_sub(now.ms());
        let us = |at: &u64| at.saturating_sub(now.us()).div_ceil(1_000);
        let times = [
            index.scheduled.first().map(|(at, _)| ms(at)),
            index.leases.first().map(|(at, _)| ms(at)),
            index.expiring.first().map(|(at, _)| ms(at)),
            index.lanes_due.first().map(|(at, _)| us(at)),
            index.parked.first().filter(|(at, _)| *at != u64::MAX).map(|(at, _)| us(at)),
        ];
        let types = offers.types.iter().filter_map(|of| self.tokens_due(of, None, now));
        let narrow = offers.narrow.iter().filter_map(|(task_type, tenants)| {
            tenants.iter().find_map(|only| self.tokens_due(task_type, Some(only), now))
        });
        times.into_iter().flatten().chain(types).chain(narrow).min()
    }

    /// In how many milliseconds a token comes back to a type that has work (of `only` this
    /// tenant) and none.
    fn tokens_due(&self, task_type: &TaskType, only: Option<&TenantName>, now: Now) -> Option<u64> {
        let kind = self.index.kinds.get(task_type)?;
        let facts = self.facts.types.get(task_type);
        if !kind.has_turn(only) || self.facts.paused || facts.is_some_and(|facts| facts.paused) {
            return None;
        }
        let policy = &self.facts.policy;
        let of_type = policy.types.get(task_type).and_then(|bounds| bounds.rate);
        let waits = [
            (policy.rate, self.facts.counters.tokens_us),
            (of_type, facts.map_or(0, |facts| facts.tokens_us)),
        ];
        waits
            .into_iter()
            .filter_map(|(rate, tokens_us)| {
                let rate = rate?;
                let tokens_us = bucket(rate, tokens_us, now);
                (rate.available(tokens_us, now.us()) == 0)
                    .then(|| rate.ready_at_us(tokens_us, 1).saturating_sub(now.us()))
            })
            .max()
            .map(|wait_us| wait_us.div_ceil(1_000))
    }
}
