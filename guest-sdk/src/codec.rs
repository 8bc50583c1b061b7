//! From payload to a handler's input, and from what it returns to a payload.
//!
//! Which way a type goes is decided by method lookup at the place of the expansion:
//! an inherent method (raw types) hides a trait's method (every serde type), and a
//! receiver with more references is tried first. So raw and structured types need
//! no wrapper, and no trait implementations overlap. Types here carry no data.

use std::error::Error;
use std::io::Cursor;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::chain;
use crate::{Failure, Payload};

/// How structured data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// MessagePack.
    MessagePack,
    /// Something that only a raw input takes.
    Other,
}

impl Format {
    /// The format of a media type; its parameters are of no interest.
    #[must_use]
    pub fn of(content_type: &str) -> Self {
        let essence = match content_type.split_once(';') {
            Some((essence, _)) => essence.trim(),
            None => content_type.trim(),
        };
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        let suffix = |name: &str| {
            essence
                .len()
                .checked_sub(name.len())
                .is_some_and(|at| essence.as_bytes()[at..].eq_ignore_ascii_case(name.as_bytes()))
        };
        if is("application/json") || is("text/json") || suffix("+json") {
            Self::Json
        } else if is("application/msgpack")
            || is("application/x-msgpack")
            || is("application/vnd.msgpack")
            || suffix("+msgpack")
        {
            Self::MessagePack
        } else {
            Self::Other
        }
    }
}

/// How to make a `T` of a payload.
#[derive(Debug)]
pub struct Input<T>(PhantomData<T>);

impl<T> Input<T> {
    /// There is only one.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "only the macro makes one, and it says `new`")]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// A raw input has no schema and cannot fail to decode, text apart.
macro_rules! raw_input {
    ($type:ty, |$payload:ident| $decode:expr) => {
        impl Input<$type> {
            /// No schema: the bytes are the handler's own business.
            #[must_use]
            pub fn schema(&self) -> Option<String> {
                None
            }

            /// Take the bytes as they are.
            pub fn decode(&self, _: Format, $payload: Payload) -> Result<$type, Failure> {
                $decode
            }
        }
    };
}

raw_input!(Payload, |payload| Ok(payload));
raw_input!(Vec<u8>, |payload| Ok(payload.data));
raw_input!(String, |payload| String::from_utf8(payload.data)
    .map_err(|error| { Failure::permanent(format!("the payload is no text: {error}")) }));

/// Every type that serde can read and schemars can describe.
pub trait StructuredInput<T> {
    /// Its JSON Schema.
    fn schema(&self) -> Option<String>;

    /// Read it, or say where and why it cannot be read.
    fn decode(&self, format: Format, payload: Payload) -> Result<T, Failure>;
}

impl<T: DeserializeOwned + JsonSchema> StructuredInput<T> for Input<T> {
    fn schema(&self) -> Option<String> {
        serde_json::to_string(&schemars::schema_for!(T)).ok()
    }

    fn decode(&self, format: Format, payload: Payload) -> Result<T, Failure> {
        read(format, &payload)
    }
}

/// Read structured data, or say where and why it cannot be read.
pub(crate) fn read<T: DeserializeOwned>(format: Format, payload: &Payload) -> Result<T, Failure> {
    match format {
        Format::Json => serde_json::from_slice(&payload.data).map_err(|error| {
            Failure::permanent(format!("the payload is not the expected JSON: {error}"))
        }),
        Format::MessagePack => read_message_pack(&payload.data),
        Format::Other => Err(Failure::permanent(format!(
            "the payload has the content type `{}`; this handler takes application/json or \
             application/msgpack",
            payload.content_type.escape_debug()
        ))),
    }
}

/// MessagePack errors name no place, so the reader counts bytes.
fn read_message_pack<T: DeserializeOwned>(data: &[u8]) -> Result<T, Failure> {
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(data));
    let value = T::deserialize(&mut reader).map_err(|error| error.to_string());
    let at = reader.position();
    let fault = match value {
        Ok(value) if at == data.len() as u64 => return Ok(value),
        Ok(_) => "more bytes follow the value".to_owned(),
        Err(error) => error,
    };
    Err(Failure::permanent(format!(
        "the payload is not the expected MessagePack: {fault} at byte {at} of {}",
        data.len()
    )))
}

/// The type of a value that a handler returned.
#[derive(Debug)]
pub struct Returned<R>(PhantomData<R>);

/// Ask for the kind of a returned value, without touching it.
pub fn returned<R>(_: &R) -> Returned<R> {
    Returned(PhantomData)
}

/// A result whose error is or becomes a failure.
#[derive(Debug)]
pub struct FailureKind;

/// A result whose error becomes a boxed error, and so a retryable failure.
#[derive(Debug)]
pub struct ErrorKind;

/// An output that cannot fail.
#[derive(Debug)]
pub struct BareKind;

impl FailureKind {
    /// The output, or the failure.
    pub fn settle<T, E: Into<Failure>>(self, returned: Result<T, E>) -> Result<T, Failure> {
        returned.map_err(Into::into)
    }
}

impl ErrorKind {
    /// The output, or the error as a retryable failure.
    pub fn settle<T, E: Into<Box<dyn Error>>>(self, returned: Result<T, E>) -> Result<T, Failure> {
        returned.map_err(|error| Failure::retry(chain(&*error.into())))
    }
}

impl BareKind {
    /// The output.
    pub fn settle<T>(self, returned: T) -> Result<T, Failure> {
        Ok(returned)
    }
}

/// Tried first.
pub trait FailureReturn {
    /// The kind.
    fn kind(&self) -> FailureKind {
        FailureKind
    }
}

impl<T, E: Into<Failure>> FailureReturn for &&Returned<Result<T, E>> {}

/// Tried second.
pub trait ErrorReturn {
    /// The kind.
    fn kind(&self) -> ErrorKind {
        ErrorKind
    }
}

impl<T, E: Into<Box<dyn Error>>> ErrorReturn for &Returned<Result<T, E>> {}

impl<T, E> Returned<Result<T, E>> {
    /// Tried third: a result whose error is neither must not pass for an output, so
    /// it is given to `FailureKind`, which does not compile and says why.
    ///
    /// ```compile_fail,E0277
    /// use bulkhead_guest::prelude::*;
    ///
    /// #[derive(Serialize)]
    /// struct Odd;
    ///
    /// #[handler]
    /// fn odd(_: Payload) -> Result<u32, Odd> { Err(Odd) }
    /// ```
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        FailureKind
    }
}

/// Tried last.
pub trait BareReturn {
    /// The kind.
    fn kind(&self) -> BareKind {
        BareKind
    }
}

impl<R> BareReturn for Returned<R> {}

/// How to make a payload of a `T`.
#[derive(Debug)]
pub struct Output<T>(PhantomData<T>);

/// Ask how a value is encoded, without touching it.
pub fn output<T>(_: &T) -> Output<T> {
    Output(PhantomData)
}

/// A raw output says what it is.
macro_rules! raw_output {
    ($type:ty, |$value:ident| $encode:expr) => {
        impl Output<$type> {
            /// Give the bytes as they are.
            pub fn encode(&self, _: Format, $value: $type) -> Result<Payload, Failure> {
                Ok($encode)
            }
        }
    };
}

raw_output!(Payload, |value| value);
raw_output!(Vec<u8>, |value| Payload::bytes(value));
raw_output!(String, |value| Payload::text(value));
raw_output!(&'static str, |value| Payload::text(value));
raw_output!((), |_value| Payload::default());

/// Every type that serde can write.
pub trait StructuredOutput<T> {
    /// Write it in the format of the input, or in JSON if that had none.
    fn encode(&self, format: Format, value: T) -> Result<Payload, Failure>;
}

impl<T: Serialize> StructuredOutput<T> for Output<T> {
    fn encode(&self, format: Format, value: T) -> Result<Payload, Failure> {
        match format {
            Format::Json | Format::Other => Payload::json(&value),
            Format::MessagePack => Payload::message_pack(&value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_that_of_the_media_type() {
        for (content_type, expected) in [
            ("application/json", Format::Json),
            ("Application/JSON; charset=utf-8", Format::Json),
            ("text/json", Format::Json),
            ("application/problem+json", Format::Json),
            ("application/msgpack", Format::MessagePack),
            ("application/x-msgpack", Format::MessagePack),
            ("application/vnd.msgpack ; v=1", Format::MessagePack),
            ("application/vnd.acme+msgpack", Format::MessagePack),
            ("application/jsonl", Format::Other),
            ("text/plain", Format::Other),
            ("", Format::Other),
            ("ä+json", Format::Json),
            ("ääääää", Format::Other),
        ] {
            assert_eq!(Format::of(content_type), expected, "{content_type}");
        }
    }
}
