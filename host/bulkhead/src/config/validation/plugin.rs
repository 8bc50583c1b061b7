//! What the configuration says of plugins: grants and values.

use std::collections::BTreeMap;

use bulkhead_core::TenantName;

use super::{Check, GIB};
use crate::config::raw::{Raw, RawValues};
use crate::grants::SaidGrants;
use crate::plugins::{GrantsFrom, PluginSettings, Values};

/// Bytes of all keys and values of one plugin.
const MAX_VALUES_BYTES: usize = 1 << 20;

/// Longest key of a value, in bytes.
const MAX_KEY_BYTES: usize = 256;

impl Check<'_> {
    pub(super) fn plugin_settings(&mut self, raw: &Raw) -> PluginSettings {
        let grants_from = match raw.plugins.grants_from.as_str() {
            "manifest" => GrantsFrom::Manifest,
            "configuration" => GrantsFrom::Configuration,
            other => {
                let message =
                    format!("`{}` is neither `manifest` nor `configuration`", other.escape_debug());
                self.problem(&["plugins", "grants_from"], message);
                GrantsFrom::default()
            }
        };
        let mut settings = PluginSettings { grants_from, ..PluginSettings::default() };
        for (plugin, said) in &raw.grants {
            self.name(&["grants", plugin], "plugin's name", plugin);
            match serde_json::from_value::<SaidGrants>(said.clone()) {
                Ok(said) => {
                    let base = self.path(&["grants", plugin, "fs"], "");
                    drop(settings.grants.insert(plugin.clone(), said.beneath(&base)));
                }
                Err(error) => self.problem(&["grants", plugin], error),
            }
        }
        settings.values = self.values(&["config"], &raw.config);
        for (tenant, section) in &raw.tenants {
            let storage = section
                .storage
                .map(|storage| self.size(&["tenants", tenant, "storage"], storage, 0..=1024 * GIB));
            let path = ["tenants", tenant.as_str(), "config"];
            if tenant == "*" {
                settings.other_storage = storage;
                if !section.config.is_empty() {
                    self.problem(&path, "values for every tenant are those of `[config.NAME]`");
                }
                continue;
            }
            let values = self.values(&path, &section.config);
            if let Some(tenant) = self.parsed::<TenantName>(&["tenants", tenant], tenant) {
                settings.tenant_storage.extend(storage.map(|storage| (tenant.clone(), storage)));
                settings.tenant_values.insert(tenant, values);
            }
        }
        settings
    }

    fn values(&mut self, path: &[&str], raw: &RawValues) -> BTreeMap<String, Values> {
        for (plugin, values) in raw {
            let path: Vec<&str> = path.iter().copied().chain([plugin.as_str()]).collect();
            self.name(&path, "plugin's name", plugin);
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
