//! The end of a task, whatever brought it about: it leaves its place, frees its unique key
//! and is told to those who wait.

use bulkhead_core::{BatchRef, Outcome, Payload, State, TaskId, TenantName};
use bytes::Bytes;

use super::event::kind_of_end;
use super::journal::Touch;
use super::queue::{Queue, Share, Total};
use super::task::Place;
use super::{FOREVER_MS, KEPT_MS, Note, Now};
use crate::view::Entry;

/// Dead letters are kept at least so long, so that they are seen.
const DEAD_AT_LEAST_MS: u64 = 1_000;

/// An end that dependants and batches are to be told of.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) id: TaskId,
    pub(super) state: State,
    pub(super) batch: Option<BatchRef>,
    /// The last entry of its record.
    last: Option<Bytes>,
}

impl Ending {
    /// The output of a completed task.
    pub(super) fn output(&self) -> Option<Payload> {
        match self.state {
            State::Completed => output_in(self.last.as_ref()?),
            _ => None,
        }
    }
}

/// The output that an entry records.
pub(super) fn output_in(entry: &[u8]) -> Option<Payload> {
    match rmp_serde::from_slice(entry).ok()? {
        Entry::Ended(_, report) => match report.outcome {
            Outcome::Done(output) => Some(output),
            Outcome::Failed(_) => None,
        },
        _ => None,
    }
}

impl Queue {
    /// End a task. Its record says why already; `retention_ms` is what the caller asks for,
    /// where the task does not.
    pub(super) fn end(&mut self, id: TaskId, state: State, retention_ms: u64, now: Now) {
        let Some(kept) = self.tasks.get(&id) else { return };
        let retention_ms = match state {
            State::Failed => retention_ms.max(DEAD_AT_LEAST_MS),
            _ => retention_ms,
        };
        let until_ms = now.ms() + retention_ms.min(FOREVER_MS);
        let tenant = kept.tenant.clone();
        self.ends.push(Ending {
            id,
            state,
            batch: kept.ties.as_ref().and_then(|ties| ties.batch.clone()),
            last: kept.history.last().cloned(),
        });
        if kept.watched {
            self.notes.push(Note::Done(self.name.clone(), id));
        }
        if let Some(kind) = kind_of_end(state) {
            self.tell(kind, id, now);
        }
        self.facts.counters.ended += 1;
        let number = self.facts.counters.ended;
        self.journal.counters();
        self.shift(id, |kept| {
            kept.place = Place::Ended { state, until_ms, number };
            kept.cancel = false;
            kept.watched = false;
            if let Some(ties) = &mut kept.ties {
                ties.waits.clear();
            }
        });
        self.progress.remove(&id);
        self.free_unique(id);
        self.forget_tenant(&tenant, now);
        if retention_ms == 0 {
            self.forget(id);
        }
    }

    /// How long a task is kept that ends without a host.
    pub(super) fn retention_of(&self, id: TaskId) -> u64 {
        let usual = self.facts.counters.kept_ms.unwrap_or(KEPT_MS);
        self.tasks.get(&id).and_then(|kept| kept.own_retention_ms()).unwrap_or(usual)
    }

    /// A task was not started in time.
    pub(super) fn expire(&mut self, id: TaskId, now: Now) {
        self.append(id, &Entry::Expired { at: now.ms() });
        self.count(Total::Expired, 1);
        let retention_ms = self.retention_of(id);
        self.end(id, State::Expired, retention_ms, now);
    }

    /// Remove a task that waits, without a trace but for those who wait for it.
    pub(super) fn discard(&mut self, id: TaskId, now: Now) {
        let Some(kept) = self.tasks.get(&id) else { return };
        if !kept.place.has_ended() {
            self.ends.push(Ending {
                id,
                state: State::Cancelled,
                batch: kept.ties.as_ref().and_then(|ties| ties.batch.clone()),
                last: None,
            });
        }
        if kept.watched {
            self.notes.push(Note::Done(self.name.clone(), id));
        }
        let tenant = kept.tenant.clone();
        self.forget(id);
        self.forget_tenant(&tenant, now);
    }

    /// Forget of a tenant what a tenant never heard of would have as well.
    fn forget_tenant(&mut self, tenant: &TenantName, now: Now) {
        let Some(load) = self.index.tenants.get(tenant).filter(|load| load.open == 0) else {
            return;
        };
        if let Some(until) = load.parked_until {
            self.index.parked.remove(&(until, tenant.clone()));
        }
        self.index.tenants.remove(tenant);
        let present = self.facts.counters.present;
        let idle = |share: &Share| share.virtual_time <= present && share.tokens_us <= now.us();
        if self.facts.shares.get(tenant).is_some_and(idle) {
            self.facts.shares.remove(tenant);
            self.journal.note(|| Touch::Share(tenant.clone()));
        }
    }
}
