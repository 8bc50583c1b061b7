//! What a plugin says about its handlers before any task is given to them.

/// One handler, as the host and its operator see it. Made by
/// [`handler`](macro@crate::handler).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The task type that the handler is for.
    pub task_type: &'static str,
    /// What it does, for people.
    pub description: &'static str,
    /// JSON Schema of the input, as JSON text, if the input is structured.
    pub input_schema: Option<String>,
    /// Suggested limit: instructions, in wasmtime's fuel units.
    pub fuel: Option<u64>,
    /// Suggested limit: bytes of all memories and tables together.
    pub memory_bytes: Option<u64>,
    /// Suggested limit: wall time of one attempt.
    pub timeout_ms: Option<u64>,
    /// What it suggests for its retries.
    pub retry: Option<Retry>,
    /// Up to how many tasks it takes at a time, if it takes batches.
    pub max_batch: Option<u32>,
}

/// What suits a task type's retries; what is absent follows the queue's policy. Operator
/// and producer may override each part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub max_attempts: Option<u32>,
    /// The waits between attempts.
    pub backoff: Option<Backoff>,
    /// No retry starts later than this after the task was submitted.
    pub max_age_ms: Option<u64>,
}

/// How the wait between attempts grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backoff {
    /// The same wait each time.
    Fixed {
        /// The wait.
        delay_ms: u64,
    },
    /// The initial wait times the attempt number.
    Linear {
        /// The wait after the first failed attempt, and what each further one adds.
        initial_ms: u64,
        /// The longest wait.
        max_ms: u64,
    },
    /// The initial wait doubled with each attempt.
    Exponential {
        /// The wait after the first failed attempt.
        initial_ms: u64,
        /// The longest wait.
        max_ms: u64,
    },
    /// One wait for each attempt; the last repeats.
    Delays {
        /// The waits.
        delays_ms: Vec<u64>,
    },
}
