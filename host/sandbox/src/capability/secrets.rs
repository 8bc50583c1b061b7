//! `bulkhead:handler/secrets`: values that nobody but the guest may see. What is handed out is
//! remembered, so that it can be taken from all that the attempt says.

use wasmtime::component::{HasSelf, Linker};

use super::{Capability, CapabilitySet, Interface, Standing};
use crate::bindings::bulkhead::handler::secrets::{self, Error, Host};
use crate::compartment::Compartment;
use crate::grants::Grants;
use crate::service::SecretError;
use crate::text::bounded;

/// How much of a name that is none is repeated, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// What a secret takes that was handed out: itself, and what finds it in texts, which is up to
/// a thousand times as long as the secret.
const SECRET_BYTES: u64 = 1 << 20;

/// What so many granted secrets make the host hold, of up to 1 KiB each; what longer ones take
/// is the operator's own affair.
pub(crate) fn held_bytes(secrets: usize) -> u64 {
    (secrets as u64).saturating_mul(SECRET_BYTES)
}

pub(super) const CAPABILITY: Capability = Capability {
    grant: Some("secrets"),
    line: "secrets = [\"NAME\"]",
    interfaces: &[Interface { name: "bulkhead:handler/secrets", version: "0.1", link: Some(link) }],
    standing,
};

fn standing(grants: &Grants, offers: CapabilitySet) -> Standing {
    Standing::of(!grants.secrets.is_empty(), offers.secrets, "this host has no secrets for plugins")
}

fn link(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    secrets::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Compartment {
    async fn secret(&mut self, name: String) -> Result<String, Error> {
        let unknown = |name: &str| Error::Unknown(bounded(name.to_owned(), MAX_NAME_BYTES));
        let powers = self.powers.as_deref_mut();
        let powers = powers.ok_or_else(|| Error::Unavailable(NONE_HERE.to_owned()))?;
        powers.traffic.call();
        if !powers.grants.secrets.contains(&name) {
            return Err(unknown(&name));
        }
        let Some(source) = powers.services.secrets.clone() else {
            return Err(Error::Unavailable(NONE_HERE.to_owned()));
        };
        let value = source.get(&name).await.map_err(|error| match error {
            SecretError::Unknown => unknown(&name),
            SecretError::Unavailable(why) => Error::Unavailable(why),
        })?;
        if let Some(powers) = self.powers.as_deref_mut() {
            powers.spoken.add(&name, &value);
            powers.traffic.came_in(value.expose().len());
        }
        Ok(value.expose().to_owned())
    }
}

const NONE_HERE: &str = "there are no secrets here";

impl Host for Compartment {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, Error>> {
        Ok(self.secret(name).await)
    }
}
