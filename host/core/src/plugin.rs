//! Whose plugin: names alone tell plugins apart only within one owner.
//!
//! What a broker keeps for a plugin is kept under a spelling that no name can have by itself,
//! so that no plugin of one owner can be called like one of another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::name::{NameError, PluginName, TenantName};

/// Between owner and name as people write them.
const SHOWN: &str = "/";
/// Between owner and name as brokers keep them, where `/` ends the whole.
const STORED: &str = "@";

/// A plugin: the operator's, or a tenant's. Written `NAME`, or `OWNER/NAME`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct PluginId(Arc<str>);

impl PluginId {
    /// A tenant's plugin, or the operator's if there is no owner.
    #[must_use]
    pub fn of(owner: Option<&TenantName>, name: &PluginName) -> Self {
        match owner {
            Some(owner) => Self(format!("{owner}{SHOWN}{name}").into()),
            None => Self(name.as_str().into()),
        }
    }

    /// As people write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its spelling in keys of brokers: `NAME`, or `OWNER@NAME`.
    #[must_use]
    pub fn stored(&self) -> String {
        self.0.replace(SHOWN, STORED)
    }

    /// Read what [`PluginId::stored`] wrote.
    pub fn from_stored(text: &str) -> Result<Self, NameError> {
        Self::split(text, STORED)
    }

    fn split(text: &str, by: &str) -> Result<Self, NameError> {
        let (owner, name) = match text.split_once(by) {
            Some((owner, name)) => (Some(owner.parse()?), name),
            None => (None, text),
        };
        Ok(Self::of(owner.as_ref(), &name.parse()?))
    }
}

/// The operator's.
impl From<PluginName> for PluginId {
    fn from(name: PluginName) -> Self {
        Self::of(None, &name)
    }
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for PluginId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::split(text, SHOWN)
    }
}

impl TryFrom<String> for PluginId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

/// As people write it. Every attempt's record has one, so none is copied for it.
impl Serialize for PluginId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_told_apart_in_both_spellings() {
        let operators: PluginId = "resize".parse().unwrap();
        let acmes: PluginId = "acme/resize".parse().unwrap();
        assert_eq!((operators.to_string(), operators.stored()), ("resize".into(), "resize".into()));
        assert_eq!(acmes.to_string(), "acme/resize");
        assert_eq!(acmes.stored(), "acme@resize");
        for id in [operators, acmes] {
            assert_eq!(PluginId::from_stored(&id.stored()), Ok(id));
        }
        for bad in ["", "/", "acme/", "/resize", "a/b/c", "acme@resize", "a b/c"] {
            assert!(bad.parse::<PluginId>().is_err(), "{bad}");
        }
        assert!(PluginId::from_stored("acme/resize").is_err());
        assert!(PluginName::new("acme@resize").is_err(), "no name is spelled so");
    }
}
