//! Prints `docs/metrics.md` as it has to be: `cargo xtask metrics` writes it.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(bulkhead::metrics::page().as_bytes())
}
