//! Looking at secrets and their keys before they are needed: what is wrong is said with its
//! place.

use bulkhead_core::TenantName;
use bulkhead_queue::SecretId;

use super::{Config, ConfigError, Problem};
use crate::secrets::{KeyRing, Place};

/// Where a configuration speaks of a secret.
pub(super) fn path_of(id: &SecretId) -> Vec<&str> {
    let mut path = vec!["secrets", id.name()];
    if let Some(tenant) = id.tenant() {
        path.splice(0..0, ["tenants", TenantName::as_str(tenant)]);
    }
    path
}

impl Config {
    /// Look at every secret that is in the environment or a file, and at the keys, as a host
    /// does at its start: what cannot be read or makes no sense. It may block.
    pub fn check_secrets(&self) -> Result<(), ConfigError> {
        let settings = self.host.settings.now();
        let given = settings.secrets.places.iter().filter_map(|(id, place)| match place {
            Place::Given(given) => Some((path_of(id), given.secret().err()?)),
            Place::Stored => None,
        });
        let headers = self.otlp.iter().flat_map(|otlp| &otlp.headers);
        let headers = headers.filter_map(|(name, given)| {
            Some((vec!["telemetry", "otlp", "headers", name], given.secret().err()?))
        });
        let mut problems: Vec<Problem> =
            given.chain(headers).map(|(path, message)| self.problem(&path, message)).collect();
        if let Some(Err(message)) = settings.secrets.key.as_ref().map(KeyRing::read) {
            problems.push(self.problem(&["secrets_key"], message));
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    /// The keys of stored secrets. It may block.
    pub fn secrets_keys(&self) -> Result<KeyRing, ConfigError> {
        let settings = self.host.settings.now();
        let read = match &settings.secrets.key {
            Some(places) => KeyRing::read(places),
            None => Err("there is no key for stored secrets: make one with `bulkhead secret key \
                         --out PATH` and name it with `secrets_key = { file = \"PATH\" }`"
                .to_owned()),
        };
        read.map_err(|message| self.problem(&["secrets_key"], message).into())
    }

    fn problem(&self, path: &[&str], message: String) -> Problem {
        Problem { key: Some(path.join(".")), origin: self.origins.of(path), message }
    }
}
