//! Where secrets and their keys are, as it is written.

use serde::{Deserialize, Serialize};

/// Exactly one of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawSecret {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) stored: Option<bool>,
}

/// A key to read with. It stands in a list, where keys are not compared with the known ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) file: Option<String>,
}

/// The key that seals, and those to read with.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::config) struct RawSecretsKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) file: Option<String>,
    pub(in crate::config) old: Vec<RawKey>,
}

impl RawSecret {
    pub(super) fn with_every_key() -> Self {
        Self { env: Some(String::new()), file: Some(String::new()), stored: Some(true) }
    }
}

impl RawSecretsKey {
    pub(super) fn with_every_key() -> Self {
        Self { env: Some(String::new()), file: Some(String::new()), old: Vec::new() }
    }
}
