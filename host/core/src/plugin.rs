//! Whose plugin: names alone tell plugins apart only within one owner.
//!
//! What a broker keeps for a plugin is kept under a spelling that no name can have by itself,
//! so that no plugin of one owner can be called like one of another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{NameError, PluginName, TenantName};

/// Between owner and name as people write them.
const SHOWN: char = '/';
/// Between owner and name as brokers keep them, where `/` ends the whole.
const STORED: char = '@';

/// A plugin: the operator's, or a tenant's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PluginId {
    /// The tenant that brought it; none for the operator's.
    pub owner: Option<TenantName>,
    /// Its name among its owner's.
    pub name: PluginName,
}

impl PluginId {
    /// Its spelling in keys of brokers: `NAME`, or `OWNER@NAME`.
    #[must_use]
    pub fn stored(&self) -> String {
        match &self.owner {
            Some(owner) => format!("{owner}{STORED}{}", self.name),
            None => self.name.to_string(),
        }
    }

    /// Read what [`PluginId::stored`] wrote.
    pub fn from_stored(text: &str) -> Result<Self, NameError> {
        Self::split(text, STORED)
    }

    fn split(text: &str, by: char) -> Result<Self, NameError> {
        Ok(match text.split_once(by) {
            Some((owner, name)) => Self { owner: Some(owner.parse()?), name: name.parse()? },
            None => Self { owner: None, name: text.parse()? },
        })
    }
}

/// The operator's.
impl From<PluginName> for PluginId {
    fn from(name: PluginName) -> Self {
        Self { owner: None, name }
    }
}

/// `NAME`, or `OWNER/NAME`.
impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "{owner}{SHOWN}{}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl FromStr for PluginId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::split(text, SHOWN)
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
