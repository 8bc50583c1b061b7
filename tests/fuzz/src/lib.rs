//! Fuzz targets: one function for each kind of bytes that somebody else wrote.
//!
//! A target takes any bytes, gives them to the code that reads them, and panics if a promise of
//! `docs/security.md` is broken. The same functions serve cargo-fuzz (`fuzz/`), which looks for
//! new inputs, and ordinary tests (`tests/`), which hold them to the inputs in `corpus/` and to a
//! bounded number of mutations of these. A target keeps nothing between two calls.

mod configuration;
mod decoding;
// The command line's own file: the binary has no library.
#[allow(dead_code, reason = "it has more than is needed here")]
#[path = "../../../host/bulkhead/src/cli/escape.rs"]
mod escape;
mod host_calls;
mod outbound;
mod paths;
mod plugins;
mod times;
mod trust;

pub use configuration::{configuration, manifest, words};
pub use decoding::{record, remote, reply, rows};
pub use host_calls::{host_calls, redaction, sealed};
pub use outbound::outbound;
pub use paths::paths;
pub use plugins::{plugin, worker};
pub use times::times;
pub use trust::trust;

/// A target and its name, by which its corpus and its cargo-fuzz target are found.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
    /// How many mutations a test tries: as many as take a second or two in a development build.
    pub mutations: u32,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "record", run: record, mutations: 20_000 },
    Target { name: "reply", run: reply, mutations: 10_000 },
    Target { name: "remote", run: remote, mutations: 2_000 },
    Target { name: "rows", run: rows, mutations: 2_000 },
    Target { name: "plugin", run: plugin, mutations: 2_000 },
    Target { name: "worker", run: worker, mutations: 10_000 },
    Target { name: "configuration", run: configuration, mutations: 300 },
    Target { name: "manifest", run: manifest, mutations: 5_000 },
    Target { name: "words", run: words, mutations: 10_000 },
    Target { name: "trust", run: trust, mutations: 2_000 },
    Target { name: "times", run: times, mutations: 2_000 },
    Target { name: "host_calls", run: host_calls, mutations: 10_000 },
    Target { name: "redaction", run: redaction, mutations: 5_000 },
    Target { name: "sealed", run: sealed, mutations: 5_000 },
    Target { name: "outbound", run: outbound, mutations: 20_000 },
    Target { name: "paths", run: paths, mutations: 1_000 },
];

/// The first byte and the rest; nothing of nothing.
fn choice(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// Bytes as text, and its parts between zeros.
fn texts<const N: usize>(data: &[u8]) -> [String; N] {
    let mut parts = data.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned())
}
