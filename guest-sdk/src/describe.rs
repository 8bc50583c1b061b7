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
    /// Suggested retry policy.
    pub retry: Option<Retry>,
}

/// A retry policy that suits a task type. Operator and producer may override it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// How the wait grows.
    pub backoff: Backoff,
    /// The wait after the first failed attempt.
    pub initial_ms: u64,
    /// The longest wait.
    pub max_ms: u64,
}

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// The same wait each time.
    Fixed,
    /// The initial wait times the attempt number.
    Linear,
    /// The initial wait doubled with each attempt.
    Exponential,
}

impl Default for Retry {
    /// The host's own default: five attempts, doubling from 1 s up to 10 min.
    fn default() -> Self {
        Self { max_attempts: 5, backoff: Backoff::Exponential, initial_ms: 1_000, max_ms: 600_000 }
    }
}

impl Retry {
    /// The default policy with what is given replaced. The longest wait is never
    /// shorter than the initial one.
    #[doc(hidden)]
    #[must_use]
    pub fn suggest(
        max_attempts: Option<u32>,
        backoff: Option<Backoff>,
        initial_ms: Option<u64>,
        max_ms: Option<u64>,
    ) -> Self {
        let default = Self::default();
        let max = max_ms.unwrap_or(default.max_ms.max(initial_ms.unwrap_or(0)));
        Self {
            max_attempts: max_attempts.unwrap_or(default.max_attempts),
            backoff: backoff.unwrap_or(default.backoff),
            initial_ms: initial_ms.unwrap_or(default.initial_ms.min(max)),
            max_ms: max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_keeps_the_default_where_it_is_silent() {
        let default = Retry::default();
        assert_eq!(Retry::suggest(None, None, None, None), default);
        let fixed = Retry::suggest(Some(2), Some(Backoff::Fixed), None, None);
        assert_eq!(fixed, Retry { max_attempts: 2, backoff: Backoff::Fixed, ..default });
    }

    #[test]
    fn the_longest_wait_is_never_the_shorter_one() {
        let short = Retry::suggest(None, None, None, Some(10));
        assert_eq!((short.initial_ms, short.max_ms), (10, 10));
        let long = Retry::suggest(None, None, Some(3_600_000), None);
        assert_eq!((long.initial_ms, long.max_ms), (3_600_000, 3_600_000));
    }
}
