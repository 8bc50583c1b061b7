//! `bulkhead:handler/config`: values that the operator gave this plugin.

use wasmtime::component::{HasSelf, Linker};

use super::{Capability, CapabilitySet, Interface, Standing};
use crate::bindings::bulkhead::handler::config::{self, Host};
use crate::compartment::Compartment;
use crate::grants::Grants;

pub(super) const CAPABILITY: Capability = Capability {
    grant: Some("config"),
    line: "config = true",
    interfaces: &[Interface { name: "bulkhead:handler/config", version: "0.1", link: Some(link) }],
    standing,
};

fn standing(grants: &Grants, offers: CapabilitySet) -> Standing {
    Standing::of(grants.config, offers.config, "this host has no values for plugins")
}

fn link(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    config::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Host for Compartment {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        let Some(powers) = self.powers.as_deref_mut() else { return Ok(None) };
        powers.traffic.call();
        let value = powers.services.config.as_ref().and_then(|config| config.get(&key));
        powers.traffic.came_in(value.as_ref().map_or(0, String::len));
        Ok(value)
    }
}
