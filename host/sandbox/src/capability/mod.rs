//! What a guest may reach, one capability a module: its interfaces, how they are linked, and
//! under which grant.
//!
//! A plugin is linked to exactly the interfaces that it imports and has; nothing else exists
//! for it, and a plugin that imports more is rejected at load. Some it has without a grant,
//! because the standard libraries of guest languages import them whether the handler means to
//! or not, and none of them reaches outside the compartment:
//!
//! - the contract's own interfaces: log, progress, the attempt's circumstances, the outputs of
//!   the tasks it waited for;
//! - clocks and random numbers, which a grant can make coarser or predictable, and `wasi:io`,
//!   which carries no authority of its own;
//! - the standard streams, captured into the attempt's log;
//! - the environment, which is empty, and `exit`, which ends the attempt;
//! - `wasi:filesystem` with no folder in it. Without one no file can be named, so every such
//!   call fails in the guest.
//!
//! Sockets and name look-up are not linked at all.

/// One function for each interface, which adds it to a linker.
macro_rules! links {
    ($($name:ident => $interface:path, $data:ty, $view:expr;)*) => {$(
        fn $name(
            linker: &mut wasmtime::component::Linker<crate::compartment::Compartment>,
        ) -> wasmtime::Result<()> {
            use $interface as interface;
            interface::add_to_linker::<crate::compartment::Compartment, $data>(linker, $view)
        }
    )*};
}

mod batch;
pub(crate) mod clocks;
mod config;
mod context;
mod contract;
pub(crate) mod enqueue;
pub(crate) mod fs;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod http;
pub(crate) mod kv;
mod log;
mod parents;
mod progress;
pub(crate) mod random;
pub(crate) mod secrets;
mod standing;
mod wasi;

pub(crate) use fs::{FolderUnavailable, Folders, open_granted};
pub use progress::ProgressSink;
pub(crate) use progress::Reports;
pub(crate) use standing::Grant;
pub use standing::{Granted, Inspection, Missing};

use serde::{Deserialize, Serialize};
use wasmtime::component::Linker;

use crate::compartment::Compartment;
use crate::grants::Grants;

type Link = fn(&mut Linker<Compartment>) -> wasmtime::Result<()>;

/// One interface.
struct Interface {
    /// Its name without the version.
    name: &'static str,
    /// The version up to which names are compatible.
    version: &'static str,
    /// None where this version of the host knows the interface and cannot provide it.
    link: Option<Link>,
}

/// What a guest may reach, by one grant.
struct Capability {
    /// The key of its grant; none for what every plugin has in one form only.
    grant: Option<&'static str>,
    /// A line that grants it.
    line: &'static str,
    interfaces: &'static [Interface],
    /// Whether a plugin with these grants has it on a host that offers this.
    standing: fn(&Grants, CapabilitySet) -> Standing,
}

/// Whether a plugin has a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was granted.
    Granted,
    /// Nobody needs a grant for it.
    Default,
    /// It was not granted.
    NotGranted,
    /// It was granted, and the host does not have it, for this reason.
    Absent(&'static str),
}

impl Standing {
    fn of(granted: bool, offered: bool, absent: &'static str) -> Self {
        match (granted, offered) {
            (true, true) => Self::Granted,
            (true, false) => Self::Absent(absent),
            (false, _) => Self::NotGranted,
        }
    }
}

/// Every capability there is.
const CAPABILITIES: &[Capability] = &[
    contract::CAPABILITY,
    wasi::CAPABILITY,
    kv::CAPABILITY,
    http::CAPABILITY,
    fs::CAPABILITY,
    config::CAPABILITY,
    secrets::CAPABILITY,
    enqueue::CAPABILITY,
    clocks::CAPABILITY,
    random::CAPABILITY,
];

/// Some of the capabilities that need a grant: those that a host offers, or those that a
/// plugin uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CapabilitySet {
    /// Small values.
    pub kv: bool,
    /// Outbound requests.
    pub http: bool,
    /// Folders.
    pub fs: bool,
    /// Values of the configuration.
    pub config: bool,
    /// Secrets.
    pub secrets: bool,
    /// Submitting tasks.
    pub enqueue: bool,
}

impl CapabilitySet {
    /// All there are.
    pub const ALL: Self =
        Self { kv: true, http: true, fs: true, config: true, secrets: true, enqueue: true };

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn add(&mut self, grant: &str) {
        match grant {
            "kv" => self.kv = true,
            "http" => self.http = true,
            "fs" => self.fs = true,
            "config" => self.config = true,
            "secrets" => self.secrets = true,
            "enqueue" => self.enqueue = true,
            _ => {}
        }
    }
}
