//! What stands behind the capabilities of this host's plugins.
//!
//! A capability is offered to plugins if it has something behind it; each attempt gets its
//! plugin's and tenant's part of it, and only of what its plugin uses.

use std::sync::Arc;

use bulkhead_core::TenantName;
use bulkhead_sandbox::{CapabilitySet, Outbound, Plugin, Services};

use crate::plugins::LiveSettings;

/// The capabilities that a host has something behind.
#[must_use]
pub fn offers() -> CapabilitySet {
    CapabilitySet { config: true, http: true, ..CapabilitySet::default() }
}

/// What a host has behind the capabilities.
pub(crate) struct Backends {
    settings: LiveSettings,
    outbound: Arc<Outbound>,
}

impl Backends {
    pub(crate) fn new(settings: LiveSettings) -> Self {
        Self { settings, outbound: Outbound::new() }
    }

    /// What an attempt of a plugin for a tenant may use.
    pub(crate) fn services(&self, plugin: &Plugin, tenant: &TenantName) -> Services {
        let uses = plugin.uses();
        if uses.is_empty() {
            return Services::default();
        }
        Services {
            config: uses.config.then(|| self.settings.values(plugin.name(), tenant)),
            http: uses.http.then(|| self.outbound.access(plugin.name(), tenant)),
            ..Services::default()
        }
    }
}
