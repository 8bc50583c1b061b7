//! A step: what one host has to say to one queue, and what it wants.

use std::time::Duration;

use bulkhead_core::QueueName;

use super::claim::RawClaim;
use super::reclaim::RECLAIM_MAX;
use super::settle::Written;
use super::{Machine, Now};
use crate::codec;
use crate::error::QueueError;
use crate::serves::Offers;
use crate::step::{Claim, ClaimToken, Step, Stepped};
use crate::view::parents_in;

impl Machine {
    /// Settle, renew, reclaim, promote and claim, in this order.
    pub fn step(
        &mut self,
        queue: &QueueName,
        step: &Step<'_>,
        now_us: u64,
    ) -> Result<Stepped, QueueError> {
        let written = write_settlements(step)?;
        let (mut stepped, claims) = self.step_encoded(queue, step, written, now_us);
        stepped.claims = decode_claims(queue, step.host, claims);
        Ok(stepped)
    }

    pub(crate) fn step_encoded(
        &mut self,
        queue: &QueueName,
        step: &Step<'_>,
        written: Vec<Written>,
        now_us: u64,
    ) -> (Stepped, Vec<RawClaim>) {
        let (mut stepped, now) = (Stepped::default(), Now(now_us));
        let offers = Offers::of(step.serves);
        if !offers.narrow.is_empty() && !self.narrow {
            self.narrow = true;
            self.queues.iter_mut().for_each(|queue| queue.narrow = true);
        }
        let Some(at) = self.enter(queue) else {
            stepped.stale = (0..step.settle.len()).collect();
            stepped.lost = (0..step.renew.len()).collect();
            return (stepped, Vec::new());
        };
        let queue = &mut self.queues[at];
        queue.sweep(now);
        queue.meter(step.settle, now);
        let mut born = Vec::new();
        for (place, (settlement, mut written)) in step.settle.iter().zip(written).enumerate() {
            let records = std::mem::take(&mut written.children);
            if queue.settle(settlement, written, now) {
                born.extend(settlement.end.children().iter().zip(records));
            } else {
                stepped.stale.push(place);
            }
        }
        let (_, went_to) = self.store_each(born, false, now);
        let queue = &mut self.queues[at];
        queue.renew(step, &mut stepped, now);
        if step.reclaim {
            stepped.reclaimed = queue.reclaim(now);
        }
        let mut again = stepped.reclaimed >= RECLAIM_MAX;
        again |= queue.promote(now);
        again |= queue.expire_due(now);
        queue.release_due(now);
        if step.want == 0 {
            queue.wake_freed(step.settle.len() + stepped.reclaimed as usize);
        }
        queue.keep_as_told(step.dead_retention_ms);
        // Lanes move on before the claim. What waits for what ended here is told after it, as
        // where ends are carried between queues: the next step can claim that.
        queue.stir(now);
        let claimed = queue.claim(step, &offers, now);
        self.calm(at, now);
        went_to.into_iter().filter(|other| *other != at).for_each(|other| self.calm(other, now));
        let queue = &self.queues[at];
        if again || claimed.again {
            stepped.next_due = Some(Duration::ZERO);
        } else if !claimed.full {
            stepped.next_due = queue.next_due_ms(&offers, now).map(Duration::from_millis);
        }
        stepped.outbox = !queue.index.unlinked.is_empty();
        (stepped, claimed.claims)
    }

    /// The live claims recorded for a host.
    #[must_use]
    pub fn held(&self, queue: &QueueName, host: &str) -> Vec<Claim> {
        decode_claims(queue, host, self.raw_held(queue, host))
    }
}

/// Encode what a step's settlements add to records.
pub(crate) fn write_settlements(step: &Step<'_>) -> Result<Vec<Written>, QueueError> {
    step.settle.iter().map(|settlement| Written::of(&settlement.end)).collect()
}

/// Decode claims.
pub(crate) fn decode_claims(queue: &QueueName, host: &str, claims: Vec<RawClaim>) -> Vec<Claim> {
    let claim = |raw: RawClaim| {
        let (task, parents) = match codec::decode(queue, raw.id, &raw.record) {
            Ok(record) => {
                let entries =
                    raw.history.iter().filter_map(|entry| codec::decode_entry(entry).ok());
                let parents = parents_in(entries.collect(), &record.task.terms.after);
                (Ok(Box::new(record.task)), parents)
            }
            Err(unreadable) => (Err(unreadable), Vec::new()),
        };
        Claim {
            token: ClaimToken::of(raw.id, raw.token, (&raw.tenant, &raw.task_type), host),
            id: raw.id,
            task,
            attempt: raw.attempt,
            parents,
            cancelled: raw.cancelled,
            bytes: raw.bytes,
        }
    };
    claims.into_iter().map(claim).collect()
}
