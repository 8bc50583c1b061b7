//! What an HTTP request from a handler may reach: rules over its method and URL, and the
//! classes of addresses that are nobody's business.
//!
//! Requests are hostile text. They are taken apart here strictly: whatever two parsers could
//! read in two ways (user names, numbers for hosts, `..` in any disguise) is refused and never
//! matched. Names are not resolved here, and nothing is sent.

mod address;
mod host;
mod path;
mod rule;

pub use address::{AddressClass, AddressRefused, Reach};
pub use host::{Host, HostError};
pub use path::{PathError, normalised_path};
pub use rule::{AllowList, Rule, RuleError, Scheme, Target, TargetError};

#[cfg(test)]
mod tests;
