//! What tells one plugin of a host from another: its owner and its file's name.

use std::fmt;

use bulkhead_core::{PluginId, PluginName, TenantName};

/// Whose plugins: a tenant's, or the operator's if there is none.
pub(crate) type Owner = Option<TenantName>;

/// A plugin as a host knows it. Written `NAME`, or `OWNER/NAME` if a tenant brought it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The tenant that brought it; none for the operator's.
    pub owner: Option<TenantName>,
    /// Its file's stem, whatever is in it. Escape it before showing it.
    pub name: String,
}

impl Identity {
    /// Of this owner, under this name.
    #[must_use]
    pub fn of(owner: Option<&TenantName>, name: &str) -> Self {
        Self { owner: owner.cloned(), name: name.to_owned() }
    }

    /// As brokers know it; none if its file's stem is no name.
    #[must_use]
    pub fn id(&self) -> Option<PluginId> {
        Some(PluginId::of(self.owner.as_ref(), &PluginName::new(&self.name).ok()?))
    }
}

/// The operator's plugin of this name.
impl From<&str> for Identity {
    fn from(name: &str) -> Self {
        Self::of(None, name)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "{owner}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
