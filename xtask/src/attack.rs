//! `cargo xtask attack`: every hostile guest of the gallery against a real host.
//!
//! The attacking and measuring is done by a program of its own (`tests/gallery`); this builds
//! it, the host and the guests, and says where the table goes. A part of the gallery, or one
//! measured on a development build, is printed and never written: the document has one table
//! of one run.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::guests;
use crate::layout::Layout;
use crate::program::{ask, cargo, run};
use crate::setup;

/// What to attack with, and on which build.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only the attacks whose names contain this; the table is printed.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// On a development build; the table is printed.
    #[arg(long)]
    dev: bool,
    /// How long each attack is repeated, in milliseconds.
    #[arg(long, default_value_t = 1_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    time_ms: u64,
}

/// Builds what is needed, attacks, and writes or prints the table.
pub(crate) fn measure(layout: &Layout, options: &Options) -> Result<()> {
    setup::install_to_measure(layout)?;
    guests::build_components(layout)?;
    let build: &[&str] = if options.dev { &["build"] } else { &["build", "--release"] };
    let packages = ["--package", "bulkhead", "--package", "bulkhead-gallery", "--bins"];
    run(&mut cargo(layout.root(), build.iter().chain(&packages)))?;
    let binary =
        |name| if options.dev { layout.dev_binary(name) } else { layout.release_binary(name) };
    let mut attack = Command::new(binary("bulkhead-attack"));
    attack.arg("--host").arg(binary("bulkhead"));
    attack.arg("--guests").arg(guests::components(layout));
    attack.args(["--time-ms", &options.time_ms.to_string(), "--heading", &heading()]);
    if let Some(only) = &options.only {
        attack.args(["--only", only]);
    } else if !options.dev {
        attack.arg("--into").arg(layout.security_document());
    }
    run(&mut attack)
}

/// When and on what.
fn heading() -> String {
    let date = ask(Command::new("date").args(["-u", "+%Y-%m-%d"])).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "Measured by `cargo xtask attack` on {date}, {cores} cores for host, Redis and load together."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_says_when_and_by_which_command() {
        let heading = heading();
        assert!(heading.contains("`cargo xtask attack` on 2"), "{heading}");
    }
}
