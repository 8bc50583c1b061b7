//! What stands behind the capabilities of this host's plugins.
//!
//! A capability is offered to plugins if it has something behind it; each attempt gets its
//! plugin's and tenant's part of it, and only of what its plugin uses.

use std::sync::Arc;

use bulkhead_core::{PluginName, TenantName};
use bulkhead_queue::{Broker, KvOwner, KvQuota};
use bulkhead_sandbox::{CapabilitySet, KvSpace, Outbound, Plugin, Services};
use tokio::runtime::Handle as Runtime;

use super::values::BrokerValues;
use crate::plugins::LiveSettings;
use crate::secrets::Secrets;

/// The capabilities that a host has something behind.
#[must_use]
pub fn offers() -> CapabilitySet {
    CapabilitySet {
        kv: true,
        http: true,
        config: true,
        secrets: true,
        enqueue: true,
        ..CapabilitySet::default()
    }
}

/// What a host has behind the capabilities.
pub(crate) struct Backends {
    settings: LiveSettings,
    broker: Arc<dyn Broker>,
    /// The runtime on which the broker's connections live.
    control: Runtime,
    outbound: Arc<Outbound>,
    secrets: Secrets,
}

impl Backends {
    /// Called on the control side, where the broker's connections live.
    pub(crate) fn new(settings: LiveSettings, broker: Arc<dyn Broker>) -> Self {
        let control = Runtime::current();
        let secrets = Secrets::new(settings.clone(), broker.clone(), control.clone());
        Self { settings, broker, control, outbound: Outbound::new(), secrets }
    }

    /// What an attempt of a plugin for a tenant may use.
    pub(crate) fn services(&self, plugin: &Plugin, tenant: &TenantName) -> Services {
        let uses = plugin.uses();
        if uses.is_empty() {
            return Services::default();
        }
        Services {
            kv: uses.kv.then(|| self.values(plugin, tenant)).flatten(),
            config: uses.config.then(|| self.settings.values(plugin.name(), tenant)),
            http: uses.http.then(|| self.outbound.access(plugin.name(), tenant)),
            secrets: uses.secrets.then(|| self.secrets.of(tenant)),
            ..Services::default()
        }
    }

    /// The plugin's values for the tenant. A file whose stem is no name has none.
    fn values(&self, plugin: &Plugin, tenant: &TenantName) -> Option<Arc<dyn KvSpace>> {
        let grant = plugin.manifest().grants.kv?;
        let plugin = PluginName::new(plugin.name()).ok()?;
        Some(Arc::new(BrokerValues {
            broker: self.broker.clone(),
            control: self.control.clone(),
            owner: KvOwner { tenant: tenant.clone(), plugin },
            quota: KvQuota {
                keys: grant.keys,
                total_bytes: grant.total_bytes,
                storage_bytes: self.settings.now().storage_bytes(tenant),
            },
        }))
    }
}
