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

use std::fmt;
use std::sync::Arc;

use bulkhead_core::TenantName;

pub(crate) use body::{Flow, Upload};
pub(crate) use exchange::{Order, Waits, send, size_of_headers};
pub use resolve::{Resolver, SystemResolver};

use places::{Line, Lines};
use resolve::Lookups;
use trust::Trust;

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
            plugin: plugin.into(),
            tenant: tenant.clone(),
            line: self.lines.of(tenant),
        }
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
    plugin: Arc<str>,
    tenant: TenantName,
    line: Arc<Line>,
}

impl HttpAccess {
    /// Tell the operator why a request was not answered. `to` is a scheme, host and port that
    /// were checked, or nothing: paths, queries and headers may hold secrets.
    pub(crate) fn note(&self, to: &dyn fmt::Display, why: &dyn fmt::Display) {
        tracing::debug!(tenant = %self.tenant, plugin = %self.plugin, %to, "a request failed: {why}");
    }
}

impl fmt::Debug for HttpAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpAccess({} for {})", self.plugin, self.tenant)
    }
}
