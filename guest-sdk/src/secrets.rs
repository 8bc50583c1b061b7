//! Secrets that the operator gave this plugin. Needs the grant `secrets`, with their names.
//!
//! A value that was handed out is replaced by `[secret NAME]` in log lines, failures and
//! progress of the attempt; what it returns is not changed. Read a secret when you need it: it
//! may be another one for the next task.
//!
//! ```
//! use bulkhead_guest::prelude::*;
//! use bulkhead_guest::secrets;
//!
//! /// Signs, in a way.
//! #[handler]
//! fn sign(text: String) -> Result<usize, Failure> {
//!     let key = secrets::get("signing-key")?;
//!     Ok(text.len() * key.len())
//! }
//!
//! # use bulkhead_guest::testing::{self, Attempt};
//! let attempt = Attempt::new(Payload::text("abc")).secret("signing-key", "s3cret");
//! assert_eq!(testing::run::<sign>(attempt).json(), Ok(18));
//! ```

use std::fmt;

use crate::host;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The secret of this name was not granted, or the operator has none.
    Unknown(String),
    /// It cannot be read now.
    Unavailable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "there is no secret `{name}` for this plugin"),
            Self::Unavailable(why) => write!(f, "the secret is not available: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// A secret's value as it is now, or was at most 5 s ago.
pub fn get(name: &str) -> Result<String, Error> {
    host::secret(name)
}
