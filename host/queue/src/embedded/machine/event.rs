//! Lifecycle events: the newest so many, if the queue's policy asks for any.

use std::collections::VecDeque;

use bulkhead_core::{QueueName, State, TaskId};

use super::queue::Queue;
use super::{Machine, Note, Now};
use crate::error::QueueError;
use crate::event::{Event, EventId, EventKind};

/// An event's place: milliseconds and a number within them.
type Place = (u64, u64);

/// A queue's events. Not kept over a restart.
#[derive(Debug, Default)]
pub(super) struct Events {
    log: VecDeque<(Place, Event)>,
    last: Place,
}

/// The event of an end.
pub(super) fn kind_of_end(state: State) -> Option<EventKind> {
    match state {
        State::Completed => Some(EventKind::Completed),
        State::Failed => Some(EventKind::Failed),
        State::Cancelled => Some(EventKind::Cancelled),
        State::Expired => Some(EventKind::Expired),
        State::Scheduled | State::Blocked | State::Pending | State::Running => None,
    }
}

pub(super) fn parse(id: &EventId) -> Result<Place, QueueError> {
    let place = || {
        let (ms, number) = id.0.split_once('-')?;
        Some((ms.parse().ok()?, number.parse().ok()?))
    };
    place().ok_or_else(|| {
        QueueError::Refused(format!("`{}` is no event's place", id.0.escape_debug()))
    })
}

impl Queue {
    /// Record an event, if the queue keeps any.
    pub(super) fn tell(&mut self, kind: EventKind, id: TaskId, now: Now) {
        let Some(most) = self.facts.policy.events.filter(|most| *most > 0) else { return };
        let Some(kept) = self.tasks.get(&id) else { return };
        let (ms, number) = self.events.last;
        let place = if now.ms() > ms { (now.ms(), 0) } else { (ms, number + 1) };
        self.events.last = place;
        let event = Event {
            id: EventId(format!("{}-{}", place.0, place.1)),
            at: now.ms(),
            kind,
            task: id,
            task_type: kept.task_type.to_string(),
            tenant: kept.tenant.to_string(),
        };
        self.events.log.push_back((place, event));
        while self.events.log.len() > most as usize {
            self.events.log.pop_front();
        }
        if !self.notes.iter().rev().take(8).any(|note| matches!(note, Note::Events(_))) {
            self.notes.push(Note::Events(self.name.clone()));
        }
    }

    /// Keep no more events than the policy says.
    pub(super) fn trim_events(&mut self) {
        let most = self.facts.policy.events.unwrap_or(0) as usize;
        while self.events.log.len() > most {
            self.events.log.pop_front();
        }
    }
}

impl Machine {
    /// Events after one of them, oldest first.
    pub fn events(
        &self,
        queue: &QueueName,
        after: Option<&EventId>,
        limit: usize,
    ) -> Result<Vec<Event>, QueueError> {
        let after = after.map(parse).transpose()?;
        let Some(at) = self.at(queue) else { return Ok(Vec::new()) };
        let log = &self.queues[at].events.log;
        let first = after.map_or(0, |after| log.partition_point(|(place, _)| *place <= after));
        Ok(log.iter().skip(first).take(limit).map(|(_, event)| event.clone()).collect())
    }
}
