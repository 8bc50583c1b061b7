//! Where secrets are. Whether something is there is seen to by whoever needs it: a host, and not
//! a command that lists tasks.

use std::collections::BTreeMap;

use bulkhead_core::TenantName;
use bulkhead_queue::SecretId;

use super::Check;
use crate::config::layer::ENV_PREFIX;
use crate::config::raw::{Raw, RawSecret, RawSecretsKey};
use crate::config::secrets::path_of;
use crate::secrets::{Given, KeyPlaces, MAX_OLD_KEYS, Place, SecretSettings, SecretValue};

/// Secrets of one configuration.
const MAX_SECRETS: usize = 10_000;

/// The environment.
type Env<'a> = &'a [(String, String)];

impl Check<'_> {
    pub(super) fn secrets(&mut self, raw: &Raw, env: Env<'_>) -> SecretSettings {
        let mut places = BTreeMap::new();
        self.places(None, &raw.secrets, env, &mut places);
        for (tenant, section) in &raw.tenants {
            // What is no tenant's name was found before.
            if let Ok(name) = TenantName::new(tenant) {
                self.places(Some(&name), &section.secrets, env, &mut places);
            }
        }
        if places.len() > MAX_SECRETS {
            let message = format!("{} secrets; at most {MAX_SECRETS} are possible", places.len());
            self.problem(&["secrets"], message);
        }
        let key = raw.secrets_key.as_ref().and_then(|raw| self.secrets_key(raw, env));
        let stored = places.iter().find(|(_, place)| **place == Place::Stored);
        if let (Some((id, _)), None) = (stored, &raw.secrets_key) {
            self.problem(
                &path_of(id),
                "a stored secret needs a key: make one with `bulkhead secret key --out PATH` and \
                 name it with `secrets_key = { file = \"PATH\" }`",
            );
        }
        SecretSettings { namespace: raw.namespace.clone(), places, key }
    }

    fn places(
        &mut self,
        tenant: Option<&TenantName>,
        raw: &BTreeMap<String, RawSecret>,
        env: Env<'_>,
        places: &mut BTreeMap<SecretId, Place>,
    ) {
        for (name, secret) in raw {
            let mut path = tenant.map_or(Vec::new(), |tenant| vec!["tenants", tenant.as_str()]);
            path.extend(["secrets", name]);
            let place = match (secret.stored, &secret.env, &secret.file) {
                (Some(true), None, None) => Some(Place::Stored),
                (None, env_name, file) => {
                    let given = self.given(&path, env_name.as_deref(), file.as_deref(), env);
                    given.map(Place::Given)
                }
                (Some(false), ..) => {
                    self.problem(&path, "`stored` is true or left out");
                    None
                }
                (Some(true), ..) => {
                    self.problem(&path, EXACTLY_ONE);
                    None
                }
            };
            match SecretId::new(tenant.cloned(), name) {
                Ok(id) => {
                    if let Some(place) = place {
                        places.insert(id, place);
                    }
                }
                Err(error) => self.problem(&path, error),
            }
        }
    }

    fn secrets_key(&mut self, raw: &RawSecretsKey, env: Env<'_>) -> Option<KeyPlaces> {
        let path = ["secrets_key"];
        let current = self.given(&path, raw.env.as_deref(), raw.file.as_deref(), env);
        let old = [path[0], "old"];
        let old: Vec<_> = raw
            .old
            .iter()
            .map(|key| self.given(&old, key.env.as_deref(), key.file.as_deref(), env))
            .collect();
        if old.len() > MAX_OLD_KEYS {
            let message = format!("{} old keys; at most {MAX_OLD_KEYS} are possible", old.len());
            self.problem(&path, message);
        }
        Some(KeyPlaces { current: current?, old: old.into_iter().collect::<Option<_>>()? })
    }

    /// The one place that is named.
    pub(super) fn given(
        &mut self,
        path: &[&str],
        variable: Option<&str>,
        file: Option<&str>,
        env: Env<'_>,
    ) -> Option<Given> {
        match (variable, file) {
            (Some(variable), None) => {
                if let Some(problem) = no_variable(variable) {
                    self.problem(path, problem);
                    return None;
                }
                let value = env.iter().find(|(name, _)| name == variable);
                let value = value.map(|(_, value)| SecretValue::new(value.clone()));
                Some(Given::Env { variable: variable.to_owned(), value })
            }
            (None, Some("")) => {
                self.problem(path, "`file` is empty; name a file");
                None
            }
            (None, Some(file)) => {
                let key: Vec<&str> = path.iter().copied().chain(["file"]).collect();
                Some(Given::File(self.path(&key, file)))
            }
            _ => {
                self.problem(path, EXACTLY_ONE);
                None
            }
        }
    }
}

const EXACTLY_ONE: &str = "name exactly one place: `env`, `file` or, for a secret, `stored = true`";

/// Why this names no variable that can hold a secret.
fn no_variable(name: &str) -> Option<String> {
    let shown = name.escape_debug();
    if name.is_empty() || name.contains(['=', '\0']) {
        return Some(format!("`{shown}` is no name of a variable"));
    }
    name.starts_with(ENV_PREFIX).then(|| {
        format!(
            "variables that begin with `{ENV_PREFIX}` are settings; name another than `{shown}`"
        )
    })
}
