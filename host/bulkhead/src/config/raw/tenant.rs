//! What is said of one tenant, as it is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RawSecret, RawValues};
use crate::config::quantity::{Size, Span};

/// `[tenants.NAME]`; the name `*` stands for every tenant that says nothing itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawTenantSection {
    /// The class that its tasks are counted in.
    pub(in crate::config) class: Option<String>,
    pub(in crate::config) storage: Option<Size>,
    pub(in crate::config) config: RawValues,
    pub(in crate::config) secrets: BTreeMap<String, RawSecret>,
    /// How many plugin files.
    pub(in crate::config) plugins: Option<u64>,
    pub(in crate::config) plugin_bytes: Option<Size>,
    pub(in crate::config) compile_time_per_hour: Option<Span>,
    pub(in crate::config) grants_from: Option<String>,
    /// What each of its plugins is granted; read by the same types as a manifest's.
    pub(in crate::config) grants: BTreeMap<String, serde_json::Value>,
    /// With which tenants each of its plugins is shared.
    pub(in crate::config) share: BTreeMap<String, Vec<String>>,
    pub(in crate::config) trust: RawTenantTrust,
}

/// `[tenants.NAME.trust]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawTenantTrust {
    pub(in crate::config) policy: Option<String>,
    /// A digest or several, by plugin.
    pub(in crate::config) pins: BTreeMap<String, serde_json::Value>,
    /// Public keys by the names of those who sign.
    pub(in crate::config) keys: BTreeMap<String, String>,
}

impl RawTenantSection {
    pub(super) fn with_every_key() -> Self {
        let any = || "*".to_owned();
        // A null stands for any value whatever.
        let values = || BTreeMap::from([(any(), serde_json::Value::Null)]);
        Self {
            class: Some(String::new()),
            grants: values(),
            share: BTreeMap::from([(any(), Vec::new())]),
            trust: RawTenantTrust {
                pins: values(),
                keys: BTreeMap::from([(any(), String::new())]),
                ..RawTenantTrust::default()
            },
            ..Self::default()
        }
    }
}
