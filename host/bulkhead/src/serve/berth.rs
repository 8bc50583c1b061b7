//! The place of one claim in this host: its permit, its record's room, the memory that its
//! attempt may come to, and its entry in the ledger.
//!
//! Whatever becomes of the work, the place is given up exactly once: with a settlement when
//! the work ended, without one when the host's own code panicked or was dropped. Then the
//! lease runs out, and the attempt counts as lost.

use std::sync::Arc;

use bulkhead_core::TaskId;
use bulkhead_queue::{Claim, ClaimToken, Settlement};
use bulkhead_sandbox::{Hold, SETTLING_COPIES};

use super::ledger::{Handle, Kept};
use super::line::Line;
use super::shelf::Shelved;
use crate::metrics::Tally;

/// An end of fewer bytes goes with its step as it is.
const LONG_END_BYTES: u64 = 64 << 10;

/// The place of one claim.
pub(super) struct Berth {
    line: Arc<Line>,
    id: TaskId,
    token: ClaimToken,
    pub(super) handle: Handle,
    _record: Shelved,
    pub(super) hold: Option<Hold>,
    tally: Tally,
    left: bool,
}

impl Berth {
    /// The place of a claim that has a permit and is in the ledger.
    pub(super) fn new(
        line: &Arc<Line>,
        (id, token): (TaskId, &ClaimToken),
        handle: Handle,
        record: Shelved,
    ) -> Self {
        let (line, token) = (line.clone(), token.clone());
        let (hold, tally) = (None, Tally::default());
        Self { line, id, token, handle, _record: record, hold, tally, left: false }
    }

    /// Note what is to be counted of the claim when it ends.
    pub(super) fn hold_tally(&mut self, claim: &Claim) {
        self.tally = Tally::of(claim);
    }

    /// [`Self::leave`], after what is long of the end was sent on its way.
    pub(super) async fn settle(self, settlement: Option<Settlement>) {
        if let Some(long) = settlement.as_ref().filter(|ended| ended.bytes() >= LONG_END_BYTES) {
            let ahead = self.line.shared.broker.send_ahead(&self.line.queue.name, long).await;
            if let Err(error) = ahead {
                tracing::debug!(queue = %self.line.queue.name, task = %self.id, %error,
                    "a long end goes with its step");
            }
        }
        self.leave(settlement);
    }

    /// Enter the claim's end in the ledger, and give the place up.
    pub(super) fn leave(mut self, settlement: Option<Settlement>) {
        self.left = true;
        self.line.words.forget(&self.token);
        let mut hold = self.hold.take();
        match (&mut hold, &settlement) {
            (Some(hold), Some(settlement)) => {
                hold.shrink_to(settlement.bytes().saturating_mul(SETTLING_COPIES));
            }
            _ => hold = None,
        }
        self.line.shared.permits.give_back(1);
        self.line.ledger.end(
            self.id,
            &self.token,
            settlement.map(|ended| (ended, Kept { hold, tally: self.tally })),
        );
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        tracing::error!(queue = %self.line.queue.name, task = %self.id,
            "the host's own code lost an attempt; its lease runs out");
        self.line.words.forget(&self.token);
        self.hold = None;
        self.line.shared.permits.give_back(1);
        self.line.ledger.end(self.id, &self.token, None);
    }
}
