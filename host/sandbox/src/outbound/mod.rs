//! Outbound requests: from a request that a rule allows to an answer, by a connection of our
//! own making.
//!
//! What was checked is what is used: the name is resolved once, each address is held against
//! the classes that were granted, and one of those that passed is dialled. Every connection
//! carries one request and belongs to one attempt; nothing of it outlives the attempt but a
//! look-up that the system does not give back. The rules are `bulkhead_core::outbound`'s;
//! guests and their resources are not known here.

mod body;
mod dial;
mod exchange;
mod places;
mod resolve;
mod trouble;
mod trust;
mod upstream;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::TenantName;
use bulkhead_core::outbound::{Reach, Scheme, Target};
use serde_bytes::ByteBuf;

pub(crate) use body::{Flow, Upload};
pub(crate) use exchange::{Order, Waits, send, size_of_headers};
pub(crate) use places::Place;
pub use resolve::{Resolver, SystemResolver};
pub(crate) use trust::{KEPT as ROOTS_KEPT, Roots};
use upstream::Guarded;
pub use upstream::{UpstreamRefused, Upstreams};

use dial::{Dial, Failed};
use places::{Line, Lines};
use resolve::Lookups;
use trust::Trust;

use crate::service::{Call, CallObserver};
use crate::worker::{Connecting, Unreached};

/// What a host has behind `http`: shared by all attempts, so that what is bounded by tenant is
/// bounded over all of them.
pub struct Outbound {
    lookups: Lookups,
    lines: Lines,
    trust: Trust,
}

impl Outbound {
    /// With the system's own way of resolving names.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with_resolver(Arc::new(SystemResolver))
    }

    /// With another way of resolving names.
    #[must_use]
    pub fn with_resolver(resolver: Arc<dyn Resolver>) -> Arc<Self> {
        Arc::new(Self {
            lookups: Lookups::by(resolver),
            lines: Lines::default(),
            trust: Trust::default(),
        })
    }

    /// What the attempts of a plugin for a tenant send by.
    #[must_use]
    pub fn access(self: &Arc<Self>, plugin: &str, tenant: &TenantName) -> HttpAccess {
        HttpAccess {
            outbound: Arc::clone(self),
            upstreams: None,
            by: By::Own {
                plugin: plugin.into(),
                tenant: tenant.clone(),
                line: self.lines.of(tenant),
            },
            calls: None,
        }
    }

    /// Believe certificates that the host named, in a worker process.
    pub(crate) fn believe(&self, roots: u64, certificates: Vec<ByteBuf>) {
        self.trust.told(roots, certificates.into_iter().map(ByteBuf::into_vec));
    }

    /// The connections that a tenant has now.
    #[must_use]
    pub fn connections(&self, tenant: &TenantName) -> u32 {
        self.lines.of(tenant).open()
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbound")
    }
}

/// One plugin's and tenant's way out. It grants nothing: rules and quotas are the plugin's.
#[derive(Clone)]
pub struct HttpAccess {
    outbound: Arc<Outbound>,
    upstreams: Option<Arc<dyn Upstreams>>,
    by: By,
    calls: Option<Arc<dyn CallObserver>>,
}

/// Who dials.
#[derive(Clone)]
enum By {
    /// This process.
    Own { plugin: Arc<str>, tenant: TenantName, line: Arc<Line> },
    /// The host, for a worker process.
    Host(Connecting),
}

/// How a connection is made for a worker process.
pub(crate) struct Way {
    pub(crate) reach: Reach,
    pub(crate) ca_file: Option<PathBuf>,
    /// Connections of the tenant at one time.
    pub(crate) connections: u32,
    pub(crate) within: Duration,
}

/// A connection for a worker process, and whose certificates it is to believe.
pub(crate) struct Lending {
    pub(crate) socket: std::net::TcpStream,
    pub(crate) place: Place,
    pub(crate) roots: Option<Arc<Roots>>,
}

impl HttpAccess {
    /// The same, with somebody who is asked before each request. Where guests run in worker
    /// processes, the host knows of their connections only, and no status.
    #[must_use]
    pub fn guarded(self, upstreams: Arc<dyn Upstreams>) -> Self {
        Self { upstreams: Some(upstreams), ..self }
    }

    /// Tell the operator why a request was not answered. `to` is a scheme, host and port that
    /// were checked, or nothing: paths, queries and headers may hold secrets.
    pub(crate) fn note(&self, to: &dyn fmt::Display, why: &dyn fmt::Display) {
        match &self.by {
            By::Own { plugin, tenant, .. } => {
                tracing::debug!(%tenant, %plugin, %to, "a request failed: {why}");
            }
            By::Host(host) => host.note(to.to_string(), why.to_string()),
        }
    }

    /// By a connection that the host makes, in a worker process.
    pub(crate) fn of_worker(outbound: &Arc<Outbound>, host: Connecting) -> Self {
        Self { outbound: Arc::clone(outbound), by: By::Host(host), upstreams: None, calls: None }
    }

    /// The same, with somebody who is told of each request.
    #[must_use]
    pub fn observed(self, calls: Arc<dyn CallObserver>) -> Self {
        Self { calls: Some(calls), ..self }
    }

    /// A request was answered or not, or a connection for it was made.
    pub(crate) fn called(&self, target: &Target, began: Instant, succeeded: bool) {
        let Some(calls) = &self.calls else { return };
        let Target { method, scheme, host, port, .. } = target;
        let target = Some(format_args!("{scheme}://{host}:{port}"));
        calls.called(&Call { capability: "http", operation: method, target, began, succeeded });
    }

    /// A connection for a worker process, to an address that was checked.
    pub(crate) async fn lend(
        &self,
        target: &Target,
        way: &Way,
    ) -> Result<Lending, (Unreached, String)> {
        let By::Own { line, .. } = &self.by else {
            return Err((Unreached::Unavailable, "a worker process lends nothing".to_owned()));
        };
        let told = |failed: Failed| (trouble::unreached(&failed.error), failed.why);
        let guarded =
            Guarded::pass(self.upstreams.as_ref(), &target.host, target.port).map_err(told)?;
        let place = line.enter(way.connections).await;
        let dial = Dial {
            access: self,
            target,
            reach: way.reach,
            ca_file: way.ca_file.as_deref(),
            within: way.within,
        };
        let socket = match dial.dial(line).await {
            Ok(socket) => {
                guarded.came(Ok(0));
                socket
            }
            Err(failed) => {
                guarded.came(Err(&failed.error));
                return Err(told(failed));
            }
        };
        let unusable = |error: std::io::Error| (Unreached::Unavailable, error.to_string());
        let socket = socket.into_std().map_err(unusable)?;
        let roots = match target.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let roots = self.outbound.trust.roots(way.ca_file.as_deref()).await;
                let unknown =
                    |error| (Unreached::NoCertificates, format!("no certificates: {error}"));
                Some(roots.map_err(unknown)?)
            }
        };
        Ok(Lending { socket, place, roots })
    }
}

impl fmt::Debug for HttpAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            By::Own { plugin, tenant, .. } => write!(f, "HttpAccess({plugin} for {tenant})"),
            By::Host(_) => f.write_str("HttpAccess(by the host)"),
        }
    }
}
