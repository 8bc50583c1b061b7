//! `wasi:filesystem`: folders. Without a grant it is there with no folder in it, because the
//! standard libraries of guest languages import it whether they open a file or not.

use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem;

use super::{Capability, CapabilitySet, Interface, Standing};
use crate::compartment::Compartment;
use crate::grants::{FsGrant, Grants};

pub(super) const CAPABILITY: Capability = Capability {
    grant: Some("fs"),
    line: "fs = { scratch = \"64 MiB\" }",
    interfaces: &[
        Interface { name: "wasi:filesystem/types", version: "0.2", link: Some(types) },
        Interface { name: "wasi:filesystem/preopens", version: "0.2", link: Some(preopens) },
    ],
    standing,
};

fn standing(grants: &Grants, offers: CapabilitySet) -> Standing {
    match grants.fs.as_ref().is_some_and(|fs: &FsGrant| !fs.is_empty()) {
        true => Standing::of(true, offers.fs, "this version of Bulkhead opens no folders"),
        false => Standing::Default,
    }
}

links! {
    types => filesystem::types, WasiFilesystem, Compartment::filesystem;
    preopens => filesystem::preopens, WasiFilesystem, Compartment::filesystem;
}
