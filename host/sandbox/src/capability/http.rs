//! `wasi:http`: outbound requests. The rules are in `bulkhead_core::outbound`.

use super::{Capability, CapabilitySet, Interface, Standing};
use crate::grants::Grants;

pub(super) const CAPABILITY: Capability = Capability {
    grant: Some("http"),
    line: "http = { allow = [\"https://HOST/\"] }",
    interfaces: &[
        Interface { name: "wasi:http/types", version: "0.2", link: None },
        Interface { name: "wasi:http/outgoing-handler", version: "0.2", link: None },
    ],
    standing,
};

fn standing(grants: &Grants, offers: CapabilitySet) -> Standing {
    Standing::of(grants.http.is_some(), offers.http, "this version of Bulkhead sends no requests")
}
