//! Settlement: how a claim ends. Only the newest claim's token settles.

use bulkhead_core::{AttemptReport, State, Task, TaskId};
use bytes::Bytes;

use super::queue::{Queue, RETURN_US, Total};
use super::task::{Place, Ties};
use super::{FOREVER_MS, Now, encoding};
use crate::codec;
use crate::error::QueueError;
use crate::event::EventKind;
use crate::step::{ClaimToken, End, Settlement};
use crate::view::{Entry, Next};

/// What a settlement adds to a record, encoded.
#[derive(Debug)]
pub(crate) struct Written {
    entry: Option<Bytes>,
    record: Option<Bytes>,
    /// The records of the tasks that it submits.
    pub(super) children: Vec<Bytes>,
}

impl Written {
    /// Encode what a settlement adds.
    pub(crate) fn of(end: &End) -> Result<Self, QueueError> {
        let entry = |next, report: &AttemptReport| {
            codec::encode_entry(next, report).map(Bytes::from).map_err(encoding)
        };
        let (next, report) = match end {
            End::Complete { report, .. } => (Next::Completed, report),
            End::DeadLetter { report, .. } | End::Unreadable { report, .. } => {
                (Next::DeadLetter, report)
            }
            End::Cancel { report, .. } => (Next::Cancelled, report),
            End::Retry { report, .. } => (Next::Retry, report),
            End::Return { .. } => {
                return Ok(Self { entry: None, record: None, children: Vec::new() });
            }
        };
        let record = match end {
            End::Unreadable { task, .. } => Some(super::submit::encode(task)?),
            _ => None,
        };
        let children =
            end.children().iter().map(super::submit::encode).collect::<Result<_, _>>()?;
        Ok(Self { entry: Some(entry(next, report)?), record, children })
    }
}

impl Queue {
    /// Whether a token is that of the task's newest claim.
    pub(super) fn holds(&self, claim: &ClaimToken) -> Option<TaskId> {
        let (id, token, host) = claim.parts()?;
        match &self.tasks.get(&id)?.place {
            Place::Running { token: newest, host: holder, .. }
                if *newest == token && **holder == *host =>
            {
                Some(id)
            }
            _ => None,
        }
    }

    /// Settle one claim; `false` if it is stale.
    pub(super) fn settle(&mut self, settlement: &Settlement, written: Written, now: Now) -> bool {
        let Some(id) = self.holds(&settlement.token) else { return false };
        if let Some(entry) = written.entry {
            self.append_bytes(id, entry);
            if let Some(kept) = self.tasks.get_mut(&id) {
                kept.attempts = kept.attempts.saturating_add(1);
            }
        }
        self.progress.remove(&id);
        let cancel = self.tasks.get(&id).is_some_and(|kept| kept.cancel);
        match &settlement.end {
            End::Retry { retention_ms, .. } | End::Return { retention_ms, .. } if cancel => {
                self.append(id, &Entry::Cancelled { at: now.ms(), reason: None });
                self.count(Total::Cancelled, 1);
                self.end(id, State::Cancelled, *retention_ms, now);
            }
            End::Complete { retention_ms, .. } => {
                self.count(Total::Completed, 1);
                self.end(id, State::Completed, *retention_ms, now);
            }
            End::Cancel { retention_ms, .. } => {
                self.count(Total::Cancelled, 1);
                self.end(id, State::Cancelled, *retention_ms, now);
            }
            End::DeadLetter { retention_ms, .. } => {
                self.count(Total::DeadLettered, 1);
                self.end(id, State::Failed, *retention_ms, now);
            }
            End::Unreadable { task, retention_ms, .. } => {
                self.count(Total::Unreadable, 1);
                self.end(id, State::Failed, *retention_ms, now);
                self.replace_record(id, task, written.record, now);
            }
            End::Retry { delay_ms, .. } => {
                self.count(Total::Retried, 1);
                self.tell(EventKind::Retried, id, now);
                let due_ms = now.ms() + (*delay_ms).min(FOREVER_MS);
                self.shift(id, |kept| kept.place = Place::Scheduled { due_ms });
            }
            End::Return { .. } => {
                self.count(Total::Returned, 1);
                self.tell(EventKind::Returned, id, now);
                self.make_ready(id, RETURN_US, now);
            }
        }
        true
    }

    /// Put what is known of an unreadable task in place of its record.
    fn replace_record(&mut self, id: TaskId, task: &Task, record: Option<Bytes>, now: Now) {
        let Some(record) = record else { return };
        let mut entries = 0;
        self.shift(id, |kept| {
            entries = u32::try_from(kept.history.len()).unwrap_or(u32::MAX);
            kept.history.drain(..kept.history.len().saturating_sub(1));
            kept.record = record;
            kept.attempts = 1;
            kept.task_type = task.task_type.clone();
            kept.tenant = task.tenant.clone();
            kept.priority = task.priority.level();
            kept.ties = Ties::of(&task.terms, now.ms());
        });
        self.rewrite(id, entries);
    }
}
