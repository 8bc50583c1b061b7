//! The contract's own interfaces that every plugin has.

use super::{
    Capability, CapabilitySet, Interface, Standing, batch, context, log, parents, progress,
};
use crate::grants::Grants;

pub(super) const CAPABILITY: Capability = Capability {
    grant: None,
    line: "",
    interfaces: &[
        Interface { name: "bulkhead:handler/types", version: "0.1", link: Some(|_| Ok(())) },
        Interface { name: "bulkhead:handler/log", version: "0.1", link: Some(log::add_to_linker) },
        Interface {
            name: "bulkhead:handler/progress",
            version: "0.1",
            link: Some(progress::add_to_linker),
        },
        Interface {
            name: "bulkhead:handler/context",
            version: "0.1",
            link: Some(context::add_to_linker),
        },
        Interface {
            name: "bulkhead:handler/parents",
            version: "0.1",
            link: Some(parents::add_to_linker),
        },
        Interface {
            name: "bulkhead:handler/batch",
            version: "0.1",
            link: Some(batch::add_to_linker),
        },
    ],
    standing,
};

fn standing(_: &Grants, _: CapabilitySet) -> Standing {
    Standing::Default
}
