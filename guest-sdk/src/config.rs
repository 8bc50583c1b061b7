//! Values that the operator gave this plugin, in general or for the task's tenant. Needs the
//! grant `config`.
//!
//! ```
//! use bulkhead_guest::prelude::*;
//! use bulkhead_guest::config;
//!
//! /// Greets in the operator's words.
//! #[handler]
//! fn greet(name: String) -> Result<String, Failure> {
//!     let greeting = config::get("greeting").unwrap_or_else(|| "Hello".to_owned());
//!     let times: usize = config::parse("times")?.unwrap_or(1);
//!     Ok(format!("{greeting}, {name}! ").repeat(times).trim_end().to_owned())
//! }
//!
//! # use bulkhead_guest::testing::{self, Attempt};
//! let attempt = Attempt::new(Payload::text("you")).config("times", "2");
//! assert_eq!(testing::run::<greet>(attempt).text().unwrap(), "Hello, you! Hello, you!");
//! ```

use std::fmt::Display;
use std::str::FromStr;

use crate::{Failure, host};

/// The value of a key as it is now; none if the operator gave none, and while the plugin
/// describes itself.
#[must_use]
pub fn get(key: &str) -> Option<String> {
    host::config_get(key)
}

/// The value of a key, parsed. One that does not parse is a retryable failure, because the
/// operator may correct it.
pub fn parse<T: FromStr<Err: Display>>(key: &str) -> Result<Option<T>, Failure> {
    let Some(value) = get(key) else { return Ok(None) };
    value.parse().map(Some).map_err(|error| {
        Failure::retry(format!("the configuration's `{key}` is `{value}`: {error}"))
    })
}
