//! What stands behind the capabilities of this host's plugins.
//!
//! A capability is offered to plugins if it has something behind it; each attempt gets its
//! plugin's and tenant's part of it, and only of what its plugin uses.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::TenantName;
use bulkhead_queue::{Broker, KvOwner, KvQuota};
use bulkhead_sandbox::{
    CapabilitySet, ConfigSource, KvSpace, Outbound, ScratchHome, SecretSource, Services,
};
use tokio::runtime::Handle as Runtime;

use super::calls::{Counted, Notes, Watched};
use super::values::BrokerValues;
use crate::HostOptions;
use crate::metrics::Metrics;
use crate::plugins::{LiveSettings, Serving};
use crate::secrets::Secrets;

/// How long a host that stops waits for scratch folders to be removed. What is left then goes
/// at the next start.
const TIDY_WITHIN: Duration = Duration::from_secs(5);

/// The capabilities that a host has something behind.
#[must_use]
pub fn offers() -> CapabilitySet {
    CapabilitySet::ALL
}

/// What a host has behind the capabilities.
pub(crate) struct Backends {
    settings: LiveSettings,
    broker: Arc<dyn Broker>,
    /// The runtime on which the broker's connections live.
    control: Runtime,
    outbound: Arc<Outbound>,
    secrets: Secrets,
    scratch: ScratchHome,
    calls: Arc<Counted>,
}

impl Backends {
    /// Called on the control side, where the broker's connections live.
    pub(crate) fn new(options: &HostOptions, broker: Arc<dyn Broker>, metrics: &Metrics) -> Self {
        let (control, settings) = (Runtime::current(), options.settings.clone());
        let secrets = Secrets::new(settings.clone(), broker.clone(), control.clone());
        // While an attempt's folder is being removed, the next one may have its own.
        let folders = options.concurrency.saturating_mul(2);
        let scratch = ScratchHome::new(options.scratch_dir.clone(), folders);
        let calls = Counted::new(metrics);
        Self { settings, broker, control, outbound: Outbound::new(), secrets, scratch, calls }
    }

    /// Remove what killed hosts left. Trouble with it does not keep this one from serving.
    pub(crate) async fn sweep(&self) {
        let scratch = self.scratch.clone();
        match tokio::task::spawn_blocking(move || scratch.sweep()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(hosts)) => tracing::info!(hosts, "removed scratch folders of killed hosts"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot look for scratch folders left behind"),
            Err(error) => tracing::warn!(%error, "looking for scratch folders left behind failed"),
        }
    }

    /// Let the removing of scratch folders end.
    pub(crate) async fn tidied(&self) {
        if tokio::time::timeout(TIDY_WITHIN, self.scratch.emptied()).await.is_err() {
            tracing::warn!("scratch folders are left; the next host to start removes them");
        }
    }

    /// What an attempt of a plugin for a tenant may use. Its calls go to `notes`, if somebody
    /// wants to know of them.
    pub(crate) fn services(
        &self,
        serving: &Serving,
        tenant: &TenantName,
        notes: Option<&Arc<Notes>>,
    ) -> Services {
        let uses = serving.plugin.uses();
        if uses.is_empty() {
            return Services::default();
        }
        let calls = self.calls.observer(notes);
        let kv = uses.kv.then(|| self.values(serving, tenant)).flatten();
        let config = uses.config.then(|| self.settings.values(&serving.shown, tenant));
        let secrets = uses.secrets.then(|| self.secrets.of(tenant));
        let http = uses.http.then(|| self.outbound.access(&serving.shown, tenant));
        Services {
            kv: kv
                .map(|inner| Arc::new(Watched { calls: calls.clone(), inner }) as Arc<dyn KvSpace>),
            scratch: uses.fs.then(|| self.scratch.clone()),
            config: config.map(|inner| {
                Arc::new(Watched { calls: calls.clone(), inner }) as Arc<dyn ConfigSource>
            }),
            http: http.map(|access| access.observed(calls.clone())),
            secrets: secrets.map(|inner| {
                Arc::new(Watched { calls: calls.clone(), inner }) as Arc<dyn SecretSource>
            }),
            calls: Some(calls),
        }
    }

    /// The plugin's values for the tenant. A file whose stem is no name has none.
    fn values(&self, serving: &Serving, tenant: &TenantName) -> Option<Arc<dyn KvSpace>> {
        let grant = serving.plugin.manifest().grants.kv?;
        let plugin = serving.id.clone()?;
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
