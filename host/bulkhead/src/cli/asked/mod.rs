//! Payloads from flags, files and standard input. Everything else that a producer may ask is
//! `bulkhead_api::asked`, which knows flags and JSON alike.

pub(crate) mod content;
mod payload;

pub(crate) use payload::{Content, named_or_looked_at, read};
