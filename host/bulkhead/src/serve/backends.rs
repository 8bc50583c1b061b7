//! What stands behind the capabilities of this host's plugins.
//!
//! A capability is offered to plugins if it has something behind it; each attempt gets its
//! plugin's and tenant's part of it, and only of what its plugin uses.

use std::time::Duration;

use bulkhead_core::TenantName;
use bulkhead_sandbox::{CapabilitySet, Plugin, ScratchHome, Services};

use crate::HostOptions;
use crate::plugins::LiveSettings;

/// How long a host that stops waits for scratch folders to be removed. What is left then goes
/// at the next start.
const TIDY_WITHIN: Duration = Duration::from_secs(5);

/// The capabilities that a host has something behind.
#[must_use]
pub fn offers() -> CapabilitySet {
    CapabilitySet { config: true, fs: true, ..CapabilitySet::default() }
}

/// What a host has behind the capabilities.
pub(crate) struct Backends {
    settings: LiveSettings,
    scratch: ScratchHome,
}

impl Backends {
    pub(crate) fn new(options: &HostOptions) -> Self {
        // While an attempt's folder is being removed, the next one may have its own.
        let folders = options.concurrency.saturating_mul(2);
        let scratch = ScratchHome::new(options.scratch_dir.clone(), folders);
        Self { settings: options.settings.clone(), scratch }
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

    /// What an attempt of a plugin for a tenant may use.
    pub(crate) fn services(&self, plugin: &Plugin, tenant: &TenantName) -> Services {
        let uses = plugin.uses();
        if uses.is_empty() {
            return Services::default();
        }
        Services {
            scratch: uses.fs.then(|| self.scratch.clone()),
            config: uses.config.then(|| self.settings.values(plugin.name(), tenant)),
            ..Services::default()
        }
    }
}
