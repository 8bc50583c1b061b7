//! What a guest may reach, interface by interface.
//!
//! A plugin is linked to exactly the interfaces that it imports and was granted;
//! nothing else exists for it, and a plugin that imports more is rejected at load. The
//! default set is what the standard libraries of guest languages import whether the
//! handler means to or not, and none of it reaches outside the compartment:
//!
//! - the handler contract's own interfaces: log, progress, the attempt's circumstances, the
//!   outputs of the tasks it waited for;
//! - clocks, random numbers and `wasi:io`, which carries no authority of its own;
//! - the standard streams, captured into the attempt's log;
//! - the environment, which is empty, and `exit`, which ends the attempt;
//! - `wasi:filesystem` with no directory in it. A Rust guest imports it when any code
//!   it links could open a file, a C or preview 1 guest nearly always. Without a
//!   preopened directory no file can be named, so every such call fails in the guest.
//!
//! Sockets, name look-up and HTTP are not linked at all.

mod batch;
mod context;
mod log;
mod parents;
mod progress;
mod wasi;

pub use progress::ProgressSink;
pub(crate) use progress::Reports;

use std::collections::BTreeSet;

use wasmtime::component::Linker;

use crate::compartment::Compartment;

type Link = fn(&mut Linker<Compartment>) -> wasmtime::Result<()>;

/// One interface that this host can provide.
struct Capability {
    /// Its name without the version.
    interface: &'static str,
    /// The version up to which names are compatible.
    version: &'static str,
    /// Whether a plugin has it without asking the operator.
    default: bool,
    link: Link,
}

const fn default(interface: &'static str, version: &'static str, link: Link) -> Capability {
    Capability { interface, version, default: true, link }
}

/// Every interface that this host can provide.
const CAPABILITIES: &[Capability] = &[
    default("bulkhead:handler/types", "0.1", |_| Ok(())),
    default("bulkhead:handler/log", "0.1", log::add_to_linker),
    default("bulkhead:handler/progress", "0.1", progress::add_to_linker),
    default("bulkhead:handler/context", "0.1", context::add_to_linker),
    default("bulkhead:handler/parents", "0.1", parents::add_to_linker),
    default("bulkhead:handler/batch", "0.1", batch::add_to_linker),
    default("wasi:io/error", "0.2", wasi::io_error),
    default("wasi:io/poll", "0.2", wasi::io_poll),
    default("wasi:io/streams", "0.2", wasi::io_streams),
    default("wasi:clocks/monotonic-clock", "0.2", wasi::monotonic_clock),
    default("wasi:clocks/wall-clock", "0.2", wasi::wall_clock),
    default("wasi:random/random", "0.2", wasi::random),
    default("wasi:random/insecure", "0.2", wasi::insecure_random),
    default("wasi:random/insecure-seed", "0.2", wasi::insecure_seed),
    default("wasi:cli/environment", "0.2", wasi::environment),
    default("wasi:cli/exit", "0.2", wasi::exit),
    default("wasi:cli/stdin", "0.2", wasi::stdin),
    default("wasi:cli/stdout", "0.2", wasi::stdout),
    default("wasi:cli/stderr", "0.2", wasi::stderr),
    default("wasi:cli/terminal-input", "0.2", wasi::terminal_input),
    default("wasi:cli/terminal-output", "0.2", wasi::terminal_output),
    default("wasi:cli/terminal-stdin", "0.2", wasi::terminal_stdin),
    default("wasi:cli/terminal-stdout", "0.2", wasi::terminal_stdout),
    default("wasi:cli/terminal-stderr", "0.2", wasi::terminal_stderr),
    default("wasi:filesystem/types", "0.2", wasi::filesystem_types),
    default("wasi:filesystem/preopens", "0.2", wasi::filesystem_preopens),
];

/// The interfaces that one plugin is linked to.
pub(crate) struct Grant(Vec<&'static Capability>);

impl Grant {
    /// What a plugin that asks for `imports` gets, when its manifest grants `granted`
    /// beyond the default set. The error says what is missing and what to do.
    pub(crate) fn of(imports: &[String], granted: &BTreeSet<String>) -> Result<Self, String> {
        for name in granted {
            if !CAPABILITIES.iter().any(|capability| covers(name, capability.interface)) {
                return Err(format!(
                    "the manifest grants `{}`, which this version of Bulkhead cannot provide; \
                     remove it from `grants`",
                    name.escape_debug()
                ));
            }
        }
        let mut capabilities: Vec<&'static Capability> = Vec::new();
        let mut missing = Vec::new();
        for import in imports {
            match provided(import) {
                Some(capability) if capability.default || is_granted(capability, granted) => {
                    if !capabilities.iter().any(|known| std::ptr::eq(*known, capability)) {
                        capabilities.push(capability);
                    }
                }
                _ => missing.push(import.as_str()),
            }
        }
        if missing.is_empty() { Ok(Self(capabilities)) } else { Err(explain(&missing)) }
    }

    /// Link these interfaces and no others.
    pub(crate) fn link(&self, linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
        self.0.iter().try_for_each(|capability| (capability.link)(linker))
    }
}

/// The capability that serves an import such as `wasi:io/poll@0.2.3`.
fn provided(import: &str) -> Option<&'static Capability> {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    CAPABILITIES.iter().find(|capability| {
        capability.interface == interface
            && version.strip_prefix(capability.version).is_some_and(|patch| patch.starts_with('.'))
    })
}

/// Whether a granted name, an interface or a whole package, covers `interface`.
fn covers(granted: &str, interface: &str) -> bool {
    interface.strip_prefix(granted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_granted(capability: &Capability, granted: &BTreeSet<String>) -> bool {
    granted.iter().any(|name| covers(name, capability.interface))
}

fn explain(missing: &[&str]) -> String {
    let mut reasons = Vec::new();
    for import in missing.iter().take(8) {
        let shown: String = import.escape_debug().take(200).collect();
        let (interface, _) = import.split_once('@').unwrap_or((import, ""));
        let known = CAPABILITIES.iter().find(|capability| capability.interface == interface);
        reasons.push(match known {
            Some(capability) if !capability.default => {
                format!("`{shown}` needs `grants = [\"{interface}\"]` in the manifest")
            }
            Some(capability) => {
                format!(
                    "`{shown}` is a version that is not served; build against {}",
                    capability.version
                )
            }
            None => {
                let package = interface.split('/').next().unwrap_or_default();
                let package: String = package.escape_debug().take(100).collect();
                format!(
                    "`{shown}` cannot be provided by this version of Bulkhead (a version that \
                     can will want `grants = [\"{package}\"]` in the manifest)"
                )
            }
        });
    }
    if missing.len() > reasons.len() {
        reasons.push(format!("and {} more", missing.len() - reasons.len()));
    }
    format!("it imports what it is not granted: {}", reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(imports: &[&str], granted: &[&str]) -> Result<usize, String> {
        let imports: Vec<_> = imports.iter().map(|name| (*name).to_owned()).collect();
        let granted = granted.iter().map(|name| (*name).to_owned()).collect();
        Grant::of(&imports, &granted).map(|grant| grant.0.len())
    }

    #[test]
    fn only_what_is_asked_for_is_linked_and_once() {
        assert_eq!(grant(&[], &[]), Ok(0));
        assert_eq!(grant(&["wasi:io/poll@0.2.0", "wasi:io/poll@0.2.9"], &[]), Ok(1));
    }

    #[test]
    fn what_is_not_granted_is_named() {
        let sockets = grant(&["wasi:io/poll@0.2.0", "wasi:sockets/tcp@0.2.0"], &[]).unwrap_err();
        assert!(sockets.contains("`wasi:sockets/tcp@0.2.0`"), "{sockets}");
        assert!(sockets.contains("grants = [\"wasi:sockets\"]"), "{sockets}");
        assert!(!sockets.contains("poll"), "{sockets}");
        let later = grant(&["wasi:io/poll@0.3.0"], &[]).unwrap_err();
        assert!(later.contains("build against 0.2"), "{later}");
        for odd in ["", "@", "wasi:io/poll", "wasi:io/poll@0.20.0", "wasi:io/pollx@0.2.0"] {
            assert!(grant(&[odd], &[]).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_grant_that_means_nothing_is_an_error() {
        assert_eq!(grant(&[], &["wasi:io", "wasi:random/random"]), Ok(0));
        let unknown = grant(&[], &["wasi:http"]).unwrap_err();
        assert!(unknown.contains("`wasi:http`"), "{unknown}");
    }
}
