//! Settings of long test runs, given by the environment.

use std::str::FromStr;

/// The setting of this name, if it is given.
///
/// # Panics
/// If it cannot be read, so that a mistyped setting is not passed over.
#[must_use]
pub fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let value = text.parse().ok();
    Some(value.unwrap_or_else(|| panic!("`{name}` cannot be `{text}`")))
}
