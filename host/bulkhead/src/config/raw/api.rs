//! `[api]` as it is written.

use bulkhead_api::v1::ApiOptions;
use serde::{Deserialize, Serialize};

use crate::config::quantity::{Size, Span};

/// `[api]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawApi {
    /// Nothing said: on no address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) listen: Option<String>,
    /// Nothing said: on no socket of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) socket: Option<String>,
    pub(in crate::config) anonymous: Vec<String>,
    /// Nothing said: as often as they like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) rate: Option<String>,
    pub(in crate::config) body: Size,
    pub(in crate::config) timeout: Span,
    pub(in crate::config) longest_wait: Span,
    pub(in crate::config) waiters: usize,
    pub(in crate::config) connections: usize,
    pub(in crate::config) cors: Vec<String>,
    /// Nothing said: without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) tls: Option<RawTls>,
}

/// `[api.tls]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawTls {
    pub(in crate::config) certificate: String,
    pub(in crate::config) key: String,
    /// Nothing said: clients need no certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) client_ca: Option<String>,
}

impl RawApi {
    /// With every key there is.
    pub(super) fn with_every_key() -> Self {
        let any = || Some(String::new());
        let tls = RawTls { client_ca: any(), ..RawTls::default() };
        Self { listen: any(), socket: any(), rate: any(), tls: Some(tls), ..Self::default() }
    }
}

impl Default for RawApi {
    fn default() -> Self {
        let options = ApiOptions::default();
        Self {
            listen: None,
            socket: None,
            anonymous: Vec::new(),
            rate: None,
            body: Size(options.body_bytes as u64),
            timeout: Span(options.timeout),
            longest_wait: Span(options.longest_wait),
            waiters: options.waiters,
            connections: 1_000,
            cors: Vec::new(),
            tls: None,
        }
    }
}
