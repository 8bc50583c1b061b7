//! What an attempt came to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Payload;

/// What one attempt came to. A value, never an error: infrastructure failures
/// (Redis down, pool full) are not outcomes and never blamed on a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The handler returned this output.
    Done(Payload),
    /// The attempt failed.
    Failed(Failure),
}

/// Why an attempt failed, in words that the handler's author can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Failure {
    /// The class of the failure; policy looks at nothing else.
    pub kind: FailureKind,
    /// What happened, and the limit or value that mattered.
    pub message: String,
    /// The handler's own details; JSON text by convention.
    pub details: Option<String>,
    /// Wasm frames, innermost first, names demangled; bounded.
    pub backtrace: Vec<String>,
    /// The handler's own wish for the next attempt's delay, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure with only a message.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            details: None,
            backtrace: Vec::new(),
            retry_after_ms: None,
        }
    }
}

/// The classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The handler asked to be tried again.
    Retry,
    /// The handler refused the task for good.
    Reject,
    /// The guest trapped: a panic, `unreachable`, a bad memory access.
    Trapped,
    /// The fuel limit.
    OutOfFuel,
    /// The memory limit.
    OutOfMemory,
    /// The stack limit.
    StackOverflow,
    /// The result size limit.
    ResultTooLarge,
    /// The limit on bytes taken by one host call.
    HostcallTooLarge,
    /// The limit on resource handles.
    TooManyHandles,
    /// The limit on instances.
    TooManyInstances,
    /// The wall time limit.
    TimedOut,
    /// Somebody cancelled the task.
    Cancelled,
    /// The lease ended before the attempt did, on the last attempt: the host died or
    /// was cut off every time.
    LeaseLost,
    /// No handler serves the task's type.
    NoHandler,
    /// The stored record could not be decoded.
    Unreadable,
}

impl FailureKind {
    /// Every kind, in declaration order.
    pub const ALL: [Self; 15] = [
        Self::Retry,
        Self::Reject,
        Self::Trapped,
        Self::OutOfFuel,
        Self::OutOfMemory,
        Self::StackOverflow,
        Self::ResultTooLarge,
        Self::HostcallTooLarge,
        Self::TooManyHandles,
        Self::TooManyInstances,
        Self::TimedOut,
        Self::Cancelled,
        Self::LeaseLost,
        Self::NoHandler,
        Self::Unreadable,
    ];

    /// The kind's name in configuration, JSON and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Trapped => "trapped",
            Self::OutOfFuel => "out_of_fuel",
            Self::OutOfMemory => "out_of_memory",
            Self::StackOverflow => "stack_overflow",
            Self::ResultTooLarge => "result_too_large",
            Self::HostcallTooLarge => "hostcall_too_large",
            Self::TooManyHandles => "too_many_handles",
            Self::TooManyInstances => "too_many_instances",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::LeaseLost => "lease_lost",
            Self::NoHandler => "no_handler",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FailureKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("`{}` is no failure kind", text.escape_debug()))
    }
}
