//! The operator's secrets: where each is, how stored ones are sealed, and who is handed which.
//!
//! A value is in the environment, in a file, or with the broker, sealed under a key that the
//! broker never sees. It is read when a handler asks for it, kept for less than 5 s, wiped from
//! memory when it is let go, and shown by nothing. What it means is not known here.

mod given;
mod key;
mod seal;
mod source;

use std::collections::BTreeMap;

use bulkhead_core::TenantName;
use bulkhead_queue::SecretId;

pub use bulkhead_sandbox::SecretValue;
pub use given::{Given, MAX_VALUE_BYTES, MIN_VALUE_BYTES, check_value, read_value};
pub(crate) use key::MAX_OLD_KEYS;
pub use key::{Key, KeyId, KeyRing};
pub use seal::{Seal, SealError, inspect, open, seal};
pub(crate) use source::Secrets;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a variable or a file.
    Given(Given),
    /// With the broker.
    Stored,
}

/// Where the keys are that seal stored secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlaces {
    /// The key that seals.
    pub current: Given,
    /// Keys that sealed before, to read with.
    pub old: Vec<Given>,
}

/// What a configuration says of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretSettings {
    /// The namespace that stored secrets are bound to.
    pub namespace: String,
    /// Where each secret is.
    pub places: BTreeMap<SecretId, Place>,
    /// What stored ones are sealed with.
    pub key: Option<KeyPlaces>,
}

impl SecretSettings {
    /// Which secret a tenant means by a name, and where it is: its own, else that for all.
    #[must_use]
    pub fn find(&self, tenant: &TenantName, name: &str) -> Option<(&SecretId, &Place)> {
        let place = |tenant| self.places.get_key_value(&SecretId::new(tenant, name).ok()?);
        place(Some(tenant.clone())).or_else(|| place(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_secret_goes_before_that_for_all() {
        let id = |text: &str| text.parse::<SecretId>().unwrap();
        let settings = SecretSettings {
            places: BTreeMap::from([
                (id("/token"), Place::Stored),
                (id("acme/token"), Place::Given(Given::File("f".into()))),
                (id("acme/own"), Place::Stored),
            ]),
            ..SecretSettings::default()
        };
        let found = |tenant: &str, name: &str| {
            let found = settings.find(&TenantName::new(tenant).unwrap(), name);
            found.map(|(id, _)| id.to_string())
        };
        assert_eq!(found("acme", "token").as_deref(), Some("acme/token"));
        assert_eq!(found("other", "token").as_deref(), Some("/token"));
        assert_eq!(found("other", "own"), None);
        assert_eq!(found("acme", "no name"), None);
    }
}
