//! `wasi:http`: outbound requests. The rules are in `bulkhead_core::outbound`; how a request
//! that they allow is sent is in `outbound`.
//!
//! Of `wasi:http` there are the types and the outgoing handler, and the handler is our own:
//! each request is held against the rules before anything is done with it. What a guest says
//! here reaches no log but by [`HttpAccess::note`].

use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::Metering;
use bulkhead_core::outbound::{Target, TargetError};
use http::header::CONTENT_LENGTH;
use http::method::InvalidMethod;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Method};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types::{self, ErrorCode};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks,
};

use super::{Capability, CapabilitySet, Interface, Standing};
use crate::compartment::Compartment;
use crate::grants::{Grants, HttpGrant};
use crate::outbound::{Flow, HttpAccess, Order, Upload, Waits, send, size_of_headers};
use crate::powers::Powers;

pub(super) const CAPABILITY: Capability = Capability {
    grant: Some("http"),
    line: "http = { allow = [\"https://HOST/\"] }",
    interfaces: &[
        Interface { name: "wasi:http/types", version: "0.2", link: Some(link_types) },
        Interface { name: "wasi:http/outgoing-handler", version: "0.2", link: Some(link_handler) },
    ],
    standing,
};

/// The version whose shapes these are; linkers take any 0.2 for it.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// Bytes that a guest hands over at once for a body, and that wait for the connection.
const CHUNK_BYTES: usize = 16 << 10;

/// A list of headers takes more room than the bytes on the wire: this many times as much.
const FIELDS_ROOM: usize = 2;

/// So many full lists of headers a guest may hold; the more it has, the shorter new ones are.
const FULL_LISTS: usize = 32;

/// What a connection holds: TLS, buffers of both ways, its tasks. The head of an answer is
/// read into a buffer of its own.
const CONNECTION_BYTES: u64 = 400 << 10;

/// What an attempt can make the host hold: full lists of headers, and its connections with
/// what waits of a request's body.
pub(crate) fn held_bytes(grant: &HttpGrant, handles: u32) -> u64 {
    let full = grant.header_bytes.saturating_mul(FIELDS_ROOM as u64);
    let entries = handles.saturating_mul(2).max(FULL_LISTS as u32);
    // FULL_LISTS * (1 + ln(entries / FULL_LISTS)), the logarithm rounded up to one of base 2.
    let doublings = u64::from((entries / FULL_LISTS as u32).ilog2()) + 1;
    let lists = full.saturating_mul(FULL_LISTS as u64).saturating_mul(1 + doublings * 7 / 10 + 1);
    let connections = u64::from(grant.connections.min(grant.requests));
    let connection = CONNECTION_BYTES + CHUNK_BYTES as u64 + 2 * grant.header_bytes;
    lists.saturating_add(connections.saturating_mul(connection))
}

fn standing(grants: &Grants, offers: CapabilitySet) -> Standing {
    Standing::of(grants.http.is_some(), offers.http, "this host sends no requests")
}

fn link_types(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    let options = types::LinkOptions::default();
    types::add_to_linker::<Compartment, WasiHttp>(linker, &options, Compartment::http)
}

fn link_handler(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    linker.instance(OUTGOING_HANDLER)?.func_wrap("handle", handle)
}

type Handled = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

/// `outgoing-handler.handle`.
fn handle(
    mut store: StoreContextMut<'_, Compartment>,
    (request, options): (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>),
) -> wasmtime::Result<(Handled,)> {
    let compartment = store.data_mut();
    if let Some(powers) = compartment.powers.as_deref_mut() {
        powers.traffic.call();
    }
    let request = compartment.table().delete(request)?;
    let options = match options {
        Some(options) => compartment.table().delete(options)?,
        None => RequestOptions::default(),
    };
    let order = match compartment.http_and_table().0.order(request, options) {
        Ok(order) => order,
        Err(refused) => return Ok((Err(refused),)),
    };
    let sent = wasmtime_wasi::runtime::spawn(send(order));
    Ok((Ok(compartment.table().push(HostFutureIncomingResponse::Pending(sent))?),))
}

/// What an attempt has of `http`.
pub(crate) struct HttpSession {
    grant: Option<HttpGrant>,
    /// None while a plugin describes itself.
    access: Option<HttpAccess>,
    requests_left: u32,
    flow: Arc<Flow>,
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

impl HttpSession {
    pub(crate) fn of(powers: Option<&Powers>) -> Box<Self> {
        let grant = powers.and_then(|powers| powers.grants.http.clone());
        Box::new(Self {
            requests_left: grant.as_ref().map_or(0, |grant| grant.requests),
            access: powers.and_then(|powers| powers.services.http.clone()),
            grant,
            flow: Arc::default(),
            ctx: WasiHttpCtx::new(),
            hooks: Hooks,
        })
    }

    /// The state behind `wasi:http/types`, for a guest whose table has so many entries.
    pub(crate) fn state(&mut self, entries: usize) -> (&mut WasiHttpCtx, &mut Hooks) {
        let header_bytes = self.grant.as_ref().map_or(0, |grant| grant.header_bytes);
        let full = usize::try_from(header_bytes).unwrap_or(usize::MAX).saturating_mul(FIELDS_ROOM);
        // The n-th list that is alive was made when there were at least n - 1, so that all of
        // them together have at most `FULL_LISTS * (1 + ln(handles / FULL_LISTS))` times `full`.
        let limit = full.saturating_mul(FULL_LISTS) / entries.max(FULL_LISTS);
        self.ctx.set_field_size_limit(limit);
        (&mut self.ctx, &mut self.hooks)
    }

    /// Add what passed to a metering.
    pub(crate) fn meter(&self, metering: &mut Metering) {
        let (bytes_in, bytes_out) = self.flow.bytes();
        metering.bytes_in = metering.bytes_in.saturating_add(bytes_in);
        metering.bytes_out = metering.bytes_out.saturating_add(bytes_out);
    }

    /// A guest's request, if it may be sent.
    fn order(
        &mut self,
        request: HostOutgoingRequest,
        options: RequestOptions,
    ) -> Result<Order, ErrorCode> {
        let (Some(grant), Some(access)) = (&self.grant, &self.access) else {
            return Err(ErrorCode::HttpRequestDenied);
        };
        let refused = |code: ErrorCode, why: &str| {
            access.note(&"an address not yet known", &why);
            code
        };
        match self.requests_left.checked_sub(1) {
            Some(left) => self.requests_left = left,
            None => {
                return Err(refused(ErrorCode::ConnectionLimitReached, "`requests` are used up"));
            }
        }
        let asked = Asked::of(&request).map_err(|error| {
            refused(ErrorCode::HttpRequestDenied, &format!("no rule can allow it: {error}"))
        })?;
        let Asked { method, target, path_and_query } = asked;
        if !grant.allow.permits(&target) {
            let to = format_args!("{}://{}:{}", target.scheme, target.host, target.port);
            access.note(&to, &"no rule allows it");
            return Err(ErrorCode::HttpRequestDenied);
        }
        let headers = HeaderMap::from(request.headers);
        let header_bytes =
            method.as_str().len() + path_and_query.as_str().len() + size_of_headers(&headers);
        if header_bytes as u64 > grant.header_bytes {
            let bytes = u32::try_from(header_bytes).unwrap_or(u32::MAX);
            let code = ErrorCode::HttpRequestHeaderSectionSize(Some(bytes));
            return Err(refused(code, "its headers are over `headers`"));
        }
        let body_bytes = told_length(&headers, request.body.is_some())
            .map_err(|code| refused(code, "its lengths contradict each other"))?;
        if body_bytes.is_some_and(|bytes| bytes > grant.request_body_bytes) {
            let code = ErrorCode::HttpRequestBodySize(body_bytes);
            return Err(refused(code, "its body is over `request_body`"));
        }
        Ok(Order {
            access: access.clone(),
            target,
            method,
            path_and_query,
            headers,
            body: request.body.map(Upload::of),
            body_bytes,
            request_body_bytes: grant.request_body_bytes,
            response_body_bytes: grant.response_body_bytes,
            header_bytes: grant.header_bytes,
            waits: waits(grant, &options),
            reach: grant.reach,
            ca_file: grant.ca_file.clone(),
            connections: grant.connections,
            flow: Arc::clone(&self.flow),
        })
    }
}

/// What a guest asks for, taken apart.
pub(super) struct Asked {
    method: Method,
    pub(super) target: Target,
    pub(super) path_and_query: PathAndQuery,
}

/// Why a request is not one that a rule could allow.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unaskable {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("the method is none")]
    Method,
    #[error("the path is none")]
    Path,
    #[error("a tunnel leads around every rule")]
    Tunnel,
}

impl Asked {
    pub(super) fn of(request: &HostOutgoingRequest) -> Result<Self, Unaskable> {
        let method: Method =
            request.method.clone().try_into().map_err(|_: InvalidMethod| Unaskable::Method)?;
        if method.as_str().eq_ignore_ascii_case("CONNECT") {
            return Err(Unaskable::Tunnel);
        }
        let scheme = match &request.scheme {
            None | Some(types::Scheme::Https) => "https",
            Some(types::Scheme::Http) => "http",
            Some(types::Scheme::Other(other)) => other,
        };
        let path = match request.path_with_query.as_deref() {
            None | Some("") => "/",
            Some(path) => path,
        };
        // What is checked is what is sent: both are this.
        let path_and_query: PathAndQuery = path.parse().map_err(|_| Unaskable::Path)?;
        let authority = request.authority.as_deref().unwrap_or_default();
        let target = Target::of(method.as_str(), scheme, authority, path_and_query.as_str())?;
        Ok(Self { method, target, path_and_query })
    }
}

/// The length that a guest tells of its body.
pub(super) fn told_length(headers: &HeaderMap, has_body: bool) -> Result<Option<u64>, ErrorCode> {
    let mut told = headers.get_all(CONTENT_LENGTH).iter();
    let (length, more) = (told.next(), told.next());
    let Some(length) = length else { return Ok(None) };
    // Digits and nothing else: `+5` is a number to some readers only.
    let length = length.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match length.and_then(|length| length.parse::<u64>().ok()) {
        Some(bytes) if more.is_none() && (has_body || bytes == 0) => Ok(Some(bytes)),
        _ => Err(ErrorCode::HttpProtocolError),
    }
}

/// The grant's times, or the guest's where they are shorter.
fn waits(grant: &HttpGrant, options: &RequestOptions) -> Waits {
    let lower = |granted: Duration, asked: Option<Duration>| asked.unwrap_or(granted).min(granted);
    Waits {
        connect: lower(grant.connect_timeout, options.connect_timeout),
        first_byte: lower(grant.first_byte_timeout, options.first_byte_timeout),
        between_bytes: lower(grant.between_bytes_timeout, options.between_bytes_timeout),
    }
}

/// What the types of `wasi:http` ask their host.
pub(crate) struct Hooks;

/// Besides those that nobody may set by default.
const FORBIDDEN_HEADERS: [HeaderName; 2] = [http::header::TE, http::header::TRAILER];

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
            || FORBIDDEN_HEADERS.contains(name)
            || name.as_str().starts_with("proxy-")
    }

    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    /// Nothing is sent by this way: [`handle`] is linked in place of what would call it.
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<
        dyn Future<
                Output = Result<
                    (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>),
                    Error,
                >,
            > + Send,
    > {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

impl Compartment {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let entries = self.table().iter_mut().count();
        let (session, table) = self.http_and_table();
        let (ctx, hooks) = session.state(entries);
        WasiHttpCtxView { hooks, table, ctx }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(lengths: &[&str]) -> HeaderMap {
        let length = |length: &&str| (CONTENT_LENGTH, length.parse().unwrap());
        lengths.iter().map(length).collect()
    }

    #[test]
    fn a_length_is_told_once_and_of_a_body() {
        assert_eq!(told_length(&lengths(&[]), true).ok(), Some(None));
        assert_eq!(told_length(&lengths(&["5"]), true).ok(), Some(Some(5)));
        assert_eq!(told_length(&lengths(&["0"]), false).ok(), Some(Some(0)));
        for (odd, has_body) in [
            (&["5"][..], false),
            (&["5", "5"], true),
            (&["5", "50"], true),
            (&["5, 5"], true),
            (&["+5"], true),
        ] {
            assert!(told_length(&lengths(odd), has_body).is_err(), "{odd:?} {has_body}");
        }
    }

    #[test]
    fn a_guest_only_shortens_its_waits() {
        let grant = HttpGrant::default();
        let asked = RequestOptions {
            connect_timeout: Some(Duration::from_secs(1)),
            first_byte_timeout: Some(Duration::from_secs(3_600)),
            between_bytes_timeout: None,
        };
        let waits = waits(&grant, &asked);
        assert_eq!(waits.connect, Duration::from_secs(1));
        assert_eq!(waits.first_byte, grant.first_byte_timeout);
        assert_eq!(waits.between_bytes, grant.between_bytes_timeout);
    }

    #[test]
    fn headers_of_the_connection_are_forbidden_in_every_spelling() {
        for name in ["Host", "TE", "Trailer", "Proxy-Whatever", "Keep-Alive", "HTTP2-Settings"] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert!(Hooks.is_forbidden_header(&name), "{name}");
        }
        assert!(!Hooks.is_forbidden_header(&http::header::AUTHORIZATION));
    }

    #[test]
    fn all_lists_that_a_guest_can_hold_are_reckoned_with() {
        for (header_bytes, handles) in [(64 << 10, 1_000), (1 << 10, 1), (1 << 20, 1_000_000)] {
            let grant = HttpGrant { header_bytes, requests: 0, ..HttpGrant::default() };
            let full = header_bytes * FIELDS_ROOM as u64 * FULL_LISTS as u64;
            // Each list as long as it may be when so many others are there.
            let all: u64 = (0..2 * handles).map(|at| full / at.max(FULL_LISTS as u64)).sum();
            let held = held_bytes(&grant, u32::try_from(handles).unwrap());
            assert!(all <= held, "{all} of {held} with {handles} handles");
        }
        let grant = HttpGrant { connections: 8, requests: 3, ..HttpGrant::default() };
        let more = HttpGrant { requests: 4, ..grant.clone() };
        let connection = held_bytes(&more, 1_000) - held_bytes(&grant, 1_000);
        assert!(connection >= CONNECTION_BYTES + CHUNK_BYTES as u64, "{connection}");
        let most = HttpGrant { requests: 9, ..grant.clone() };
        let bounded = HttpGrant { requests: 8, ..grant };
        assert_eq!(held_bytes(&most, 1_000), held_bytes(&bounded, 1_000), "`connections`");
    }

    #[test]
    fn the_more_lists_a_guest_has_the_shorter_new_ones_are() {
        let mut session = HttpSession::of(None);
        session.grant = Some(HttpGrant::default());
        let limit = |session: &mut HttpSession, entries| format!("{:?}", session.state(entries).0);
        let few = limit(&mut session, 1);
        assert_eq!(few, limit(&mut session, FULL_LISTS));
        assert_ne!(few, limit(&mut session, FULL_LISTS + 1));
        assert!(few.contains("131072"), "{few}");
        let many = limit(&mut session, FULL_LISTS * 16);
        assert!(many.contains("8192"), "{many}");
    }
}
