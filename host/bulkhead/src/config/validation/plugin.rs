//! What the configuration says of plugins: grants and values.

use std::collections::BTreeMap;

use bulkhead_core::{Digest, PluginId, TenantName};
use bulkhead_sandbox::CacheFolder;

use super::{Check, GIB, MIB};
use crate::config::raw::{Raw, RawPlugins, RawTrust, RawValues};
use crate::grants::SaidGrants;
use crate::plugins::{EVERY, GrantsFrom, PluginSettings, Values};
use crate::trust::{PublicKey, Trust, TrustPolicy};

/// Most pins of one plugin, and most keys.
const MAX_TRUSTED: usize = 256;

/// Bytes of all keys and values of one plugin.
const MAX_VALUES_BYTES: usize = 1 << 20;

/// Longest key of a value, in bytes.
const MAX_KEY_BYTES: usize = 256;

impl Check<'_> {
    pub(super) fn plugin_settings(&mut self, raw: &Raw) -> PluginSettings {
        let grants_from = self.grants_from(&["plugins", "grants_from"], &raw.plugins.grants_from);
        let trust = self.trust(&raw.plugins.trust);
        let mut settings = PluginSettings { grants_from, trust, ..PluginSettings::default() };
        settings.grants = self.grants(&["grants"], &raw.grants);
        settings.values = self.values(&["config"], &raw.config);
        for (tenant, section) in &raw.tenants {
            let storage = section
                .storage
                .map(|storage| self.size(&["tenants", tenant, "storage"], storage, 0..=1024 * GIB));
            let path = ["tenants", tenant.as_str(), "config"];
            let said = self.tenant_plugins(tenant, section);
            if tenant == EVERY {
                settings.other_storage = storage;
                settings.other_tenants = said;
                if !section.config.is_empty() {
                    self.problem(&path, "values for every tenant are those of `[config.NAME]`");
                }
                continue;
            }
            let values = self.values(&path, &section.config);
            if let Some(tenant) = self.parsed::<TenantName>(&["tenants", tenant], tenant) {
                settings.tenant_storage.extend(storage.map(|storage| (tenant.clone(), storage)));
                settings.tenants.insert(tenant.clone(), said);
                settings.tenant_values.insert(tenant, values);
            }
        }
        for tenant in raw.tenants.keys().filter_map(|tenant| TenantName::new(tenant).ok()) {
            self.signed_by_somebody(&tenant, &settings);
        }
        settings
    }

    pub(super) fn grants_from(&mut self, path: &[&str], said: &str) -> GrantsFrom {
        match said {
            "manifest" => GrantsFrom::Manifest,
            "configuration" => GrantsFrom::Configuration,
            other => {
                let message =
                    format!("`{}` is neither `manifest` nor `configuration`", other.escape_debug());
                self.problem(path, message);
                GrantsFrom::default()
            }
        }
    }

    /// Grants by plugin.
    pub(super) fn grants(
        &mut self,
        path: &[&str],
        raw: &BTreeMap<String, serde_json::Value>,
    ) -> BTreeMap<String, SaidGrants> {
        let mut grants = BTreeMap::new();
        for (plugin, said) in raw {
            let path: Vec<&str> = path.iter().copied().chain([plugin.as_str()]).collect();
            // The name for each plugin is one among a tenant's only.
            if path.len() < 4 || plugin != EVERY {
                self.name(&path, "plugin's name", plugin);
            }
            let folders: Vec<&str> = path.iter().copied().chain(["fs"]).collect();
            let base = self.path(&folders, "");
            let said = self.said(&path, said);
            drop(grants.insert(plugin.clone(), said.beneath(&base)));
        }
        grants
    }

    /// What a table says of one plugin. Each key is read by itself, so that what is wrong is said
    /// of that key and of where it was set.
    fn said(&mut self, path: &[&str], table: &serde_json::Value) -> SaidGrants {
        let mut whole = SaidGrants::default();
        let mut read = |path: &[&str], table: serde_json::Value| match serde_json::from_value(table)
        {
            Ok(said) => whole = SaidGrants::over(said, std::mem::take(&mut whole)),
            Err(error) => self.problem(path, error),
        };
        match table {
            serde_json::Value::Object(keys) => {
                for (key, value) in keys {
                    let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                    read(&path, serde_json::json!({ key: value }));
                }
            }
            other => read(path, other.clone()),
        }
        whole
    }

    /// Where compiled plugins are kept, if anywhere.
    pub(super) fn cache(&mut self, plugins: &RawPlugins) -> Option<CacheFolder> {
        let max_bytes =
            self.size(&["plugins", "cache_size"], plugins.cache_size, MIB..=1_024 * GIB);
        let folder = plugins.cache_dir.as_ref().filter(|folder| !folder.is_empty())?;
        let folder = self.path(&["plugins", "cache_dir"], folder);
        if folder.file_name().is_none() {
            self.problem(&["plugins", "cache_dir"], "it has no name; the key lies beside it");
        }
        Some(CacheFolder { folder, max_bytes })
    }

    fn trust(&mut self, raw: &RawTrust) -> Trust {
        let mut trust = Trust::default();
        if let Some(policy) =
            self.parsed::<TrustPolicy>(&["plugins", "trust", "policy"], &raw.policy)
        {
            trust.policy = policy;
        }
        trust.pins = self.trusted_pins(&["plugins", "trust", "pins"], &raw.pins);
        trust.keys = self.trusted_keys(&["plugins", "trust", "keys"], &raw.keys);
        if trust.policy == TrustPolicy::Signed && raw.keys.is_empty() {
            self.problem(&["plugins", "trust", "policy"], "it is `signed`, and no key is trusted");
        }
        trust
    }

    pub(super) fn trusted_pins(
        &mut self,
        path: &[&str],
        raw: &BTreeMap<String, serde_json::Value>,
    ) -> BTreeMap<String, Vec<Digest>> {
        let mut all = BTreeMap::new();
        for (plugin, pins) in raw {
            let path: Vec<&str> = path.iter().copied().chain([plugin.as_str()]).collect();
            self.name(&path, "plugin's name", plugin);
            match read_pins(pins) {
                Ok(pins) => drop(all.insert(plugin.clone(), pins)),
                Err(message) => self.problem(&path, message),
            }
        }
        all
    }

    pub(super) fn trusted_keys(
        &mut self,
        path: &[&str],
        raw: &BTreeMap<String, String>,
    ) -> BTreeMap<String, PublicKey> {
        let mut keys = BTreeMap::new();
        for (name, key) in raw {
            let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
            if let Some(key) = self.parsed::<PublicKey>(&path, key) {
                keys.insert(name.clone(), key);
            }
        }
        if keys.len() > MAX_TRUSTED {
            self.problem(path, format!("at most {MAX_TRUSTED} keys can be trusted"));
        }
        keys
    }

    fn values(&mut self, path: &[&str], raw: &RawValues) -> BTreeMap<String, Values> {
        for (plugin, values) in raw {
            let path: Vec<&str> = path.iter().copied().chain([plugin.as_str()]).collect();
            // A tenant's plugin is another than the operator's of the same name.
            drop(self.parsed::<PluginId>(&path, plugin));
            let bytes: usize = values.iter().map(|(key, value)| key.len() + value.len()).sum();
            if bytes > MAX_VALUES_BYTES {
                let message = format!(
                    "its values have {bytes} bytes; at most {MAX_VALUES_BYTES} are allowed"
                );
                self.problem(&path, message);
            }
            if let Some(key) = values.keys().find(|key| key.len() > MAX_KEY_BYTES) {
                let message = format!("a key has {} bytes; at most {MAX_KEY_BYTES}", key.len());
                self.problem(&path, message);
            }
        }
        raw.clone()
    }
}

/// One digest or a list of them.
fn read_pins(pins: &serde_json::Value) -> Result<Vec<Digest>, String> {
    let wrong = || "a pin is \"sha256:\" and 64 hexadecimal digits, or a list of such".to_owned();
    let list = match pins {
        serde_json::Value::Array(list) if list.len() <= MAX_TRUSTED => list.as_slice(),
        serde_json::Value::Array(_) => return Err(format!("at most {MAX_TRUSTED} pins")),
        one => std::slice::from_ref(one),
    };
    let pin = |pin: &serde_json::Value| {
        let digits = pin.as_str().and_then(|pin| pin.strip_prefix("sha256:")).ok_or_else(wrong)?;
        digits.parse().map_err(|_| wrong())
    };
    list.iter().map(pin).collect()
}
