//! What the tasks produced that this one waited for.

use serde::de::DeserializeOwned;

use crate::codec::{self, Format};
use crate::{Failure, Payload, host};

/// How a parent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentState {
    /// With an output.
    Completed,
    /// Without one: it is a dead letter.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// It was not started in time.
    Expired,
    /// It was not there when it was asked for.
    Unknown,
}

/// A task that this one waited for.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent {
    /// Its queue.
    pub queue: String,
    /// Its id: a UUID in its hyphenated form.
    pub id: String,
    /// How it ended.
    pub state: ParentState,
    /// Its output, if it completed.
    pub payload: Option<Payload>,
}

impl Parent {
    /// A parent that completed with this output, in the queue `default`: for tests.
    #[must_use]
    pub fn completed(payload: Payload) -> Self {
        Self { payload: Some(payload), ..Self::ended(ParentState::Completed) }
    }

    /// A parent without an output, in the queue `default`: for tests.
    #[must_use]
    pub fn ended(state: ParentState) -> Self {
        let id = "00000000-0000-7000-8000-000000000001".to_owned();
        Self { queue: "default".to_owned(), id, state, payload: None }
    }

    /// Its output read as JSON or MessagePack, by its content type. Without an output,
    /// and with one that does not decode, the task fails for good: no later attempt would
    /// find another.
    pub fn output<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let Some(payload) = &self.payload else {
            return Err(Failure::permanent(format!(
                "the parent {}/{} has no output: it is {:?}",
                self.queue, self.id, self.state
            )));
        };
        codec::read(Format::of(&payload.content_type), payload)
    }
}

/// The parents of a task, one at a time, so that they need not fit into memory together.
#[derive(Debug, Clone)]
pub struct Parents {
    place: Option<u32>,
    next: u32,
    count: u32,
}

impl Parents {
    pub(crate) fn of(place: Option<u32>) -> Self {
        Self { place, next: 0, count: host::at(place, host::count_parents) }
    }
}

impl Iterator for Parents {
    type Item = Parent;

    fn next(&mut self) -> Option<Parent> {
        if self.next >= self.count {
            return None;
        }
        let index = self.next;
        self.next += 1;
        host::at(self.place, || host::parent(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.count - self.next) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Parents {}
