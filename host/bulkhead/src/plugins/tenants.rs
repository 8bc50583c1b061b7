//! What the operator's configuration says of the plugins that tenants bring: `[tenants.T]`, and
//! `[tenants."*"]` for whatever a tenant's own section leaves open.
//!
//! Nothing that lies in a tenant's folder can widen any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bulkhead_core::TenantName;

use super::settings::{GrantsFrom, PluginSettings};
use crate::grants::SaidGrants;
use crate::trust::{SaidTrust, Trust};

/// The name that stands for each plugin, or each tenant.
pub const EVERY: &str = "*";

/// What is said of one tenant's own plugins, or of each tenant's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TenantPlugins {
    /// Whether its manifests' word on grants counts.
    pub grants_from: Option<GrantsFrom>,
    /// Which files are trusted.
    pub trust: SaidTrust,
    /// Grants by plugin; [`EVERY`] for each of them.
    pub grants: BTreeMap<String, SaidGrants>,
    /// With whom its plugins are shared, by plugin.
    pub share: BTreeMap<String, Sharing>,
    /// How much it may have.
    pub quota: PluginQuota,
}

/// With whom a tenant's plugin is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// With every tenant.
    Everyone,
    /// With these.
    With(BTreeSet<TenantName>),
}

/// How much a tenant may have in its plugin folder; nothing said is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PluginQuota {
    /// Files.
    pub files: Option<u64>,
    /// Bytes of all of them.
    pub bytes: Option<u64>,
    /// Time of compiling them in an hour.
    pub compile_per_hour: Option<Duration>,
}

impl PluginSettings {
    /// What is said of a tenant's plugins: its own section, then every tenant's.
    fn said(&self, tenant: &TenantName) -> impl Iterator<Item = &TenantPlugins> {
        self.tenants.get(tenant).into_iter().chain([&self.other_tenants])
    }

    /// What the configuration grants a tenant's plugin, capability by capability, and whether
    /// its manifest may say the rest.
    pub(super) fn tenant_grants(&self, tenant: &TenantName, plugin: &str) -> (SaidGrants, bool) {
        let mut grants = SaidGrants::default();
        for said in self.said(tenant) {
            for name in [plugin, EVERY] {
                grants = grants.over(said.grants.get(name).cloned().unwrap_or_default());
            }
        }
        (grants, self.heeds_manifests(tenant))
    }

    /// Whether what a tenant's manifests grant counts.
    #[must_use]
    pub fn heeds_manifests(&self, tenant: &TenantName) -> bool {
        self.said(tenant).find_map(|said| said.grants_from) == Some(GrantsFrom::Manifest)
    }

    /// What is trusted of the operator's files, or of a tenant's: of the policy, of the pins of
    /// one plugin and of the keys each time what is said closest to the tenant.
    #[must_use]
    pub fn trust(&self, owner: Option<&TenantName>) -> Trust {
        let Some(tenant) = owner else { return self.trust.clone() };
        let mut trust = Trust { tenant: Some(tenant.clone()), ..self.trust.clone() };
        let said: Vec<_> = self.said(tenant).map(|said| &said.trust).collect();
        for said in said.into_iter().rev() {
            said.put_over(&mut trust);
        }
        trust
    }

    /// With whom a tenant's plugin is shared, if with anybody.
    #[must_use]
    pub fn sharing(&self, owner: &TenantName, plugin: &str) -> Option<&Sharing> {
        self.tenants.get(owner)?.share.get(plugin)
    }

    /// How much a tenant may have.
    #[must_use]
    pub fn plugin_quota(&self, tenant: &TenantName) -> PluginQuota {
        let first = |of: fn(&PluginQuota) -> Option<u64>| {
            self.said(tenant).find_map(|said| of(&said.quota))
        };
        PluginQuota {
            files: first(|quota| quota.files),
            bytes: first(|quota| quota.bytes),
            compile_per_hour: self.said(tenant).find_map(|said| said.quota.compile_per_hour),
        }
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_core::Digest;

    use super::*;
    use crate::plugins::Identity;
    use crate::trust::{SecretKey, TrustPolicy};

    fn tenant(name: &str) -> TenantName {
        TenantName::new(name).unwrap()
    }

    fn grants(text: &str) -> SaidGrants {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn grants_are_the_operators_word_the_closest_first() {
        let mut settings = PluginSettings::default();
        settings
            .grants
            .insert("resize".into(), grants("config = true\nenqueue = { types = [\"*\"] }"));
        settings
            .other_tenants
            .grants
            .insert(EVERY.into(), grants("kv = { keys = 1 }\nconfig = true"));
        let own = TenantPlugins {
            grants: BTreeMap::from([
                (EVERY.into(), grants("kv = { keys = 2 }")),
                ("resize".into(), grants("kv = { keys = 3 }")),
            ]),
            ..TenantPlugins::default()
        };
        settings.tenants.insert(tenant("acme"), own);
        let keys = |owner: &str, name: &str, manifest: &str| {
            let id = Identity::of(Some(&tenant(owner)), name);
            let granted = settings.grants(&id, grants(manifest));
            assert!(granted.config && granted.enqueue.is_none(), "{id}: {granted:?}");
            granted.kv.map(|kv| kv.keys)
        };
        assert_eq!(keys("acme", "resize", "kv = { keys = 9 }"), Some(3));
        assert_eq!(keys("acme", "crop", ""), Some(2));
        assert_eq!(keys("globex", "resize", ""), Some(1));
        assert_eq!(settings.grants(&"crop".into(), grants("")), Default::default());
    }

    #[test]
    fn a_tenants_manifest_counts_only_where_the_operator_says_so() {
        let mut settings = PluginSettings::default();
        let id = Identity::of(Some(&tenant("acme")), "a");
        let manifest = || grants("kv = true\nconfig = true");
        assert_eq!(settings.grants(&id, manifest()), Default::default());
        settings.other_tenants.grants_from = Some(GrantsFrom::Manifest);
        assert!(settings.grants(&id, manifest()).config);
        let own = TenantPlugins {
            grants_from: Some(GrantsFrom::Configuration),
            ..TenantPlugins::default()
        };
        settings.tenants.insert(tenant("acme"), own);
        assert!(!settings.grants(&id, manifest()).config);
    }

    #[test]
    fn trust_is_said_part_by_part_and_one_tenants_key_is_no_others() {
        let key = |seed: u8| SecretKey::from_random(&[seed; 32]);
        let mut settings = PluginSettings::default();
        settings.trust.keys.insert("release".into(), key(1).public());
        settings.trust.pins.insert("mail".into(), vec![Digest([1; 32])]);
        settings.other_tenants.trust.policy = Some(TrustPolicy::PinnedOrSigned);
        let own = TenantPlugins {
            trust: SaidTrust {
                policy: Some(TrustPolicy::Signed),
                pins: BTreeMap::new(),
                keys: BTreeMap::from([("acme".into(), key(2).public())]),
            },
            ..TenantPlugins::default()
        };
        settings.tenants.insert(tenant("acme"), own);
        let judge = |owner: &str, signed: Option<u8>| {
            let owner = (owner != "-").then(|| tenant(owner));
            let signature = signed.map(|seed| key(seed).sign("mail", Digest([1; 32])));
            let trust = settings.trust(owner.as_ref());
            trust.judge("mail", Digest([1; 32]), signature.as_deref()).map(|by| by.to_string())
        };
        assert!(judge("-", None).is_ok(), "the operator's policy is any");
        assert_eq!(judge("acme", Some(2)), Ok("the signature of `acme`".into()));
        assert!(judge("acme", Some(1)).is_err(), "its own keys stand for the operator's");
        assert_eq!(judge("globex", None), Ok("its pin".into()));
        let why = judge("acme", None).unwrap_err();
        assert!(why.contains("`tenants.acme.trust.policy` is `signed`"), "{why}");
    }

    #[test]
    fn quotas_are_a_tenants_own_or_every_others() {
        let mut settings = PluginSettings::default();
        assert_eq!(settings.plugin_quota(&tenant("a")), PluginQuota::default());
        let hour = Some(Duration::from_secs(60));
        settings.other_tenants.quota =
            PluginQuota { files: Some(3), bytes: None, compile_per_hour: hour };
        let quota = PluginQuota { files: Some(9), bytes: Some(5), compile_per_hour: None };
        let own = TenantPlugins { quota, ..TenantPlugins::default() };
        settings.tenants.insert(tenant("a"), own);
        let wanted = PluginQuota { files: Some(9), bytes: Some(5), compile_per_hour: hour };
        assert_eq!(settings.plugin_quota(&tenant("a")), wanted);
        assert_eq!(settings.plugin_quota(&tenant("b")).files, Some(3));
    }
}
