//! What reads a plugin's file, and what a compile worker and its host say to one another.

use super::compile;
use super::compile::frame::{self, Answer, Request};
use crate::Rejection;

/// Whose header it is.
#[derive(Debug, Clone, Copy)]
pub enum Header {
    /// A host's.
    Request,
    /// A worker's.
    Answer,
}

/// Check a file as a compile worker does before it compiles; what it imports.
pub fn check_plugin(bytes: &[u8], max_bytes: usize) -> Result<Vec<String>, Rejection> {
    compile::check(bytes, max_bytes).map(|checked| checked.facts.imports)
}

/// Check the name of a plugin.
pub fn check_plugin_name(name: &str) -> Result<(), Rejection> {
    super::check_name(name)
}

/// Read a header; whether it made sense.
pub fn worker_header(of: Header, mut bytes: &[u8]) -> bool {
    match of {
        Header::Request => frame::read::<Request>(&mut bytes).is_ok(),
        Header::Answer => frame::read::<Answer>(&mut bytes).is_ok(),
    }
}
