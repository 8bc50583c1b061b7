//! Errors as problem documents (RFC 9457), and back.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bulkhead_queue::QueueError;
use serde::{Deserialize, Serialize};

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind, as `urn:bulkhead:problem:KIND`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, and what to do.
    pub detail: String,
}

const PREFIX: &str = "urn:bulkhead:problem:";
const REFUSED: &str = "refused";
const UNAVAILABLE: &str = "unavailable";
const PROTOCOL: &str = "protocol";

impl Problem {
    fn new(kind: &str, title: &str, status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{PREFIX}{kind}"),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    /// A request that this version does not understand.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(REFUSED, "The request is not understood", StatusCode::BAD_REQUEST, detail)
    }

    /// An operation that there is not.
    pub(crate) fn unknown(operation: &str) -> Self {
        let detail = format!(
            "there is no operation `{}`; are host and command of the same version?",
            operation.escape_debug()
        );
        Self::new(PROTOCOL, "There is no such operation", StatusCode::NOT_FOUND, detail)
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        let detail = match &error {
            QueueError::Refused(reason)
            | QueueError::Unavailable(reason)
            | QueueError::Protocol(reason) => reason.clone(),
            other => other.to_string(),
        };
        match error {
            QueueError::Refused(_) => {
                Self::new(REFUSED, "Refused", StatusCode::UNPROCESSABLE_ENTITY, detail)
            }
            QueueError::Protocol(_) => {
                Self::new(PROTOCOL, "Unexpected answer", StatusCode::BAD_GATEWAY, detail)
            }
            _ => Self::new(UNAVAILABLE, "Unavailable", StatusCode::SERVICE_UNAVAILABLE, detail),
        }
    }
}

impl From<Problem> for QueueError {
    fn from(problem: Problem) -> Self {
        match problem.kind.strip_prefix(PREFIX) {
            Some(REFUSED) => Self::Refused(problem.detail),
            Some(UNAVAILABLE) => Self::Unavailable(problem.detail),
            _ => Self::Protocol(problem.detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static("application/problem+json");
        (status, [(header::CONTENT_TYPE, kind)], Json(self)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_back_as_they_were() {
        for error in [
            QueueError::Refused("too large".into()),
            QueueError::Unavailable("away".into()),
            QueueError::Protocol("odd".into()),
        ] {
            let text = error.to_string();
            let back = QueueError::from(Problem::from(error));
            assert_eq!(back.to_string(), text);
        }
    }
}
