//! The rights that a worker gives up before it is sent the first plugin.
//!
//! All of it happens on the first thread, before there is another, so that every later thread
//! inherits it. What the kernel does not have is told and not hidden. Nothing given up here
//! comes back.

mod files;
mod syscalls;

use std::fmt;
use std::os::fd::OwnedFd;

use rustix::process::{DumpableBehavior, Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// A layer of protection around a worker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Bounds on memory, open files and what it may write, and no core dumps.
    Limits,
    /// Other processes of the user cannot look into it.
    Hidden,
    /// The kernel lets it reach no file but in the folders that were granted (Landlock).
    Files,
    /// The kernel lets it bind and connect no TCP socket (Landlock, from ABI 4).
    Network,
    /// The kernel lets it signal, and speak to, no process outside (Landlock, from ABI 6).
    Scopes,
    /// The kernel takes no system call from it but those that it needs (seccomp).
    Syscalls,
}

impl Layer {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::Limits, Self::Hidden, Self::Files, Self::Network, Self::Scopes, Self::Syscalls];

    /// Its name in lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Hidden => "hidden",
            Self::Files => "files",
            Self::Network => "network",
            Self::Scopes => "scopes",
            Self::Syscalls => "syscalls",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is left to a worker.
#[derive(Debug, Default)]
pub(super) struct Leave {
    /// Folders, and whether they may be written to.
    pub(super) reach: Vec<(OwnedFd, bool)>,
    /// Largest file that may be written; none says nothing.
    pub(super) file_bytes: Option<u64>,
    /// Bytes of memory besides what is taken now; none says nothing.
    pub(super) memory_bytes: Option<u64>,
    /// Descriptors; none says nothing.
    pub(super) descriptors: Option<u64>,
}

/// Give up everything but `leave`, for good and for every thread that this one starts; the
/// layers that hold now. A layer that the kernel does not have is left out; anything else that
/// fails is an error.
pub(super) fn harden(leave: Leave) -> Result<Vec<Layer>, String> {
    let mut layers = Vec::with_capacity(Layer::ALL.len());
    limit(&leave).map_err(|error| format!("its limits cannot be set: {error}"))?;
    layers.push(Layer::Limits);
    let hidden = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    hidden.map_err(|error| format!("it cannot be hidden: {error}"))?;
    layers.push(Layer::Hidden);
    let files = !leave.reach.is_empty();
    layers.extend(files::restrict(leave.reach)?);
    if syscalls::restrict(files)? {
        layers.push(Layer::Syscalls);
    }
    Ok(layers)
}

fn limit(leave: &Leave) -> rustix::io::Result<()> {
    lower(Resource::Core, 0)?;
    if let Some(bytes) = leave.file_bytes {
        lower(Resource::Fsize, bytes)?;
    }
    if let Some(descriptors) = leave.descriptors {
        lower(Resource::Nofile, descriptors)?;
    }
    if let (Some(more), Some(taken)) = (leave.memory_bytes, data_bytes()) {
        lower(Resource::Data, taken.saturating_add(more))?;
    }
    Ok(())
}

/// Lower a limit for good; one that is lower already stays.
fn lower(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let already = rustix::process::getrlimit(resource).maximum;
    let most = already.map_or(most, |already| already.min(most));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
}

/// Bytes of private memory that are writable now.
fn data_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1 << 10)
}

/// Give up what a worker gives up that was granted these folders, each to be written to or not.
/// For tests of what is left.
#[doc(hidden)]
pub fn give_up_rights(reach: Vec<(OwnedFd, bool)>) -> Result<Vec<Layer>, String> {
    harden(Leave { reach, ..Leave::default() })
}
