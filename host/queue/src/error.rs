//! What can go wrong between a caller and the queue, by what the caller can do.

use std::path::PathBuf;

use bulkhead_core::PolicyError;

/// A queue operation that did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The input was refused; asking again with the same input is pointless.
    #[error("{0}")]
    Refused(String),
    /// The broker cannot be reached or did not answer in time; asking again later may help.
    #[error("the broker is unavailable: {0}")]
    Unavailable(String),
    /// Another process has the embedded broker's folder open.
    #[error(
        "another process has `{}` open; commands reach it through its socket",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The broker answered with something this version does not understand.
    #[error("the broker gave an unexpected answer: {0}")]
    Protocol(String),
}

impl From<PolicyError> for QueueError {
    fn from(error: PolicyError) -> Self {
        Self::Refused(format!("the policy's {error}"))
    }
}

impl QueueError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
