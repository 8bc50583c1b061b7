//! A handler that returns what the operator configured: the one capability that needs nothing
//! but a configuration.

use bulkhead_guest::config;
use bulkhead_guest::prelude::*;

plugin!(configured);

/// Returns the value of the key in the payload, or `none`.
#[handler]
fn configured(key: String) -> String {
    config::get(&key).unwrap_or_else(|| "none".to_owned())
}
