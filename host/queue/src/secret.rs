//! Stored secrets: sealed bytes under a name, for one tenant or for all.
//!
//! Whoever stores one seals it and keeps the key; here are the bounds and nothing that could
//! open it. No value of a secret, and no key, ever comes into this crate.

use std::fmt;
use std::str::FromStr;

use bulkhead_core::{TenantName, check_name};
use serde::{Deserialize, Serialize};

use crate::error::QueueError;

/// Sealed secrets of one namespace at most.
pub(crate) const MAX_SECRETS: usize = 10_000;
/// Bytes of one sealed secret at most: its value has at most 64 KiB.
pub(crate) const MAX_SEALED_BYTES: usize = (64 << 10) + 256;
/// Secrets that one call looks up at most.
pub(crate) const MAX_LOOKED_UP: usize = 500;

/// Which secret: its name, and the tenant whose own it is; without one it is for all tenants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretId {
    tenant: Option<TenantName>,
    name: String,
}

impl SecretId {
    /// Check the name and keep it: what makes a name of a tenant makes one of a secret.
    pub fn new(tenant: Option<TenantName>, name: &str) -> Result<Self, QueueError> {
        check_name("secret's name", name).map_err(|e| QueueError::Refused(e.to_string()))?;
        Ok(Self { tenant, name: name.to_owned() })
    }

    /// Whose own it is, if it is not for all.
    #[must_use]
    pub fn tenant(&self) -> Option<&TenantName> {
        self.tenant.as_ref()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `TENANT/NAME`; one for all tenants begins with the slash, which no name has in it.
impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant.as_ref().map_or("", TenantName::as_str), self.name)
    }
}

impl FromStr for SecretId {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<Self, QueueError> {
        let refused = |reason: String| QueueError::Refused(reason);
        let (tenant, name) = text
            .split_once('/')
            .ok_or_else(|| refused("a secret's id is written `TENANT/NAME`".into()))?;
        let tenant = match tenant {
            "" => None,
            tenant => Some(TenantName::new(tenant).map_err(|e| refused(e.to_string()))?),
        };
        Self::new(tenant, name)
    }
}

impl TryFrom<String> for SecretId {
    type Error = QueueError;

    fn try_from(text: String) -> Result<Self, QueueError> {
        text.parse()
    }
}

impl From<SecretId> for String {
    fn from(id: SecretId) -> Self {
        id.to_string()
    }
}

/// A secret as it is kept: bytes that only the holder of a key can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl Sealed {
    /// Refuse what is larger than a sealed secret may be.
    pub(crate) fn check(&self) -> Result<(), QueueError> {
        let bytes = self.0.len();
        if bytes > MAX_SEALED_BYTES {
            return Err(QueueError::Refused(format!(
                "the sealed secret has {bytes} bytes; at most {MAX_SEALED_BYTES} are kept"
            )));
        }
        Ok(())
    }
}

/// What is said when no further secret is kept.
pub(crate) fn too_many() -> QueueError {
    QueueError::Refused(format!(
        "{MAX_SECRETS} secrets are stored, which is the most; delete some that are not used"
    ))
}

/// Refuse to look up too many at once.
pub(crate) fn check_looked_up(ids: &[SecretId]) -> Result<(), QueueError> {
    if ids.len() > MAX_LOOKED_UP {
        return Err(QueueError::Refused(format!(
            "{} secrets are asked for; at most {MAX_LOOKED_UP} in one call",
            ids.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_and_read_back() {
        let acme = TenantName::new("acme").unwrap();
        for (id, written) in [
            (SecretId::new(None, "token").unwrap(), "/token"),
            (SecretId::new(Some(acme), "token").unwrap(), "acme/token"),
        ] {
            assert_eq!(id.to_string(), written);
            assert_eq!(written.parse::<SecretId>().unwrap(), id);
        }
        for bad in ["token", "", "/", "a b/token", "acme/a/b", "/-x", "acme/"] {
            assert!(bad.parse::<SecretId>().is_err(), "{bad}");
        }
    }
}
