//! Bodies in both directions: counted, cut at their bounds, and never ahead of who reads them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::trouble;

/// What passed over the connections of one attempt, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    into_guest: AtomicU64,
    out_of_guest: AtomicU64,
}

impl Flow {
    pub(crate) fn came_in(&self, bytes: usize) {
        self.into_guest.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn went_out(&self, bytes: usize) {
        self.out_of_guest.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What came in, and what went out.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.into_guest.load(Ordering::Relaxed), self.out_of_guest.load(Ordering::Relaxed))
    }
}

/// Why a request's body was not sent to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyRefused {
    #[error("the body has more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("the guest gave the body up")]
    Abandoned,
}

/// A guest's end of a request's body. What is not sent of it is read and thrown away, so that
/// a guest which still writes hears from the answer why the request failed; that ends with the
/// guest's own end.
pub(crate) struct Upload(Option<HyperOutgoingBody>);

impl Upload {
    pub(crate) fn of(body: HyperOutgoingBody) -> Self {
        Self(Some(body))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut body) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
        }
    }
}

/// A request's body, if it has one. Trailers are left out: the guest cannot announce them.
pub(super) struct RequestBody {
    pub(super) body: Option<Upload>,
    pub(super) limit_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) flow: Arc<Flow>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyRefused;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyRefused>>> {
        let this = &mut *self;
        let Some(Upload(upload)) = &mut this.body else { return Poll::Ready(None) };
        loop {
            let Some(body) = upload else { return Poll::Ready(None) };
            let frame = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => {
                    *upload = None;
                    return Poll::Ready(end.map(|_| Err(BodyRefused::Abandoned)));
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            this.sent_bytes = this.sent_bytes.saturating_add(data.len() as u64);
            if this.sent_bytes > this.limit_bytes {
                let limit_bytes = this.limit_bytes;
                return Poll::Ready(Some(Err(BodyRefused::TooLarge { limit_bytes })));
            }
            this.flow.went_out(data.len());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }
}

/// An answer's body.
pub(super) struct ResponseBody {
    /// None after an error: the rest is nobody's.
    incoming: Option<Incoming>,
    limit_bytes: u64,
    left_bytes: u64,
    header_bytes: u64,
    between: Duration,
    silence: Pin<Box<Sleep>>,
    /// Whether the guest has been waiting since the last bytes.
    waiting: bool,
    flow: Arc<Flow>,
}

impl ResponseBody {
    pub(super) fn of(
        incoming: Incoming,
        limit_bytes: u64,
        header_bytes: u64,
        between: Duration,
        flow: Arc<Flow>,
    ) -> Self {
        Self {
            incoming: Some(incoming),
            limit_bytes,
            left_bytes: limit_bytes,
            header_bytes,
            between,
            silence: Box::pin(sleep(between)),
            waiting: false,
            flow,
        }
    }

    fn end(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.incoming = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => {
                let error = trouble::exchanging(&error, this.header_bytes);
                this.end(error)
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = false;
                if let Some(data) = frame.data_ref() {
                    let Some(left) = this.left_bytes.checked_sub(data.len() as u64) else {
                        let limit_bytes = this.limit_bytes;
                        return this.end(Error::HttpResponseBodySize(Some(limit_bytes)));
                    };
                    this.left_bytes = left;
                    this.flow.came_in(data.len());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                // Time counts from when the guest first finds nothing, so that a guest which
                // reads slowly does not lose a server that does not.
                if !this.waiting {
                    this.waiting = true;
                    this.silence.as_mut().reset(Instant::now() + this.between);
                }
                ready!(this.silence.as_mut().poll(cx));
                this.end(Error::ConnectionReadTimeout)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}
