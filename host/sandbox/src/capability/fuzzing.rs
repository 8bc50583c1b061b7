//! What reads a guest's arguments of `kv`, `enqueue` and `http`.

use bulkhead_core::outbound::{AllowList, Target};
use bulkhead_core::{Child, Task};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue};
use wasmtime_wasi_http::WasiHttpHooks as _;
use wasmtime_wasi_http::p2::bindings::http::types::{Method, Scheme};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use super::{enqueue, http as requests, kv};
use crate::bindings::bulkhead::handler::{enqueue as said, kv as answers};
use crate::grants::EnqueueGrant;
use crate::powers::ChildBounds;

pub use super::fs::fuzzing::Folder;

fn told(error: answers::Error) -> String {
    match error {
        answers::Error::Invalid(why)
        | answers::Error::Quota(why)
        | answers::Error::Unavailable(why) => why,
        answers::Error::TooLarge(bytes) => format!("over {bytes} bytes"),
    }
}

/// A key of `kv`.
pub fn kv_key(key: &str) -> Result<(), String> {
    kv::check_key(key).map_err(told)
}

/// A prefix or place of `kv`.
pub fn kv_text(text: &str) -> Result<(), String> {
    kv::check_text("prefix", text).map_err(told)
}

/// A time to live of `kv`.
pub fn kv_ttl(ttl_ms: Option<u64>) -> Result<(), String> {
    kv::check_ttl(ttl_ms).map_err(told)
}

/// A child as a guest describes it.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// Its type.
    pub task_type: String,
    /// Its queue.
    pub queue: Option<String>,
    /// Its payload's content type.
    pub content_type: String,
    /// Its payload.
    pub data: Vec<u8>,
    /// Its metadata.
    pub metadata: Vec<(String, String)>,
    /// Its priority.
    pub priority: Option<u8>,
    /// Its delay.
    pub delay_ms: Option<u64>,
    /// Its key.
    pub key: Option<String>,
}

/// The task that a guest's description becomes, or the error that the guest sees. `held` is
/// the number and the bytes of the children before it.
pub fn child(
    child: Said,
    parent: &Task,
    grant: &EnqueueGrant,
    bounds: ChildBounds,
    held: (usize, u64),
) -> Result<Child, String> {
    let child = said::Child {
        task_type: child.task_type,
        queue: child.queue,
        payload: said::Payload { content_type: child.content_type, data: child.data },
        metadata: child.metadata,
        priority: child.priority,
        delay_ms: child.delay_ms,
        key: child.key,
    };
    let (number, bytes) = held;
    let more = enqueue::text_bytes(&child);
    enqueue::check_quotas(grant, parent.terms.depth, number, bytes, more)
        .map_err(|error| format!("{error:?}"))?;
    let place = u32::try_from(number).unwrap_or(u32::MAX);
    enqueue::checked(child, parent, place, grant, bounds).map_err(|error| format!("{error:?}"))
}

/// What a guest's request is held against the rules as, and the path that would be sent; none
/// if no rule could allow it.
pub fn asked(
    method: &str,
    scheme: Option<&str>,
    authority: Option<&str>,
    path_with_query: Option<&str>,
    rules: &AllowList,
) -> Option<(Target, String, bool)> {
    let request = HostOutgoingRequest {
        method: match method {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "CONNECT" => Method::Connect,
            other => Method::Other(other.to_owned()),
        },
        scheme: scheme.map(|scheme| match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => Scheme::Other(other.to_owned()),
        }),
        authority: authority.map(str::to_owned),
        path_with_query: path_with_query.map(str::to_owned),
        headers: Default::default(),
        body: None,
    };
    let asked = requests::Asked::of(&request).ok()?;
    let permitted = rules.permits(&asked.target);
    Some((asked.target, asked.path_and_query.as_str().to_owned(), permitted))
}

/// Whether a guest may not set a header of this name; none if it is no name.
pub fn forbidden_header(name: &[u8]) -> Option<bool> {
    let name = HeaderName::from_bytes(name).ok()?;
    Some(requests::Hooks.is_forbidden_header(&name))
}

/// The length that headers tell of a body, if they do not contradict themselves.
pub fn told_length(values: &[&[u8]], has_body: bool) -> Result<Option<u64>, String> {
    let mut headers = HeaderMap::new();
    for value in values {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(CONTENT_LENGTH, value);
        }
    }
    requests::told_length(&headers, has_body).map_err(|code| format!("{code:?}"))
}
