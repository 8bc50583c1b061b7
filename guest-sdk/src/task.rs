//! The task as its handler sees it, without its payload, which the handler owns.

use std::time::{Duration, SystemTime};

use crate::enqueue::{self, Child};
use crate::host;
use crate::options::Reader;
use crate::parents::Parents;

/// One attempt at one task.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    /// The task's id: a UUID in its hyphenated form.
    pub id: String,
    /// Which of the plugin's task types this is.
    pub task_type: String,
    /// Whose task it is.
    pub tenant: String,
    /// The queue it was claimed from.
    pub queue: String,
    /// This attempt's number, starting at 1.
    pub attempt: u32,
    /// How many attempts the task may use in all.
    pub max_attempts: u32,
    /// When this attempt will be interrupted, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// The producer's key-value pairs, in the producer's order.
    pub metadata: Vec<(String, String)>,
    /// The producer's trace, if it sent one.
    pub trace: Option<TraceContext>,
    /// Its place in a batch.
    pub(crate) place: Option<u32>,
}

/// W3C Trace Context of the producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The `traceparent` header value.
    pub traceparent: String,
    /// The `tracestate` header value, if there was one.
    pub tracestate: Option<String>,
}

impl Task {
    /// The first value that the producer gave for `key`.
    #[must_use]
    pub fn meta(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The metadata as options with types.
    #[must_use]
    pub fn options(&self) -> Reader<'_> {
        Reader::of(&self.metadata)
    }

    /// When this attempt will be interrupted. To learn how long that is from now ask
    /// [`context::remaining`](crate::context::remaining), which needs no clock.
    #[must_use]
    pub fn deadline(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.deadline_ms)
    }

    /// The tasks that this one waited for, in the order in which it named them; none if it
    /// waited for none. Each is a call to the host.
    ///
    /// ```
    /// use bulkhead_guest::prelude::*;
    ///
    /// /// Adds up what its parents counted.
    /// #[handler]
    /// fn total(_: Payload, task: &Task) -> Result<u64, Failure> {
    ///     task.parents().map(|parent| parent.output::<u64>()).sum()
    /// }
    /// ```
    #[must_use]
    pub fn parents(&self) -> Parents {
        Parents::of(self.place)
    }

    /// In a batch: from now on, log lines, progress and `context::cancelled` are those of
    /// this task. Without a task in focus, which is how a batch begins, lines and progress
    /// are those of all tasks. Outside a batch this does nothing.
    pub fn focus(&self) {
        if self.place.is_some() {
            host::focus(self.place);
        }
    }

    /// Submit a task when this one completes; its id. In a batch the child is this task's,
    /// whichever is in focus.
    pub fn submit(&self, child: Child) -> Result<String, enqueue::Error> {
        host::at(self.place, || enqueue::submit(child))
    }

    /// Whether no attempt follows this one.
    #[must_use]
    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.max_attempts
    }
}
