//! `http`: where a plugin may send requests, and how much may come back.

use std::path::PathBuf;

use bulkhead_core::outbound::{AllowList, Reach, Rule};
use bulkhead_sandbox::HttpGrant;
use serde::Deserialize;

use super::bounds::{GIB, KIB, MAX_ITEMS, MIB, size, span, within};
use super::switch::Written;
use crate::config::quantity::{Size, Span};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    allow: Vec<String>,
    private: Option<bool>,
    metadata: Option<bool>,
    requests: Option<u32>,
    connect_timeout: Option<Span>,
    first_byte_timeout: Option<Span>,
    between_bytes_timeout: Option<Span>,
    request_body: Option<Size>,
    response_body: Option<Size>,
    headers: Option<Size>,
    connections: Option<u32>,
    ca_file: Option<PathBuf>,
}

impl Written for Http {
    const KEY: &'static str = "http";

    type Grant = HttpGrant;

    fn on() -> Result<HttpGrant, &'static str> {
        Err("`http` needs rules: `{ allow = [...] }`")
    }

    fn checked(self) -> Result<HttpGrant, String> {
        let default = HttpGrant::default();
        if !(1..=MAX_ITEMS).contains(&self.allow.len()) {
            return Err(format!(
                "`http.allow` lists {} rules; use 1 to {MAX_ITEMS}",
                self.allow.len()
            ));
        }
        let rules: Result<Vec<Rule>, String> = self
            .allow
            .iter()
            .map(|rule| rule.parse().map_err(|error| format!("`http.allow`: {error}")))
            .collect();
        if self.ca_file.as_ref().is_some_and(|file| !file.is_absolute()) {
            return Err("`http.ca_file` must be an absolute path".to_owned());
        }
        Ok(HttpGrant {
            allow: AllowList::new(rules?),
            reach: Reach {
                private: self.private.unwrap_or(false),
                metadata: self.metadata.unwrap_or(false),
            },
            requests: within("http.requests", self.requests, default.requests, 1..=100_000)?,
            connect_timeout: span(
                "http.connect_timeout",
                self.connect_timeout,
                default.connect_timeout,
            )?,
            first_byte_timeout: span(
                "http.first_byte_timeout",
                self.first_byte_timeout,
                default.first_byte_timeout,
            )?,
            between_bytes_timeout: span(
                "http.between_bytes_timeout",
                self.between_bytes_timeout,
                default.between_bytes_timeout,
            )?,
            request_body_bytes: size(
                "http.request_body",
                self.request_body,
                default.request_body_bytes,
                0..=GIB,
            )?,
            response_body_bytes: size(
                "http.response_body",
                self.response_body,
                default.response_body_bytes,
                0..=GIB,
            )?,
            header_bytes: size("http.headers", self.headers, default.header_bytes, KIB..=MIB)?,
            connections: within(
                "http.connections",
                self.connections,
                default.connections,
                1..=10_000,
            )?,
            ca_file: self.ca_file,
        })
    }
}
