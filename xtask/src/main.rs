//! Developer commands, run as `cargo xtask <command>`.
//!
//! They prepare a fresh machine, build the handlers, run every check that CI runs, so
//! that a developer and CI never do different things, and show and measure the whole. This crate drives
//! the other crates as programs and links none of them: it compiles in seconds
//! and still works while they do not compile.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program talks on the terminal"
)]

mod attack;
mod bench;
mod demo;
mod deploy;
mod figure;
mod figures;
mod guests;
mod image;
mod interrupt;
mod layout;
mod packages;
mod program;
mod screenshots;
mod setup;
mod verify;

use std::path::PathBuf;
use std::process::{Command as ProcessCommand, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use layout::Layout;
use program::Stop;

/// Developer commands of Bulkhead.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what building and testing need, and say what was found.
    Setup,
    /// Build every plugin and every test guest to WebAssembly.
    Guests,
    /// Set up, build the guests, check format, lints and documents, run all tests.
    Test,
    /// Show everything on this machine: work, a replaced plugin, limits, a clean stop.
    Demo {
        /// Folder for what the tasks produce [default: target/demo/out, emptied first].
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Attack a host with the gallery and write the table into `docs/security.md`.
    Attack(attack::Options),
    /// Write `docs/metrics.md` from the table in the code.
    Metrics,
    /// Hold what is in `deploy` against the tools that are made for it.
    Deploy,
    /// Build the image with docker, have a container of it do a task, and stop it.
    Image,
    /// Draw the autoscaler on a simulated load into `docs/images/autoscaler.svg`.
    Figure,
    /// Take pictures of the dashboard at work into `docs/images`.
    Screenshots,
    /// Measure speed and print medians.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let layout = Layout::new(std::env::var_os("CARGO_TARGET_DIR"));
    match run(&arguments.command, &layout) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(&error),
    }
}

fn run(command: &Command, layout: &Layout) -> Result<()> {
    match command {
        Command::Setup => setup::install(layout),
        Command::Guests => guests::build(layout),
        Command::Test => verify::run(layout),
        Command::Demo { out } => demo::show(layout, out.clone()),
        Command::Metrics => write_metrics(layout),
        Command::Attack(options) => attack::measure(layout, options),
        Command::Deploy => deploy::check(layout),
        Command::Image => image::check(layout),
        Command::Figure => figure::draw(layout),
        Command::Screenshots => screenshots::take(layout),
        Command::Bench(options) => bench::measure(layout, options),
    }
}

/// Writes the page of metrics, which an example prints.
fn write_metrics(layout: &Layout) -> Result<()> {
    // Of the whole workspace: another set of packages would have other features.
    let example = ["build", "--workspace", "--example", "metrics_page"];
    program::run(&mut program::cargo(layout.root(), example))?;
    let page =
        program::printed(&mut ProcessCommand::new(layout.dev_binary("examples/metrics_page")))?;
    let path = layout.root().join("docs/metrics.md");
    std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints why the command stopped and picks the exit code.
fn end(error: &anyhow::Error) -> ExitCode {
    let exit_code = match error.downcast_ref::<Stop>() {
        Some(Stop::Exited(code)) => Some(*code),
        _ => None,
    };
    // A check that failed has explained itself; its last lines stay the last lines.
    if exit_code.is_none() || error.chain().len() > 1 {
        eprintln!("error: {error:#}");
    }
    ExitCode::from(exit_code.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_command_is_required() {
        assert!(Arguments::try_parse_from(["xtask"]).is_err());
        assert!(Arguments::try_parse_from(["xtask", "test", "extra"]).is_err());
        let arguments = Arguments::try_parse_from(["xtask", "test"]).unwrap();
        assert!(matches!(arguments.command, Command::Test));
    }
}
