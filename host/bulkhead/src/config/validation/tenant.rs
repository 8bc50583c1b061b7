//! What the configuration says of the plugins that tenants bring.

use std::collections::BTreeSet;
use std::time::Duration;

use bulkhead_core::TenantName;

use super::{Check, DAY, GIB};
use crate::config::raw::{RawTenantSection, RawTenantTrust};
use crate::plugins::{EVERY, PluginQuota, PluginSettings, Sharing, TenantPlugins};
use crate::trust::{SaidTrust, TrustPolicy};

/// Most tenants with whom one plugin is shared by name.
const MAX_SHARED_WITH: usize = 1_000;

impl Check<'_> {
    /// What `[tenants.TENANT]` says of plugins.
    pub(super) fn tenant_plugins(&mut self, tenant: &str, raw: &RawTenantSection) -> TenantPlugins {
        let key = |key: &'static str| ["tenants", tenant, key];
        let grants_from = raw.grants_from.as_deref();
        let grants_from = grants_from.map(|said| self.grants_from(&key("grants_from"), said));
        let quota = PluginQuota {
            files: raw.plugins.inspect(|files| self.within(&key("plugins"), *files, 0..=1_000)),
            bytes: raw
                .plugin_bytes
                .map(|bytes| self.size(&key("plugin_bytes"), bytes, 0..=1_024 * GIB)),
            compile_per_hour: raw
                .compile_time_per_hour
                .map(|time| self.span(&key("compile_time_per_hour"), time, Duration::ZERO..=DAY)),
        };
        let grants = self.grants(&key("grants"), &raw.grants);
        let trust = self.tenant_trust(tenant, &raw.trust);
        let mut said =
            TenantPlugins { grants_from, trust, grants, quota, ..TenantPlugins::default() };
        if tenant == EVERY && !raw.share.is_empty() {
            self.problem(&key("share"), "a plugin is shared by its own tenant's section");
        }
        for (plugin, with) in &raw.share {
            let path = ["tenants", tenant, "share", plugin.as_str()];
            self.name(&path, "plugin's name", plugin);
            let sharing = self.shared_with(&path, with);
            drop(said.share.insert(plugin.clone(), sharing));
        }
        said
    }

    fn shared_with(&mut self, path: &[&str], with: &[String]) -> Sharing {
        if with == [EVERY] {
            return Sharing::Everyone;
        }
        if with.len() > MAX_SHARED_WITH {
            self.problem(path, format!("{} tenants; at most {MAX_SHARED_WITH}", with.len()));
        }
        if with.iter().any(|tenant| tenant == EVERY) {
            self.problem(path, "`*` stands for all tenants and is the only one then");
            return Sharing::With(BTreeSet::new());
        }
        let tenants = with.iter().filter_map(|tenant| self.parsed::<TenantName>(path, tenant));
        Sharing::With(tenants.collect())
    }

    fn tenant_trust(&mut self, tenant: &str, raw: &RawTenantTrust) -> SaidTrust {
        let key = |key: &'static str| ["tenants", tenant, "trust", key];
        let policy = raw.policy.as_deref();
        SaidTrust {
            policy: policy.and_then(|said| self.parsed::<TrustPolicy>(&key("policy"), said)),
            pins: self.trusted_pins(&key("pins"), &raw.pins),
            keys: self.trusted_keys(&key("keys"), &raw.keys),
        }
    }

    /// Where a tenant's files have to be signed there is somebody who can.
    pub(super) fn signed_by_somebody(&mut self, tenant: &TenantName, settings: &PluginSettings) {
        let trust = settings.trust(Some(tenant));
        let said = settings.tenants.get(tenant).is_some_and(|said| said.trust.policy.is_some());
        if said && trust.policy == TrustPolicy::Signed && trust.keys.is_empty() {
            let path = ["tenants", tenant.as_str(), "trust", "policy"];
            self.problem(&path, "it is `signed`, and no key is trusted");
        }
    }
}
