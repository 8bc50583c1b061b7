//! Where and how a host answers by HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use bulkhead_api::TlsFiles;
use bulkhead_api::auth::GuardOptions;
use bulkhead_api::v1::ApiOptions;

/// Where and how a host answers by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiSettings {
    /// The address that it listens on, if it does.
    pub listen: Option<SocketAddr>,
    /// A socket of its own, if it has one; its owner needs no token there.
    pub socket: Option<PathBuf>,
    /// TLS on the address.
    pub tls: Option<TlsFiles>,
    /// Who is let in.
    pub guard: GuardOptions,
    /// What is answered.
    pub options: ApiOptions,
    /// Connections at once.
    pub connections: usize,
    /// Origins whose web pages may ask.
    pub cors: Vec<String>,
}
