//! What a schedule that is due submits: which fires, as which tasks.

use uuid::Uuid;

use super::timing::NAMESPACE;
use super::{Missed, Schedule, TimingError};
use crate::{QueueName, Task, TaskId, Terms, UnixMs, check_name};

/// How late a fire may be and still count as in time, in milliseconds.
const IN_TIME_MS: u64 = 60_000;
/// Most missed fires that are made up for.
pub(super) const MAX_MADE_UP_FOR: u32 = 1_000;

/// What follows from a schedule's being due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The times to fire for, oldest first.
    pub fires: Vec<UnixMs>,
    /// The next fire after now; nothing if there is none.
    pub next: Option<UnixMs>,
}

impl Schedule {
    /// The origin of schedules that a host's configuration defines.
    pub const FROM_CONFIG: &'static str = "config";

    /// Say what is wrong with it, and where.
    pub fn check(&self) -> Result<(), TimingError> {
        check_name("schedule name", &self.name)?;
        if let Missed::All { at_most } = self.missed
            && !(1..=MAX_MADE_UP_FOR).contains(&at_most)
        {
            return Err(TimingError::Missed { at_most });
        }
        self.timing.check()
    }

    /// Its first fire if it is defined now.
    #[must_use]
    pub fn next_after(&self, after: UnixMs) -> Option<UnixMs> {
        self.timing.next_after(&self.name, after)
    }

    /// What to fire now if its next fire was to be at `next`. At most 1,000 fires, found
    /// backwards from now, so that the work does not grow with the time that was missed. Of
    /// an exclusive schedule at most one fires, since the others would overlap with it.
    pub fn due(&self, next: UnixMs, now: UnixMs) -> Result<Due, TimingError> {
        let timing = self.timing.fires(&self.name)?;
        if next > now {
            return Ok(Due { fires: Vec::new(), next: Some(next) });
        }
        // The oldest that may fire, and how many.
        let (oldest, count) = match self.missed {
            Missed::Skip => (next.max(now.saturating_sub(IN_TIME_MS - 1)), MAX_MADE_UP_FOR),
            Missed::Once => (next, 1),
            Missed::All { at_most } => (next, at_most.clamp(1, MAX_MADE_UP_FOR)),
        };
        let count = if self.exclusive { 1 } else { count as usize };
        let earlier = |at: &UnixMs| timing.latest_until(at.checked_sub(1)?);
        let mut fires: Vec<UnixMs> = std::iter::successors(timing.latest_until(now), earlier)
            .take_while(|at| *at >= oldest && *at > next)
            .take(count)
            .collect();
        if fires.len() < count && next >= oldest {
            fires.push(next);
        }
        fires.reverse();
        Ok(Due { fires, next: timing.next_after(now) })
    }

    /// The task of the fire for `at`, submitted `now`.
    #[must_use]
    pub fn task(&self, queue: &QueueName, at: UnixMs, now: UnixMs) -> Task {
        self.task_with_id(fire_id(queue, &self.name, at), queue, at, now)
    }

    /// The task of a fire by hand, which has an id of its own.
    #[must_use]
    pub fn task_with_id(&self, id: TaskId, queue: &QueueName, at: UnixMs, now: UnixMs) -> Task {
        let template = &self.task;
        let from_fire = |ms: Option<u64>| ms.map(|ms| at.saturating_add(ms));
        let mut metadata = template.metadata.clone();
        for (key, value) in [("schedule", self.name.clone()), ("schedule_at", at.to_string())] {
            if !metadata.iter().any(|(known, _)| known == key) {
                metadata.push((key.to_owned(), value));
            }
        }
        Task {
            id,
            task_type: template.task_type.clone(),
            queue: queue.clone(),
            tenant: template.tenant.clone(),
            priority: template.priority,
            payload: template.payload.clone(),
            metadata,
            trace: None,
            limits: template.limits,
            submitted_at: now,
            terms: Terms {
                not_before: None,
                after: Vec::new(),
                batch: None,
                schedule: Some(self.name.clone()),
                expires_at: from_fire(template.terms.expires_at),
                deadline_at: from_fire(template.terms.deadline_at),
                ..template.terms.clone()
            },
        }
    }
}

/// The id of a fire's task: UUID version 5 of queue, schedule and time, so a fire is one
/// task whoever computes it.
#[must_use]
pub fn fire_id(queue: &QueueName, schedule: &str, at: UnixMs) -> TaskId {
    TaskId(Uuid::new_v5(&NAMESPACE, format!("fire/{queue}/{schedule}/{at}").as_bytes()))
}
