//! What is wrong with a configuration: every problem at once, each with its place.

use std::fmt;

use super::Origin;
use super::broker_url::redact_within;

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong, at least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which key, dots between its parts; `None` if the source as a whole is unusable.
    pub key: Option<String>,
    /// Where it was set.
    pub origin: Origin,
    /// What is wrong and what to do.
    pub message: String,
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = redact_within(&self.message);
        match &self.key {
            Some(key) => write!(f, "`{}` ({}): {message}", key.escape_debug(), self.origin),
            None => write!(f, "{}: {message}", self.origin),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "the configuration cannot be used: {problem}"),
            problems => {
                write!(f, "the configuration cannot be used:")?;
                problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
