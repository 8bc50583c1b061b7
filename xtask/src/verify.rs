//! Everything that must pass before a change is merged.
//!
//! CI runs exactly this. The test runner comes last and nothing is printed after
//! it, so that its summary is what the reader sees at the end. The plan is a plain
//! list of cargo calls; the code that runs it knows no step by name.

use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::deploy;
use crate::guests;
use crate::layout::Layout;
use crate::program::{self, ask, cargo};
use crate::setup;

/// Sets up, builds the guests, then runs every step and stops at the first failure.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    let start = Instant::now();
    let has_nextest = ask(&mut cargo(layout.root(), ["nextest", "--version"])).is_some();

    announce("setup", start);
    setup::install(layout)?;
    announce("deployment files", start);
    deploy::check(layout)?;
    announce("guests", start);
    guests::build(layout)?;
    for step in plan(has_nextest) {
        announce(step.title, start);
        program::run(&mut step.command(layout))?;
    }
    Ok(())
}

fn announce(title: &str, start: Instant) {
    eprintln!("\n== [{}] {title}", Elapsed(start.elapsed()));
}

/// One cargo call with its heading.
#[derive(Debug)]
struct Step {
    title: &'static str,
    /// What follows `cargo`, separated by single spaces.
    arguments: &'static str,
    environment: Option<(&'static str, &'static str)>,
}

impl Step {
    const fn new(title: &'static str, arguments: &'static str) -> Self {
        Self { title, arguments, environment: None }
    }

    const fn with(self, name: &'static str, value: &'static str) -> Self {
        Self { environment: Some((name, value)), ..self }
    }

    fn command(&self, layout: &Layout) -> Command {
        let mut command = cargo(layout.root(), self.arguments.split(' '));
        command.envs(self.environment);
        command
    }
}

/// The steps after the guests are built.
fn plan(has_nextest: bool) -> Vec<Step> {
    // One selection for binaries and tests: building the host's package alone would
    // choose other features for its dependencies and compile wasmtime once more.
    let binaries = Step::new("binaries and tests", "build --workspace --bins --tests --examples");
    let tests = if has_nextest {
        "nextest run --workspace"
    } else {
        // Not the doc tests, which have run by then.
        "test --workspace --tests --no-fail-fast"
    };
    vec![
        Step::new("format", "fmt --all --check"),
        Step::new("lints", "clippy --workspace --all-targets -- -D warnings"),
        Step::new("documents", "doc --workspace --no-deps").with("RUSTDOCFLAGS", "-Dwarnings"),
        binaries,
        Step::new("doc tests", "test --workspace --doc"),
        // No part of the binary's build, so no part of the workspace's.
        Step::new("the API on actix-web", "test -p bulkhead-api --features actix --test actix"),
        Step::new("tests", tests),
    ]
}

/// Time since the start, as minutes and seconds.
struct Elapsed(Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        write!(f, "{}:{:02}", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(has_nextest: bool) -> Vec<&'static str> {
        plan(has_nextest).iter().map(|step| step.arguments).collect()
    }

    #[test]
    fn every_check_is_in_the_plan_and_the_test_runner_is_last() {
        assert_eq!(
            arguments(true),
            [
                "fmt --all --check",
                "clippy --workspace --all-targets -- -D warnings",
                "doc --workspace --no-deps",
                "build --workspace --bins --tests --examples",
                "test --workspace --doc",
                "test -p bulkhead-api --features actix --test actix",
                "nextest run --workspace",
            ]
        );
    }

    #[test]
    fn without_nextest_cargo_runs_the_same_tests() {
        let (with, without) = (arguments(true), arguments(false));
        assert_eq!(with[..6], without[..6]);
        assert_eq!(without[6..], ["test --workspace --tests --no-fail-fast"]);
    }

    #[test]
    fn warnings_in_documents_are_errors() {
        let layout = Layout::new(None);
        let documents = plan(true).into_iter().find(|step| step.title == "documents").unwrap();
        let command = documents.command(&layout);
        let set: Vec<_> =
            command.get_envs().filter_map(|(name, value)| Some((name, value?))).collect();
        assert_eq!(set, [("RUSTDOCFLAGS".as_ref(), "-Dwarnings".as_ref())]);
        assert_eq!(command.get_current_dir(), Some(layout.root()));
    }

    #[test]
    fn elapsed_time_is_in_minutes_and_seconds() {
        assert_eq!(Elapsed(Duration::from_millis(9_999)).to_string(), "0:09");
        assert_eq!(Elapsed(Duration::from_secs(754)).to_string(), "12:34");
    }
}
