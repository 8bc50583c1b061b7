//! Errors as problem documents (RFC 9457), and back.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bulkhead_queue::QueueError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The kind, as `urn:bulkhead:problem:KIND`.
    #[serde(rename = "type")]
    #[schema(example = "urn:bulkhead:problem:not-found")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, and what to do.
    pub detail: String,
    /// In how many seconds the same may succeed, if that is known; `Retry-After` says it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub retry_after: Option<u64>,
    /// The gate that a plugin failed, if that is what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub gate: Option<String>,
    /// Why it failed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// The media type of problem documents.
const PROBLEM_JSON: &str = "application/problem+json";
const PREFIX: &str = "urn:bulkhead:problem:";

/// The kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request is not understood.
    Malformed,
    /// Nobody known asks.
    Unauthorized,
    /// Who asks may not.
    Forbidden,
    /// There is nothing of this name.
    NotFound,
    /// It has no such method.
    MethodNotAllowed,
    /// It does not go together with what is there.
    Conflict,
    /// It is not as it was when it was read.
    Changed,
    /// It is larger than may be.
    TooLarge,
    /// It is in a form that is not known here.
    UnsupportedMediaType,
    /// It took longer than may be.
    TimedOut,
    /// It is understood and cannot be done.
    Refused,
    /// There were too many.
    TooMany,
    /// The broker answered something else than it should.
    Protocol,
    /// It cannot be done now.
    Unavailable,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Malformed,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::Changed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::TimedOut,
        Self::Refused,
        Self::TooMany,
        Self::Protocol,
        Self::Unavailable,
    ];

    /// Its name, its title and its status.
    fn words(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::Malformed => {
                ("malformed", "The request is not understood", StatusCode::BAD_REQUEST)
            }
            Self::Unauthorized => ("unauthorized", "Not authenticated", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", "Not allowed", StatusCode::FORBIDDEN),
            Self::NotFound => ("not-found", "Not found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => {
                ("method-not-allowed", "Not with this method", StatusCode::METHOD_NOT_ALLOWED)
            }
            Self::Conflict => ("conflict", "In conflict with what is there", StatusCode::CONFLICT),
            Self::Changed => ("changed", "Changed meanwhile", StatusCode::PRECONDITION_FAILED),
            Self::TooLarge => ("too-large", "Too large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", "Unknown media type", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::TimedOut => ("timed-out", "Took too long", StatusCode::REQUEST_TIMEOUT),
            Self::Refused => ("refused", "Refused", StatusCode::UNPROCESSABLE_ENTITY),
            Self::TooMany => ("too-many", "Too many", StatusCode::TOO_MANY_REQUESTS),
            Self::Protocol => ("protocol", "Unexpected answer", StatusCode::BAD_GATEWAY),
            Self::Unavailable => ("unavailable", "Unavailable", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

impl Problem {
    /// A problem of this kind.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (name, title, status) = kind.words();
        Self {
            kind: format!("{PREFIX}{name}"),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            retry_after: None,
            gate: None,
            reason: None,
        }
    }

    /// A plugin that failed a gate on its way in.
    #[must_use]
    pub fn at_gate(plugin: &str, gate: &str, reason: &str) -> Self {
        let detail = format!("{plugin} fails the gate `{gate}` here: {reason}");
        let (gate, reason) = (Some(gate.to_owned()), Some(reason.to_owned()));
        Self { gate, reason, ..Self::new(Kind::Refused, detail) }
    }

    /// What is understood and cannot be done.
    #[must_use]
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::new(Kind::Refused, detail)
    }

    /// What has to be asked for again, in so many seconds.
    #[must_use]
    pub fn busy(detail: impl Into<String>, seconds: u64) -> Self {
        Self::new(Kind::TooMany, detail).after(seconds)
    }

    /// A request that this version does not understand.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, detail)
    }

    /// There is nothing of this name.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, detail)
    }

    /// An operation that there is not.
    pub(crate) fn unknown(operation: &str) -> Self {
        let detail = format!(
            "there is no operation `{}`; are host and command of the same version?",
            operation.escape_debug()
        );
        Self { status: StatusCode::NOT_FOUND.as_u16(), ..Self::new(Kind::Protocol, detail) }
    }

    /// The same may succeed in so many seconds.
    pub(crate) fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    fn known(&self) -> Option<Kind> {
        let name = self.kind.strip_prefix(PREFIX)?;
        Kind::ALL.into_iter().find(|kind| kind.words().0 == name)
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Refused(reason) => Self::new(Kind::Refused, reason),
            QueueError::Protocol(reason) => Self::new(Kind::Protocol, reason),
            QueueError::Unavailable(reason) => Self::new(Kind::Unavailable, reason),
            other => Self::new(Kind::Unavailable, other.to_string()),
        }
    }
}

impl From<Problem> for QueueError {
    fn from(problem: Problem) -> Self {
        match problem.known() {
            Some(Kind::Unavailable) => Self::Unavailable(problem.detail),
            Some(Kind::Protocol) | None => Self::Protocol(problem.detail),
            Some(_) => Self::Refused(problem.detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
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

    #[test]
    fn no_two_kinds_share_a_name() {
        let mut names: Vec<&str> = Kind::ALL.into_iter().map(|kind| kind.words().0).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
