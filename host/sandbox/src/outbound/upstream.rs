//! Whether a request may go to an upstream now: asked before anything is sent, told what came
//! of it afterwards. What decides is the caller's.
//!
//! An exchange that is dropped midway counts as a bad one: its attempt's time was over before
//! the answer came.

use std::fmt;
use std::sync::Arc;

use bulkhead_core::{Passage, Passed};
use wasmtime_wasi_http::Error;

use super::dial::Failed;

/// The least status that is the upstream's own failure.
const SERVER_ERROR: u16 = 500;

/// What is known of the upstreams that attempts ask, by `host:port`.
pub trait Upstreams: Send + Sync {
    /// Let a request go there, or not. Without a passage nobody wants to know of its end.
    fn admit(&self, upstream: &str) -> Result<Option<Passage>, UpstreamRefused>;

    /// What came of it.
    fn record(&self, upstream: &str, passage: Passage, came: Passed);
}

/// Nothing goes to an upstream for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamRefused;

/// A request that was let through.
pub(super) struct Guarded(Option<(Arc<dyn Upstreams>, String, Passage)>);

impl Guarded {
    /// Ask whether a request may go there.
    pub(super) fn pass(
        upstreams: Option<&Arc<dyn Upstreams>>,
        host: &dyn fmt::Display,
        port: u16,
    ) -> Result<Self, Failed> {
        let Some(upstreams) = upstreams else { return Ok(Self(None)) };
        let upstream = format!("{host}:{port}");
        match upstreams.admit(&upstream) {
            Ok(None) => Ok(Self(None)),
            Ok(Some(passage)) => Ok(Self(Some((upstreams.clone(), upstream, passage)))),
            Err(UpstreamRefused) => {
                let why = "its circuit is open: it failed again and again";
                Err(Failed::new(Error::DestinationUnavailable, why))
            }
        }
    }

    /// Tell what came of it: the status of an answer, or what went wrong.
    pub(super) fn came(mut self, answer: Result<u16, &Error>) {
        let came = match answer {
            Ok(status) if status >= SERVER_ERROR => Passed::Badly,
            Ok(_) => Passed::Well,
            Err(error) => of_error(error),
        };
        self.tell(came);
    }

    fn tell(&mut self, came: Passed) {
        if let Some((upstreams, upstream, passage)) = self.0.take() {
            upstreams.record(&upstream, passage, came);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.tell(Passed::Badly);
    }
}

/// What a guest did wrong, or was not granted, says nothing of the upstream.
fn of_error(error: &Error) -> Passed {
    match error {
        Error::DnsTimeout
        | Error::DnsError { .. }
        | Error::ConnectionTimeout
        | Error::ConnectionRefused
        | Error::ConnectionTerminated
        | Error::ConnectionReadTimeout
        | Error::DestinationUnavailable
        | Error::DestinationIpUnroutable
        | Error::HttpResponseTimeout
        | Error::HttpResponseIncomplete
        | Error::HttpProtocolError
        | Error::TlsProtocolError
        | Error::TlsCertificateError
        | Error::TlsAlertReceived { .. } => Passed::Badly,
        _ => Passed::Neither,
    }
}
