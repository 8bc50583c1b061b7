//! Getting a machine ready: WebAssembly targets, rustfmt, clippy, a Redis server.
//!
//! What is there already is left alone and needs no network. Nothing is started:
//! tests and the demo run servers of their own on free ports, and a server that
//! Debian's package would start is held back.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::layout::Layout;
use crate::program::{ask, run};

/// The targets that handlers are built for.
pub(crate) const HANDLER_TARGETS: [&str; 2] = ["wasm32-wasip2", "wasm32-wasip1"];

/// Installs `redis-server` from Debian without letting the package start it: both
/// init systems ask `policy-rc.d`, where 101 means no. One that somebody else put
/// there stays as it is.
const APT_INSTALL_REDIS: &str = "
set -eu
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
policy=/usr/sbin/policy-rc.d
apt-get update
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\\nexit 101\\n' > $policy
    chmod 755 $policy
fi
apt-get install -y --no-install-recommends redis-server
";

/// Makes sure of everything, in the order in which it is needed.
pub(crate) fn install(layout: &Layout) -> Result<()> {
    for target in HANDLER_TARGETS {
        ensure_target(layout.root(), target)?;
    }
    ensure_component(layout.root(), "rustfmt", "fmt")?;
    ensure_component(layout.root(), "clippy", "clippy")?;
    ensure_redis()?;
    report_nextest(layout.root());
    Ok(())
}

/// Makes sure of what building and running take, and of nothing that only checks need.
pub(crate) fn install_to_run(layout: &Layout) -> Result<()> {
    ensure_target(layout.root(), HANDLER_TARGETS[0])?;
    ensure_redis()
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

fn ensure_redis() -> Result<()> {
    if let Some(version) = redis_version()? {
        say("redis-server", &format!("found {version}"));
        return Ok(());
    }
    let machine = Machine {
        has_apt: ask(Command::new("apt-get").arg("--version")).is_some(),
        is_root: ask(Command::new("id").arg("-u")).as_deref() == Some("0"),
        has_sudo: ask(Command::new("sudo").arg("-V")).is_some(),
    };
    let [program, arguments @ ..] = &installation(machine)?[..] else {
        bail!("there is nothing to run");
    };
    say("redis-server", "not found, installing Debian's package");
    // An installer's chatter is no result: commands that print results call this too.
    run(Command::new(program).args(arguments).stdout(io::stderr()))
        .context("cannot install `redis-server`")?;
    let version = redis_version()?
        .context("`redis-server` is not on the PATH although its package was installed")?;
    say("redis-server", &format!("installed {version}, not started"));
    Ok(())
}

fn redis_version() -> Result<Option<Version>> {
    let Some(printed) = ask(Command::new("redis-server").arg("--version")) else {
        return Ok(None);
    };
    let version = Version::parse(&printed).with_context(|| {
        format!("`redis-server --version` says nothing of a version: {printed}")
    })?;
    ensure!(
        version >= Version::OLDEST_REDIS,
        "`redis-server` is {version}, but {} or newer is needed: upgrade it",
        Version::OLDEST_REDIS
    );
    Ok(Some(version))
}

fn report_nextest(root: &Path) {
    let mut nextest = Command::new("cargo");
    nextest.current_dir(root).args(["nextest", "--version"]);
    match ask(&mut nextest) {
        Some(printed) => say("cargo-nextest", &format!("found {}", first_line(&printed))),
        None => say("cargo-nextest", "not found; `cargo test` will run the tests (slower)"),
    }
}

/// What the choice of installation depends on.
#[derive(Debug, Clone, Copy)]
struct Machine {
    has_apt: bool,
    is_root: bool,
    has_sudo: bool,
}

/// The program and arguments that install Redis on `machine`.
fn installation(machine: Machine) -> Result<Vec<&'static str>> {
    ensure!(
        machine.has_apt,
        "`redis-server` is missing and there is no `apt-get` to install it with: \
         install Redis {} or newer so that `redis-server` is on the PATH, then run this again",
        Version::OLDEST_REDIS
    );
    let script = ["sh", "-c", APT_INSTALL_REDIS];
    match machine {
        Machine { is_root: true, .. } => Ok(script.to_vec()),
        Machine { has_sudo: true, .. } => Ok([&["sudo"], &script[..]].concat()),
        _ => bail!(
            "`redis-server` is missing, and installing it takes root or sudo: \
             run `apt-get install redis-server` as root, then run this again"
        ),
    }
}

/// A server's version: the first two numbers matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    const OLDEST_REDIS: Self = Self { major: 6, minor: 2 };

    /// Reads the `v=` word of `redis-server --version`.
    fn parse(printed: &str) -> Option<Self> {
        let word = printed.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
        let mut numbers = word.split('.').map(|number| number.parse().ok());
        Some(Self { major: numbers.next()??, minor: numbers.next()?? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn say(name: &str, state: &str) {
    eprintln!("  {name:<22} {state}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_servers_print() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(Version::parse(redis), Some(Version { major: 7, minor: 0 }));
        let valkey = "Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(Version::parse(valkey), Some(Version { major: 8, minor: 1 }));
        assert_eq!(Version::parse("Redis server"), None);
        assert_eq!(Version::parse("v=7"), None);
        assert_eq!(Version::parse("v=seven.zero"), None);
    }

    #[test]
    fn versions_compare_by_number() {
        let at = |major, minor| Version { major, minor };
        assert!(at(6, 0) < Version::OLDEST_REDIS);
        assert!(at(6, 2) >= Version::OLDEST_REDIS);
        assert!(at(6, 10) > Version::OLDEST_REDIS);
        assert!(at(7, 0) > Version::OLDEST_REDIS);
    }

    #[test]
    fn root_installs_directly_and_others_by_sudo() {
        let root = Machine { has_apt: true, is_root: true, has_sudo: true };
        assert_eq!(installation(root).unwrap()[..2], ["sh", "-c"]);
        let user = Machine { is_root: false, ..root };
        assert_eq!(installation(user).unwrap()[..3], ["sudo", "sh", "-c"]);
    }

    #[test]
    fn a_machine_that_cannot_install_is_told_what_to_do() {
        let bare = Machine { has_apt: false, is_root: true, has_sudo: false };
        let error = installation(bare).unwrap_err().to_string();
        assert!(error.contains("no `apt-get`") && error.contains("6.2"), "{error}");
        let powerless = Machine { has_apt: true, is_root: false, has_sudo: false };
        let error = installation(powerless).unwrap_err().to_string();
        assert!(error.contains("as root"), "{error}");
    }

    #[test]
    fn the_installation_is_a_valid_script() {
        assert!(ask(Command::new("sh").args(["-n", "-c", APT_INSTALL_REDIS])).is_some());
    }
}
