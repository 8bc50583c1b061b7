//! Tasks that a task submits. They are submitted if and only if the attempt completes, at one
//! moment with it. Needs the grant `enqueue`, with the types that may be submitted.
//!
//! ```
//! use bulkhead_guest::prelude::*;
//! use bulkhead_guest::enqueue::Child;
//!
//! /// Has each line counted by itself.
//! #[handler]
//! fn split(text: String, task: &Task) -> Result<usize, Failure> {
//!     for line in text.lines() {
//!         task.submit(Child::new("count", Payload::text(line)))?;
//!     }
//!     Ok(text.lines().count())
//! }
//!
//! # use bulkhead_guest::testing;
//! let run = testing::run::<split>(Payload::text("one\ntwo"));
//! assert_eq!(run.children.len(), 2);
//! assert_eq!(run.children[1].payload.data, b"two");
//! ```

use std::fmt;
use std::time::Duration;

use crate::{Payload, host};

/// A task to be submitted, of the tenant of the one that submits it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Child {
    /// Its type, one of those that the grant names.
    pub task_type: String,
    /// Its queue; none is the submitting task's own.
    pub queue: Option<String>,
    /// The input.
    pub payload: Payload,
    /// Key-value pairs for its handler.
    pub metadata: Vec<(String, String)>,
    /// How urgent it is, 0 to 100; none is the submitting task's own.
    pub priority: Option<u8>,
    /// How long it is not to be started.
    pub delay: Option<Duration>,
    /// The key under which the queue may bound rate and concurrency.
    pub key: Option<String>,
}

impl Child {
    /// A task in the submitting task's queue, as urgent as that one, without a delay.
    pub fn new(task_type: impl Into<String>, payload: Payload) -> Self {
        Self {
            task_type: task_type.into(),
            queue: None,
            payload,
            metadata: Vec::new(),
            priority: None,
            delay: None,
            key: None,
        }
    }

    /// In this queue.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// One more pair of metadata.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// How urgent it is, 0 to 100.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Not to be started earlier than this after it was submitted; at most 366 days.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// The key under which the queue may bound rate and concurrency.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// Why a child is not taken. Those before it are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The grant does not name its type or queue.
    NotAllowed(String),
    /// A quota of the grant is used up.
    Quota(String),
    /// A name, number or key of it makes no sense.
    Invalid(String),
    /// No task of the batch is in focus.
    NoFocus,
    /// The host cannot submit tasks for handlers.
    Unavailable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed(why) | Self::Quota(why) | Self::Invalid(why) => {
                write!(f, "the task cannot be submitted: {why}")
            }
            Self::NoFocus => f.write_str(
                "the task cannot be submitted: no task of the batch is in focus; use `task.submit`",
            ),
            Self::Unavailable(why) => write!(f, "tasks cannot be submitted: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Submit a task when this attempt completes, in a batch when the task in focus does; its id.
pub fn submit(child: Child) -> Result<String, Error> {
    host::submit(child)
}
