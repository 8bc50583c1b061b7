//! What the end-to-end tests stand on: Redis servers of their own, hosts as processes,
//! plugins compiled from source.
//!
//! Everything a test starts ends with it. Tests wait for events that they can observe,
//! with a bound; none sleeps for luck.

mod browser;
mod collector;
mod command;
mod exposition;
mod folder;
mod guests;
mod http;
mod inside;
mod known_plugins;
mod load;
mod losing;
mod process;
mod pseudo_terminal;
mod receiver;
mod site;

pub use browser::{Chromium, Scheme, Tab};
pub use bulkhead_stage::{Persistence, Proxy, RedisServer, eventually, eventually_within};
pub use collector::Collector;
pub use command::{Ran, Started, ran};
pub use exposition::Exposition;
pub use folder::EmbeddedFolder;
pub(crate) use guests::target;
pub use guests::{
    digest_of, guest, install, install_as, install_shipped, install_version, module_guest, shipped,
    version_of,
};
pub use http::{Http, HttpAnswer, ask_socket};
pub use inside::{Inside, Running};
pub use load::Load;
pub use losing::LosingBroker;
pub use process::HostProcess;
pub use pseudo_terminal::PseudoTerminal;
pub use receiver::{Received, Receiver, Span};
pub use site::{Site, failure, lost_leases, output, task, version};
