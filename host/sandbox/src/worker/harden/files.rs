//! Files, TCP and other processes, by Landlock.
//!
//! Landlock judges a path by what lies above it, not by the descriptor that it is opened
//! beneath. So a folder that the host opened and passed is of no use to a worker whose rules do
//! not name it, and each rule here is one of the folders that it was started for. A folder that
//! is open may still be listed.

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, RestrictionStatus,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope,
};

use super::Layer;

/// The newest version that is known here; a kernel with an older one has less of it.
const KNOWN: ABI = ABI::V7;

/// The first versions with rules for files, TCP, and other processes.
const WITH_FILES: i32 = 1;
const WITH_NETWORK: i32 = 4;
const WITH_SCOPES: i32 = 6;

/// Let this thread and those that it starts reach nothing but these folders; the layers that
/// the kernel has.
pub(super) fn restrict(reach: Vec<(OwnedFd, bool)>) -> Result<Vec<Layer>, String> {
    let status = apply(reach).map_err(|error| format!("Landlock refused the rules: {error}"))?;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as i32,
        _ => 0,
    };
    let layers =
        [(Layer::Files, WITH_FILES), (Layer::Network, WITH_NETWORK), (Layer::Scopes, WITH_SCOPES)];
    Ok(layers.into_iter().filter(|(_, since)| abi >= *since).map(|(layer, _)| layer).collect())
}

fn apply(reach: Vec<(OwnedFd, bool)>) -> Result<RestrictionStatus, RulesetError> {
    let rules = reach.into_iter().map(|(folder, write)| {
        Ok::<_, RulesetError>(PathBeneath::new(folder, if write { writing() } else { reading() }))
    });
    Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(rules)?
        .restrict_self()
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// What guests can do: no links, no devices, no sockets.
fn writing() -> BitFlags<AccessFs> {
    reading()
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}
