//! One request and its answer, over a connection of their own.
//!
//! The request's framing is made here: a guest that could make its own could hide a second
//! request, which no rule saw, in the body of the first. The connection's task is held by the
//! answer and ends with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::outbound::{Reach, Target};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use tokio::time::timeout;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::body::HyperIncomingBody;

use super::body::{RequestBody, ResponseBody};
use super::dial::{Dial, Failed};
use super::{Flow, Guarded, HttpAccess, Upload, trouble};

/// Most headers of an answer.
const MAX_HEADERS: usize = 256;

/// Least that is read and written at once, in bytes.
const MIN_BUFFER_BYTES: usize = 16 << 10;

/// How long each part of an exchange may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    pub(crate) connect: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) between_bytes: Duration,
}

/// A request that a rule allows, and the bounds on it and its answer.
pub(crate) struct Order {
    pub(crate) access: HttpAccess,
    pub(crate) target: Target,
    pub(crate) method: Method,
    pub(crate) path_and_query: PathAndQuery,
    /// Without length and host, which are made here.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Upload>,
    /// The body's length, where the guest told it.
    pub(crate) body_bytes: Option<u64>,
    pub(crate) request_body_bytes: u64,
    pub(crate) response_body_bytes: u64,
    pub(crate) header_bytes: u64,
    pub(crate) waits: Waits,
    pub(crate) reach: Reach,
    pub(crate) ca_file: Option<PathBuf>,
    /// Connections of the tenant at one time.
    pub(crate) connections: u32,
    pub(crate) flow: Arc<Flow>,
}

/// An answer, and the connection that it comes by.
pub(crate) type Answer = (Response<HyperIncomingBody>, AbortOnDropJoinHandle<()>);

/// Send a request. Dropping the future, or the answer, closes the connection.
pub(crate) async fn send(order: Order) -> Result<Answer, Error> {
    let (access, target, began) = (order.access.clone(), order.target.clone(), Instant::now());
    let Target { scheme, host, port, .. } = order.target.clone();
    let noted = |Failed { error, why }: Failed| {
        access.note(&format_args!("{scheme}://{host}:{port}"), &why);
        error
    };
    let guarded = Guarded::pass(access.upstreams.as_ref(), &host, port).map_err(noted)?;
    let answered = exchange(order).await;
    access.called(&target, began, answered.is_ok());
    match answered {
        Ok(answer) => {
            guarded.came(Ok(answer.0.status().as_u16()));
            Ok(answer)
        }
        Err(failed) => {
            guarded.came(Err(&failed.error));
            Err(noted(failed))
        }
    }
}

async fn exchange(order: Order) -> Result<Answer, Failed> {
    let dial = Dial {
        access: &order.access,
        target: &order.target,
        reach: order.reach,
        ca_file: order.ca_file.as_deref(),
        within: order.waits.connect,
    };
    let (stream, held) = dial.connect(order.connections).await?;
    let Order { header_bytes, response_body_bytes, waits, .. } = order;
    let flow = Arc::clone(&order.flow);
    let broken = |error: hyper::Error| {
        let why = format!("the exchange broke off: {error}");
        Failed::new(trouble::exchanging(&error, header_bytes), why)
    };

    let header_size = usize::try_from(header_bytes).unwrap_or(usize::MAX);
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_header_size(header_size)
        .max_buf_size(header_size.max(MIN_BUFFER_BYTES))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let connection = spawn(async move {
        let _held = held;
        // Whoever waits for the answer is told of it.
        let _ = connection.await;
    });

    let request = framed(order)?;
    let answered = timeout(waits.first_byte, sender.send_request(request)).await;
    let response = answered
        .map_err(|_| Failed::new(Error::ConnectionReadTimeout, "the answer took too long"))?
        .map_err(broken)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failed::new(Error::HttpUpgradeFailed, "nobody asked for another protocol"));
    }
    let told = response.body().size_hint().lower();
    if told > response_body_bytes {
        let why = format!("the answer has {told} bytes and may have {response_body_bytes}");
        return Err(Failed::new(Error::HttpResponseBodySize(Some(told)), why));
    }
    flow.came_in(size_of_headers(response.headers()));
    let response = response.map(|body| {
        ResponseBody::of(body, response_body_bytes, header_bytes, waits.between_bytes, flow)
            .boxed_unsync()
    });
    Ok((response, connection))
}

/// The request as it is written: one host, one length or none, and nothing after it.
fn framed(order: Order) -> Result<Request<RequestBody>, Failed> {
    let Order { target, mut headers, body, body_bytes, flow, .. } = order;
    let host = match target.port == target.scheme.default_port() {
        true => target.host.to_string(),
        false => format!("{}:{}", target.host, target.port),
    };
    let host = HeaderValue::try_from(host)
        .map_err(|error| Failed::new(Error::HttpRequestUriInvalid, error))?;
    headers.insert(HOST, host);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.remove(CONTENT_LENGTH);
    if let Some(bytes) = body_bytes {
        headers.insert(CONTENT_LENGTH, bytes.into());
    }
    flow.went_out(
        order.method.as_str().len()
            + order.path_and_query.as_str().len()
            + size_of_headers(&headers),
    );
    let limit_bytes = order.request_body_bytes;
    let mut request = Request::new(RequestBody { body, limit_bytes, sent_bytes: 0, flow });
    *request.method_mut() = order.method;
    *request.uri_mut() = Uri::from(order.path_and_query);
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Bytes of headers as they are written, the marks between them included.
pub(crate) fn size_of_headers(headers: &HeaderMap) -> usize {
    const MARKS: usize = ": \r\n".len();
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + MARKS).sum()
}
