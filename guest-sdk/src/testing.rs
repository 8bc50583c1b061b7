//! Run a handler natively, through decoding and encoding, as a host would.
//!
//! A handler stays an ordinary function, so calling it is the simplest test. What
//! this module adds is the rest of the way: the payload's content type, the schema's
//! counterpart in serde, the failure as the host would see it, the log lines and the
//! progress reports.
//!
//! ```
//! use bulkhead_guest::prelude::*;
//! use bulkhead_guest::testing::{self, Attempt};
//!
//! #[handler]
//! fn double(number: u32, task: &Task) -> Result<u32, Failure> {
//!     log::info!(attempt = task.attempt; "doubling");
//!     number.checked_mul(2).ok_or_else(|| Failure::permanent("too large"))
//! }
//!
//! let run = testing::run::<double>(Payload::json(&21).unwrap());
//! assert_eq!(run.json::<u32>(), Ok(42));
//! assert_eq!(run.logs[0].message, "doubling");
//!
//! let attempt = Attempt::new(Payload::json(&u32::MAX).unwrap()).attempt(2);
//! let run = testing::run::<double>(attempt);
//! assert!(!run.output.unwrap_err().is_retryable());
//! assert_eq!(run.logs[0].field("attempt"), Some("2"));
//! ```

use std::time::{Duration, Instant, SystemTime};

use serde::de::DeserializeOwned;

use crate::codec::{self, Format, Input};
use crate::enqueue::Child;
use crate::host::granted::Granted;
use crate::host::{self, stand_in};
use crate::{Failure, Handler, Parent, Payload, Task, TraceContext, logging};

pub use crate::host::granted::Kv;

/// How long an attempt may run if the test does not say.
const DEFAULT_TIME: Duration = Duration::from_secs(60);

/// One attempt to be run: a payload, and whatever of the task a test cares about.
#[derive(Debug, Clone)]
pub struct Attempt {
    task: Task,
    payload: Payload,
    remaining: Duration,
    cancelled: bool,
    parents: Vec<Parent>,
    granted: Granted,
}

impl Attempt {
    /// The first of three attempts, of the tenant and in the queue `default`, with a
    /// minute to run.
    #[must_use]
    pub fn new(payload: Payload) -> Self {
        let task = Task {
            id: "00000000-0000-7000-8000-000000000000".to_owned(),
            task_type: String::new(),
            tenant: "default".to_owned(),
            queue: "default".to_owned(),
            attempt: 1,
            max_attempts: 3,
            deadline_ms: 0,
            metadata: Vec::new(),
            trace: None,
            place: None,
        };
        let parents = Vec::new();
        let granted = Granted::default();
        Self { task, payload, remaining: DEFAULT_TIME, cancelled: false, parents, granted }
    }

    /// The task's id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.task.id = id.into();
        self
    }

    /// Whose task it is.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.task.tenant = tenant.into();
        self
    }

    /// The queue it was claimed from.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.task.queue = queue.into();
        self
    }

    /// The attempt's number.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.task.attempt = attempt;
        self
    }

    /// How many attempts the task may use.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.task.max_attempts = max_attempts;
        self
    }

    /// One more pair of metadata.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.task.metadata.push((key.into(), value.into()));
        self
    }

    /// The producer's `traceparent`.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.task.trace = Some(TraceContext { traceparent: traceparent.into(), tracestate: None });
        self
    }

    /// How long the attempt may run. Nothing interrupts it; the handler is told.
    #[must_use]
    pub fn remaining(mut self, remaining: Duration) -> Self {
        self.remaining = remaining;
        self
    }

    /// One more task that this one waited for.
    #[must_use]
    pub fn parent(mut self, parent: Parent) -> Self {
        self.parents.push(parent);
        self
    }

    /// The store behind [`kv`](crate::kv); without one it is empty. Give several attempts the
    /// same, to see what one leaves for the next.
    #[must_use]
    pub fn kv(mut self, store: &Kv) -> Self {
        self.granted.kv = store.clone();
        self
    }

    /// One more value of the [configuration](crate::config).
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.granted.config.insert(key.into(), value.into());
        self
    }

    /// One more [secret](crate::secrets) that the plugin may read.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.granted.secrets.insert(name.into(), value.into());
        self
    }

    /// Somebody asked to cancel the task.
    #[must_use]
    pub fn cancelled(mut self) -> Self {
        self.cancelled = true;
        self
    }
}

impl From<Payload> for Attempt {
    fn from(payload: Payload) -> Self {
        Self::new(payload)
    }
}

/// One log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: log::Level,
    /// What it says.
    pub message: String,
    /// Its key-values.
    pub fields: Vec<(String, String)>,
}

impl LogLine {
    /// The first value of the field `key`.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The output as the host would get it, or the failure.
    pub output: Result<Payload, Failure>,
    /// The log lines, in order, of every level.
    pub logs: Vec<LogLine>,
    /// The progress reports, in order.
    pub progress: Vec<(f32, String)>,
    /// The tasks that it submitted, in order; none unless it completed.
    pub children: Vec<Child>,
}

impl Run {
    /// The output read as structured data, by its content type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let payload = self.output.as_ref().map_err(Clone::clone)?;
        codec::read(Format::of(&payload.content_type), payload)
    }

    /// The output as text.
    pub fn text(&self) -> Result<String, Failure> {
        Input::<String>::new().decode(Format::Other, self.output.clone()?)
    }
}

/// Run one attempt of a handler. `H` is the handler's function name:
/// `run::<my_handler>(..)`.
///
/// A panic of the handler is a panic of the test.
pub fn run<H: Handler>(attempt: impl Into<Attempt>) -> Run {
    let attempt = attempt.into();
    let (remaining, granted) = (attempt.remaining, attempt.granted.clone());
    let (task, payload, seat) = attempt.begin::<H>(remaining, None);
    let running = Running::begin(remaining, vec![seat], false, granted);
    let output = H::handle(&task, payload);
    let seat = running.end().pop().unwrap_or_default();
    ended(output, seat)
}

/// Run a batch of a handler's tasks in one call, and see what each came to. The shortest
/// `remaining` holds for all, and what the first was granted.
///
/// As on a host, inputs that do not decode fail by themselves. A handler that returns a
/// wrong number of results panics; a host would run each task alone then.
pub fn run_batch<H: Handler>(attempts: impl IntoIterator<Item: Into<Attempt>>) -> Vec<Run> {
    let attempts: Vec<Attempt> = attempts.into_iter().map(Into::into).collect();
    let remaining = attempts.iter().map(|attempt| attempt.remaining).min().unwrap_or(DEFAULT_TIME);
    let granted = attempts.first().map(|first| first.granted.clone()).unwrap_or_default();
    let (mut items, mut seats) = (Vec::new(), Vec::new());
    for (attempt, place) in attempts.into_iter().zip(0..) {
        let (task, payload, seat) = attempt.begin::<H>(remaining, Some(place));
        items.push((task, payload));
        seats.push(seat);
    }
    let running = Running::begin(remaining, seats, true, granted);
    let outputs = H::handle_batch(items);
    outputs.into_iter().zip(running.end()).map(|(output, seat)| ended(output, seat)).collect()
}

impl Attempt {
    /// The task, its payload and what its host knows of it.
    fn begin<H: Handler>(
        self,
        remaining: Duration,
        place: Option<u32>,
    ) -> (Task, Payload, stand_in::Seat) {
        let task_type = H::TASK_TYPE.to_owned();
        let task = Task { task_type, deadline_ms: unix_ms_in(remaining), place, ..self.task };
        let Self { cancelled, parents, .. } = self;
        (task, self.payload, stand_in::Seat { cancelled, parents, ..Default::default() })
    }
}

fn ended(output: Result<Payload, Failure>, seat: stand_in::Seat) -> Run {
    let lines = seat.lines.into_iter();
    let logs = lines.map(|(level, message, fields)| LogLine { level, message, fields }).collect();
    let children = if output.is_ok() { seat.children } else { Vec::new() };
    Run { output, logs, progress: seat.progress, children }
}

/// The time that is `remaining` from now, in milliseconds since the Unix epoch.
fn unix_ms_in(remaining: Duration) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_add(remaining).as_millis()).unwrap_or(u64::MAX)
}

/// The attempt that was running before this one on this thread, and the task in its
/// focus. They are put back at the end, also when the handler panics.
struct Running {
    outer: Option<stand_in::Attempt>,
    focus: Option<u32>,
}

impl Running {
    fn begin(
        remaining: Duration,
        tasks: Vec<stand_in::Seat>,
        batch: bool,
        granted: Granted,
    ) -> Self {
        logging::install(None);
        let deadline = Instant::now().checked_add(remaining);
        let attempt = stand_in::Attempt { deadline, tasks, batch, focus: None, granted };
        Self { outer: stand_in::exchange(Some(attempt)), focus: host::exchange_focus(None) }
    }

    fn end(self) -> Vec<stand_in::Seat> {
        stand_in::exchange(None).map(|attempt| attempt.tasks).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        stand_in::exchange(self.outer.take());
        host::exchange_focus(self.focus);
    }
}
