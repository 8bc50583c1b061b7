//! `wasi:filesystem`: folders. Without a grant it is there with no folder in it, because the
//! standard libraries of guest languages import it whether they open a file or not.
//!
//! What only looks is left to wasmtime-wasi. What opens, writes, makes or removes is done here,
//! under the folder's account. Nothing here blocks the thread that guests run on.

mod account;
mod folders;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod host;
mod listing;
mod path;
mod stream;
mod view;

pub(crate) use folders::{FolderUnavailable, Folders, open_granted};

use wasmtime::component::HasData;
use wasmtime_wasi::p2::bindings::filesystem;

use self::view::FolderView;
use super::{Capability, CapabilitySet, Interface, Standing};
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

/// What open files make the host hold: what was read of each and not taken, and the writes that
/// are under way.
pub(crate) fn held_bytes(open_files: u32) -> u64 {
    let buffer = (stream::WRITE_BYTES + stream::READ_AHEAD_BYTES) as u64;
    u64::from(open_files)
        .saturating_mul(buffer)
        .saturating_add(stream::WRITES as u64 * stream::WRITE_BYTES as u64 * 2)
}

fn standing(grants: &Grants, offers: CapabilitySet) -> Standing {
    match grants.fs.as_ref().is_some_and(|fs: &FsGrant| !fs.is_empty()) {
        true => Standing::of(true, offers.fs, "this host opens no folders"),
        false => Standing::Default,
    }
}

struct Access;

impl HasData for Access {
    type Data<'a> = FolderView<'a>;
}

links! {
    types => filesystem::types, Access, |compartment| FolderView(compartment);
    preopens => filesystem::preopens, Access, |compartment| FolderView(compartment);
}
