//! What the operator's configuration says of plugins: grants, and the values and secrets
//! that they may ask for. It may change while a host runs; whoever asks gets what holds now.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_core::TenantName;
use bulkhead_sandbox::{ConfigSource, Grants};
use tokio::sync::watch;

use super::identity::Identity;
use super::tenants::TenantPlugins;
use crate::grants::SaidGrants;
use crate::secrets::SecretSettings;
use crate::trust::Trust;

/// Whose word on grants counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GrantsFrom {
    /// The manifest's and the configuration's; of one capability, the configuration's.
    #[default]
    Manifest,
    /// Only the configuration's: manifests grant nothing.
    Configuration,
}

/// Values by key.
pub type Values = BTreeMap<String, String>;

/// What a configuration says of plugins, by their names; the operator's unless said otherwise.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PluginSettings {
    /// Whose word on grants counts.
    pub grants_from: GrantsFrom,
    /// Which files it trusts.
    pub trust: Trust,
    /// What it grants.
    pub grants: BTreeMap<String, SaidGrants>,
    /// Values for whatever tenant, by plugin; those of a tenant's plugin under `OWNER/NAME`.
    pub values: BTreeMap<String, Values>,
    /// Values for one tenant, which count first.
    pub tenant_values: BTreeMap<TenantName, BTreeMap<String, Values>>,
    /// Bytes that plugins may store for one tenant, over all of them.
    pub tenant_storage: BTreeMap<TenantName, u64>,
    /// The same for each tenant that has no bound of its own.
    pub other_storage: Option<u64>,
    /// Where secrets are.
    pub secrets: Arc<SecretSettings>,
    /// What it says of plugins that one tenant brings.
    pub tenants: BTreeMap<TenantName, TenantPlugins>,
    /// The same for each tenant, where its own section says nothing.
    pub other_tenants: TenantPlugins,
}

impl PluginSettings {
    /// What a plugin is granted, whose manifest says this.
    #[must_use]
    pub fn grants(&self, plugin: &Identity, manifest: SaidGrants) -> Grants {
        let (said, heeds_manifest) = match &plugin.owner {
            Some(tenant) => self.tenant_grants(tenant, &plugin.name),
            None => {
                let said = self.grants.get(&plugin.name).cloned().unwrap_or_default();
                (said, self.grants_from == GrantsFrom::Manifest)
            }
        };
        if heeds_manifest { said.over(manifest).granted() } else { said.granted() }
    }

    /// Bytes that plugins may store for a tenant, over all of them; none for no such bound.
    #[must_use]
    pub fn storage_bytes(&self, tenant: &TenantName) -> Option<u64> {
        self.tenant_storage.get(tenant).copied().or(self.other_storage)
    }

    /// A plugin's value of a key for a tenant. The plugin is named as [`Identity`] writes it.
    #[must_use]
    pub fn value(&self, plugin: &str, tenant: &TenantName, key: &str) -> Option<&str> {
        let own = self.tenant_values.get(tenant).and_then(|plugins| plugins.get(plugin)?.get(key));
        own.or_else(|| self.values.get(plugin)?.get(key)).map(String::as_str)
    }
}

/// The settings as they are now.
#[derive(Debug, Clone)]
pub struct LiveSettings(watch::Receiver<Arc<PluginSettings>>);

/// Changes [`LiveSettings`].
#[derive(Debug)]
pub struct SettingsWriter(watch::Sender<Arc<PluginSettings>>);

impl LiveSettings {
    /// Settings that somebody may change.
    #[must_use]
    pub fn new(settings: PluginSettings) -> (SettingsWriter, Self) {
        let (writer, live) = watch::channel(Arc::new(settings));
        (SettingsWriter(writer), Self(live))
    }

    /// Settings that stay as they are.
    #[must_use]
    pub fn fixed(settings: PluginSettings) -> Self {
        Self::new(settings).1
    }

    /// What holds now.
    #[must_use]
    pub fn now(&self) -> Arc<PluginSettings> {
        self.0.borrow().clone()
    }

    /// Wait until something else holds than at the last time.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could change them.
            std::future::pending::<()>().await;
        }
    }

    /// The values of one plugin for one tenant.
    pub(crate) fn values(&self, plugin: &str, tenant: &TenantName) -> Arc<dyn ConfigSource> {
        let (plugin, tenant) = (plugin.to_owned(), tenant.clone());
        Arc::new(PluginValues { live: self.clone(), plugin, tenant })
    }
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self::fixed(PluginSettings::default())
    }
}

impl SettingsWriter {
    /// From now on this holds. Whether it is anything new.
    pub fn replace(&self, settings: PluginSettings) -> bool {
        self.0.send_if_modified(|current| {
            let new = **current != settings;
            if new {
                *current = Arc::new(settings);
            }
            new
        })
    }
}

/// The values of one plugin for one tenant.
struct PluginValues {
    live: LiveSettings,
    plugin: String,
    tenant: TenantName,
}

impl ConfigSource for PluginValues {
    fn get(&self, key: &str) -> Option<String> {
        self.live.0.borrow().value(&self.plugin, &self.tenant, key).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn acme() -> TenantName {
        TenantName::new("acme").unwrap()
    }

    #[test]
    fn a_tenants_own_value_counts_first_and_a_change_is_seen_at_once() {
        let mut settings = PluginSettings::default();
        settings.values.insert("mail".into(), values(&[("from", "us"), ("to", "all")]));
        settings.values.insert("other".into(), values(&[("secret", "theirs")]));
        let own = BTreeMap::from([("mail".into(), values(&[("from", "acme")]))]);
        settings.tenant_values.insert(acme(), own);
        let (writer, live) = LiveSettings::new(settings.clone());
        let source = live.values("mail", &acme());
        assert_eq!(source.get("from").as_deref(), Some("acme"));
        assert_eq!(source.get("to").as_deref(), Some("all"));
        assert_eq!(source.get("secret"), None, "another plugin's");
        let others = live.values("mail", &TenantName::default());
        assert_eq!(others.get("from").as_deref(), Some("us"));
        settings.tenant_values.clear();
        assert!(writer.replace(settings.clone()));
        assert!(!writer.replace(settings), "nothing new");
        assert_eq!(source.get("from").as_deref(), Some("us"));
    }

    #[test]
    fn manifests_grant_nothing_where_only_the_configuration_counts() {
        let manifest: SaidGrants = toml::from_str("kv = true\nconfig = true").unwrap();
        let configured: SaidGrants = toml::from_str("kv = false").unwrap();
        let mut settings = PluginSettings::default();
        assert!(settings.grants(&"a".into(), manifest.clone()).kv.is_some());
        settings.grants.insert("a".into(), configured);
        let granted = settings.grants(&"a".into(), manifest.clone());
        assert!(granted.kv.is_none() && granted.config);
        settings.grants_from = GrantsFrom::Configuration;
        assert!(!settings.grants(&"a".into(), manifest.clone()).config);
        assert_eq!(settings.grants(&"b".into(), manifest), Grants::default());
    }
}
