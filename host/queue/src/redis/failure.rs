//! What the servers' errors mean: to the connection, and to a caller of the queue.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::url::Address;
use crate::error::QueueError;

/// What a connection does about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Recourse {
    /// Hand it to the caller.
    Report,
    /// The server does not know the script.
    Teach,
    /// Nothing was done here; the keys' primary is another server, maybe this one.
    Elsewhere(Option<(String, u16)>),
    /// The connection is of no more use; whether the command was done is unknown.
    Reconnect,
}

/// Pure: the error alone decides.
pub(super) fn recourse(error: &RedisError) -> Recourse {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoScript) => Recourse::Teach,
        ErrorKind::Server(ServerErrorKind::Moved) => {
            let node = error.redirect_node().and_then(|(node, _)| node.rsplit_once(':'));
            Recourse::Elsewhere(
                node.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?))),
            )
        }
        // A script's first write is refused on a demoted primary, so nothing was done. Redis
        // 6.2 wraps the refusal in a script error.
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Recourse::Elsewhere(None),
        ErrorKind::Server(ServerErrorKind::ResponseError) if says(error, "-READONLY") => {
            Recourse::Elsewhere(None)
        }
        ErrorKind::Extension if error.code() == Some("UNBLOCKED") => Recourse::Reconnect,
        ErrorKind::Io | ErrorKind::Parse => Recourse::Reconnect,
        _ => Recourse::Report,
    }
}

fn says(error: &RedisError, words: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(words))
}

/// Servers word it differently when it is a script that lacks the right.
fn lacks_right(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || says(error, "-NOPERM")
        || says(error, "The user executing the script can't")
}

/// An error that trying again does not cure.
pub(super) fn refused(reason: String) -> RedisError {
    (ErrorKind::InvalidClientConfig, "refused", reason).into()
}

/// A server that cannot be reached, or does not answer.
pub(super) fn unreachable(reason: String) -> RedisError {
    (ErrorKind::Io, "unreachable", reason).into()
}

/// The same error, saying which server it came from.
pub(super) fn at(address: &Address, error: RedisError) -> RedisError {
    match error.kind() {
        ErrorKind::Io => unreachable(format!("{address}: {}", reason(&error))),
        ErrorKind::InvalidClientConfig => refused(format!("{address}: {}", reason(&error))),
        _ => error,
    }
}

/// The part of an error that people need.
fn reason(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::Io | ErrorKind::InvalidClientConfig | ErrorKind::Client => {
            error.detail().map_or_else(|| error.to_string(), str::to_owned)
        }
        _ => error.to_string(),
    }
}

impl From<RedisError> for QueueError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::InvalidClientConfig => Self::Refused(reason(&error)),
            ErrorKind::AuthenticationFailed => {
                Self::Refused("Redis refused the user or the password".into())
            }
            ErrorKind::Server(_) if lacks_right(&error) => Self::Refused(format!(
                "the Redis user lacks a right (docs/redis-deployments.md lists them): {error}"
            )),
            ErrorKind::Extension if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => {
                Self::Refused(format!("Redis wants another user or password: {error}"))
            }
            ErrorKind::Server(ServerErrorKind::Ask) => Self::Unavailable(
                "the queue's slot is being moved to another node; the queue waits for it".into(),
            ),
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse => Self::Protocol(error.to_string()),
            _ => Self::Unavailable(reason(&error)),
        }
    }
}
