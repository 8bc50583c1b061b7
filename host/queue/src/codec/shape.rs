//! The values that a record begins with, as they are written and as they are read.

use bulkhead_core::{
    BatchRef, LimitsRequest, OnFailedParent, RetryRequest, TaskRef, TermKey, Terms, TraceContext,
    Unique, UnixMs,
};
use serde::{Deserialize, Serialize};

use super::reckonable;

/// What scripts read: version, type, tenant, priority, and the terms that bind a task to
/// others if it has any.
#[derive(Serialize)]
pub(super) struct Head<'a>(pub(super) u8, pub(super) &'a str, pub(super) &'a str, pub(super) u8);

#[derive(Serialize)]
pub(super) struct BoundHead<'a>(
    pub(super) u8,
    pub(super) &'a str,
    pub(super) &'a str,
    pub(super) u8,
    pub(super) Bonds<'a>,
);

/// A head as it is read.
#[derive(Deserialize)]
pub(super) struct HeadOwned(
    pub(super) u8,
    pub(super) String,
    pub(super) String,
    pub(super) u8,
    #[serde(default)] pub(super) Terms,
);

/// The terms that scripts act on.
#[derive(Serialize)]
pub(super) struct Bonds<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a TermKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<Unique>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    after: &'a [TaskRef],
    #[serde(skip_serializing_if = "Option::is_none")]
    on_failed_parent: Option<OnFailedParent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'a BatchRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_ms: Option<u64>,
}

impl<'a> Bonds<'a> {
    /// The terms of a task that scripts act on; nothing if there are none.
    pub(super) fn of(terms: &'a Terms) -> Option<Self> {
        let Terms { key, unique, after, on_failed_parent, batch, expires_at, retention_ms, .. } =
            terms;
        let bound = key.is_some()
            || unique.is_some()
            || !after.is_empty()
            || batch.is_some()
            || expires_at.is_some()
            || retention_ms.is_some();
        bound.then(|| Self {
            key: key.as_ref(),
            unique: unique.as_ref().map(|unique| Unique {
                window_ms: unique.window_ms.map(reckonable),
                ..unique.clone()
            }),
            after,
            on_failed_parent: Some(*on_failed_parent)
                .filter(|policy| *policy != Default::default()),
            batch: batch.as_ref(),
            expires_at: expires_at.map(reckonable),
            retention_ms: retention_ms.map(reckonable),
        })
    }
}

/// The terms that only hosts act on.
#[derive(Serialize)]
pub(super) struct Course<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<&'a RetryRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<UnixMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_at: Option<UnixMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    depth: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl<'a> Course<'a> {
    pub(super) fn of(terms: &'a Terms) -> Option<Self> {
        let Terms { retry, not_before, deadline_at, schedule, depth, .. } = terms;
        let any = retry.is_some()
            || not_before.is_some()
            || deadline_at.is_some()
            || schedule.is_some()
            || *depth > 0;
        any.then_some(Self {
            retry: retry.as_ref(),
            not_before: *not_before,
            deadline_at: *deadline_at,
            schedule: schedule.as_deref(),
            depth: *depth,
        })
    }
}

/// What follows the head: submitted at, content type, payload, metadata, trace, limits and
/// the other terms.
#[derive(Serialize)]
pub(super) struct Envelope<'a>(
    pub(super) UnixMs,
    pub(super) &'a str,
    #[serde(with = "serde_bytes")] pub(super) &'a [u8],
    pub(super) &'a [(String, String)],
    pub(super) Option<&'a TraceContext>,
    pub(super) Option<&'a LimitsRequest>,
    pub(super) Option<Course<'a>>,
);

/// An [`Envelope`] as it is read.
#[derive(Deserialize)]
pub(super) struct EnvelopeOwned(
    pub(super) UnixMs,
    pub(super) String,
    #[serde(with = "serde_bytes")] pub(super) Vec<u8>,
    pub(super) Vec<(String, String)>,
    pub(super) Option<TraceContext>,
    pub(super) Option<LimitsRequest>,
    pub(super) Option<Terms>,
);
