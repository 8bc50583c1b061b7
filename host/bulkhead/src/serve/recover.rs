//! Claims whose answer was lost on the way: the broker counts them as this host's, and
//! this host knows nothing of them.
//!
//! After a failed step the broker is asked what this host holds. What is unknown here is
//! run, or given back if there is no room, so that a lost answer costs no attempt. Leases
//! are held under a name that no other process has, not even another host of this name or
//! this host before it was restarted; what those held runs out.

use std::sync::Arc;
use std::time::Instant;

use bulkhead_queue::Claim;
use tokio::runtime::Handle as Runtime;

use super::line::Line;
use super::shelf::Shelved;
use super::{attempt, conclude};

/// That claims may have been lost.
pub(super) struct Doubt {
    /// How many at most.
    claims: usize,
    /// When to ask next. A step may still be on its way to the broker, so it is asked
    /// several times.
    ask_at: Instant,
    /// After this no such claim is alive.
    until: Instant,
    /// The room that was taken for their records.
    records: Option<Shelved>,
}

impl Line {
    /// A step that wanted this many claims got no answer.
    pub(super) fn doubt(&self, doubt: &mut Option<Doubt>, wanted: u32, records: Option<Shelved>) {
        if wanted == 0 {
            return;
        }
        let now = Instant::now();
        let (before, known) = doubt.take().map_or((0, None), |d| (d.claims, d.records));
        let records = match (known, records) {
            (Some(mut known), Some(more)) => {
                known.join(more);
                Some(known)
            }
            (known, more) => known.or(more),
        };
        *doubt = Some(Doubt {
            claims: before.saturating_add(wanted as usize),
            ask_at: now,
            until: now + self.shared.lease * 2,
            records,
        });
    }

    /// Ask for lost claims if it is time. They run on `guests`; without it they are given
    /// back.
    pub(super) async fn recover(
        self: &Arc<Self>,
        guests: Option<&Runtime>,
        doubt: &mut Option<Doubt>,
    ) {
        let Some(asking) = doubt.as_mut().filter(|doubt| Instant::now() >= doubt.ask_at) else {
            return;
        };
        let held = match self.shared.broker.held(&self.queue.name, &self.shared.holder).await {
            Ok(held) => held,
            Err(error) => {
                tracing::debug!(queue = %self.queue.name, %error, "cannot look for lost claims");
                if !error.is_unavailable() {
                    *doubt = None;
                }
                return;
            }
        };
        let now = Instant::now();
        asking.ask_at = now + self.shared.lease / 3;
        let lost = self.ledger.unknown(held, asking.claims);
        asking.claims -= lost.len();
        let bytes = lost.iter().map(|claim| claim.bytes).sum();
        let records = asking.records.as_mut().map(|records| records.part(bytes));
        if now >= asking.until || asking.claims == 0 {
            *doubt = None;
        }
        self.adopt(guests, lost, records);
    }

    fn adopt(
        self: &Arc<Self>,
        guests: Option<&Runtime>,
        mut claims: Vec<Claim>,
        records: Option<Shelved>,
    ) {
        if claims.is_empty() {
            return;
        }
        tracing::info!(queue = %self.queue.name, claims = claims.len(),
            "found claims whose answer was lost");
        let held = u32::try_from(self.ledger.glance().running).unwrap_or(u32::MAX);
        let wanted = u32::try_from(claims.len()).unwrap_or(u32::MAX);
        let room = guests
            .filter(|_| records.is_some())
            .map_or(0, |_| self.shared.permits.take(wanted, held));
        let refused = claims.split_off(room as usize);
        let refused = refused.into_iter().map(|claim| conclude::decline(self, claim)).collect();
        self.ledger.put_back(refused, Vec::new());
        if let (Some(guests), Some(records)) = (guests, records)
            && !claims.is_empty()
        {
            attempt::start(self, guests, claims, Vec::new(), records);
        }
    }
}
