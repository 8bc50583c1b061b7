//! Bytes and what they mean.

use std::fmt;

use serde::Serialize;

use crate::Failure;

/// Media type of JSON.
pub(crate) const JSON: &str = "application/json";
/// Media type of MessagePack.
pub(crate) const MESSAGE_PACK: &str = "application/msgpack";
/// Media type of bytes that say nothing about themselves.
pub(crate) const BYTES: &str = "application/octet-stream";
/// Media type of text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Bytes and what they mean: the input or the output of a task, as it travels.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// Media type of `data`, for example `application/json`.
    pub content_type: String,
    /// The bytes themselves.
    pub data: Vec<u8>,
}

impl Payload {
    /// Bytes of any media type.
    pub fn new(content_type: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        Self { content_type: content_type.into(), data: data.into() }
    }

    /// `application/octet-stream`.
    pub fn bytes(data: impl Into<Vec<u8>>) -> Self {
        Self::new(BYTES, data)
    }

    /// `text/plain` in UTF-8.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(TEXT, text.into())
    }

    /// `application/json`. Fails, permanently, for a value that JSON cannot hold,
    /// such as a map with keys that are no strings.
    pub fn json(value: &impl Serialize) -> Result<Self, Failure> {
        match serde_json::to_vec(value) {
            Ok(data) => Ok(Self::new(JSON, data)),
            Err(error) => Err(unencodable(JSON, &error)),
        }
    }

    /// `application/msgpack`, structs as maps. Fails, permanently, for a value that
    /// refuses to be serialised.
    pub fn message_pack(value: &impl Serialize) -> Result<Self, Failure> {
        match rmp_serde::to_vec_named(value) {
            Ok(data) => Ok(Self::new(MESSAGE_PACK, data)),
            Err(error) => Err(unencodable(MESSAGE_PACK, &error)),
        }
    }
}

fn unencodable(content_type: &str, error: &dyn fmt::Display) -> Failure {
    Failure::permanent(format!("the value cannot be encoded as {content_type}: {error}"))
}

impl Default for Payload {
    /// No bytes.
    fn default() -> Self {
        Self::bytes(Vec::new())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.data) {
            Ok(text) if text.len() <= 1_000 => {
                write!(f, "Payload({}, {text:?})", self.content_type)
            }
            _ => write!(f, "Payload({}, {} bytes)", self.content_type, self.data.len()),
        }
    }
}
