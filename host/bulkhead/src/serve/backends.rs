//! What stands behind the capabilities of this host's plugins.
//!
//! A capability is offered to plugins if it has something behind it; each attempt gets its
//! plugin's and tenant's part of it, and only of what its plugin uses.

use std::sync::Arc;

use bulkhead_core::TenantName;
use bulkhead_queue::Broker;
use bulkhead_sandbox::{CapabilitySet, Plugin, Services};

use crate::plugins::LiveSettings;
use crate::secrets::Secrets;

/// The capabilities that a host has something behind.
#[must_use]
pub fn offers() -> CapabilitySet {
    CapabilitySet { config: true, secrets: true, ..CapabilitySet::default() }
}

/// What a host has behind the capabilities.
pub(crate) struct Backends {
    settings: LiveSettings,
    secrets: Secrets,
}

impl Backends {
    /// Called on the control side, where the broker's connections live.
    pub(crate) fn new(settings: LiveSettings, broker: Arc<dyn Broker>) -> Self {
        let control = tokio::runtime::Handle::current();
        Self { secrets: Secrets::new(settings.clone(), broker, control), settings }
    }

    /// What an attempt of a plugin for a tenant may use.
    pub(crate) fn services(&self, plugin: &Plugin, tenant: &TenantName) -> Services {
        let uses = plugin.uses();
        if uses.is_empty() {
            return Services::default();
        }
        Services {
            config: uses.config.then(|| self.settings.values(plugin.name(), tenant)),
            secrets: uses.secrets.then(|| self.secrets.of(tenant)),
            ..Services::default()
        }
    }
}
