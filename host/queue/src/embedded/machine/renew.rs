//! Renewal and progress: what goes on.

use super::queue::Queue;
use super::task::Place;
use super::{FOREVER_MS, Now};
use crate::step::{Step, Stepped};

impl Queue {
    /// Extend leases, hear what attempts say of themselves, and tell of requests to cancel.
    pub(super) fn renew(&mut self, step: &Step<'_>, stepped: &mut Stepped, now: Now) {
        let lease_ms = u64::try_from(step.lease.as_millis()).unwrap_or(u64::MAX);
        let until = now.ms() + lease_ms.min(FOREVER_MS);
        for (at, token) in step.renew.iter().enumerate() {
            let Some(id) = self.holds(token) else {
                stepped.lost.push(at);
                continue;
            };
            let Some(kept) = self.tasks.get_mut(&id) else { continue };
            if let Place::Running { until_ms, .. } = &mut kept.place {
                // Only the time changes, so no other index does.
                self.index.leases.remove(&(*until_ms, id));
                *until_ms = until;
                self.index.leases.insert((until, id));
            }
            if kept.cancel {
                stepped.cancel.push(id);
            }
        }
        for (token, progress) in step.progress {
            if let Some(id) = self.holds(token) {
                self.progress.insert(id, progress.clone());
            }
        }
    }
}
