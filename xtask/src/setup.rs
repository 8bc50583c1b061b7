//! Getting a machine ready: WebAssembly targets, rustfmt, clippy, servers, languages, a browser.
//!
//! What is there already is left alone and needs no network. Nothing is started:
//! tests and the demo run servers of their own on free ports, and a server that
//! Debian's package would start is held back.

use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::layout::Layout;
use crate::packages::{CHROMIUM, NODE, NPM, PYTHON, REDIS, VALKEY};
use crate::program::{ask, run};

/// The targets that handlers are built for.
pub(crate) const HANDLER_TARGETS: [&str; 2] = ["wasm32-wasip2", "wasm32-wasip1"];

/// Makes sure of everything, in the order in which it is needed.
pub(crate) fn install(layout: &Layout) -> Result<()> {
    for target in HANDLER_TARGETS {
        ensure_target(layout.root(), target)?;
    }
    ensure_component(layout.root(), "rustfmt", "fmt")?;
    ensure_component(layout.root(), "clippy", "clippy")?;
    for package in [REDIS, VALKEY, PYTHON, NODE, NPM, CHROMIUM] {
        package.ensure()?;
    }
    report_nextest(layout.root());
    Ok(())
}

/// Makes sure of what building takes, and of nothing that only checks need: a host needs no
/// server.
pub(crate) fn install_to_build(layout: &Layout) -> Result<()> {
    ensure_target(layout.root(), HANDLER_TARGETS[0])
}

/// Makes sure of what measuring takes.
pub(crate) fn install_to_measure(layout: &Layout) -> Result<()> {
    install_to_build(layout)?;
    REDIS.ensure()
}

fn ensure_target(root: &Path, target: &str) -> Result<()> {
    let name = format!("target {target}");
    if has_target(root, target) {
        say(&name, "found");
        return Ok(());
    }
    say(&name, "not found, installing");
    rustup(root, &["target", "add", target])?;
    ensure!(has_target(root, target), "`rustup target add {target}` did not install the target");
    say(&name, "installed");
    Ok(())
}

/// Asks the compiler, not rustup: a compiler from elsewhere may have the target too.
fn has_target(root: &Path, target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(root).args(["--print", "target-libdir", "--target", target]);
    ask(&mut rustc).is_some_and(|folder| Path::new(&folder).is_dir())
}

fn ensure_component(root: &Path, component: &str, subcommand: &str) -> Result<()> {
    let version = || ask(Command::new("cargo").current_dir(root).args([subcommand, "--version"]));
    if let Some(version) = version() {
        say(component, &format!("found {version}"));
        return Ok(());
    }
    say(component, "not found, installing");
    rustup(root, &["component", "add", component])?;
    let version =
        version().with_context(|| format!("`{component}` does not run after its installation"))?;
    say(component, &format!("installed {version}"));
    Ok(())
}

fn rustup(root: &Path, arguments: &[&str]) -> Result<()> {
    let wanted = arguments.join(" ");
    if ask(Command::new("rustup").arg("--version")).is_none() {
        bail!("this needs `rustup {wanted}`, but rustup is not installed: see https://rustup.rs");
    }
    run(Command::new("rustup").current_dir(root).args(arguments).stdout(io::stderr()))
        .with_context(|| format!("`rustup {wanted}` failed"))
}

fn report_nextest(root: &Path) {
    let mut nextest = Command::new("cargo");
    nextest.current_dir(root).args(["nextest", "--version"]);
    match ask(&mut nextest) {
        Some(printed) => say("cargo-nextest", &format!("found {}", first_line(&printed))),
        None => say("cargo-nextest", "not found; `cargo test` will run the tests (slower)"),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

pub(crate) fn say(name: &str, state: &str) {
    eprintln!("  {name:<22} {state}");
}
