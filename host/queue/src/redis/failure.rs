//! What the client library's errors mean to a caller of the queue.

use redis::{ErrorKind, RedisError};

use crate::error::QueueError;

impl From<RedisError> for QueueError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::InvalidClientConfig | ErrorKind::AuthenticationFailed => {
                Self::Refused(format!("Redis refused the connection: {error}"))
            }
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse => Self::Protocol(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
