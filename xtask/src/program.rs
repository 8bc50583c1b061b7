//! Running other programs.
//!
//! A program that fails stops the command with that program's exit code; nothing
//! is retried and no failure is swallowed. Which programs are run, and why, is
//! for the callers to know.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// A program ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It exited with this code, having printed its own explanation.
    Exited(u8),
    /// This signal ended it before it could explain anything.
    Signalled {
        /// The program's name.
        program: String,
        /// The signal's number.
        signal: i32,
    },
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "a program failed with exit code {code}"),
            Self::Signalled { program, signal } => {
                write!(f, "`{program}` was ended by signal {signal}; run the command again")
            }
        }
    }
}

impl std::error::Error for Stop {}

/// How cargo describes a package to a program that it runs.
const PACKAGE_VARIABLES: [&str; 16] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

/// `cargo` in the directory `root`, with `arguments`.
pub(crate) fn cargo<A: AsRef<OsStr>>(
    root: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root);
    // `cargo run` describes xtask's own package to its children. Build scripts
    // that watch these variables would be run again after every xtask.
    for name in PACKAGE_VARIABLES {
        command.env_remove(name);
    }
    command
}

/// Runs `command` on this terminal and waits for its success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start `{program}`"))?;
    judge(&program, status)?;
    Ok(())
}

/// All that `command` prints on its standard output; what else it says goes to this terminal.
pub(crate) fn printed(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start `{program}`"))?;
    judge(&program, output.status)?;
    Ok(output.stdout)
}

/// What `command` prints on its standard output, trimmed; `None` if it is not
/// installed or does not succeed.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn judge(program: &str, status: ExitStatus) -> Result<(), Stop> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        // Unix exit codes fit in a byte.
        (Some(code), _) => Err(Stop::Exited(u8::try_from(code).unwrap_or(1))),
        (None, signal) => {
            Err(Stop::Signalled { program: program.to_owned(), signal: signal.unwrap_or(0) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_exit_code_of_a_failed_program_is_kept() {
        assert!(run(&mut shell("exit 0")).is_ok());
        let error = run(&mut shell("exit 101")).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Stop::Exited(101)));
    }

    #[test]
    fn a_signal_is_named() {
        let error = run(&mut shell("kill -9 $$")).unwrap_err();
        assert_eq!(error.to_string(), "`sh` was ended by signal 9; run the command again");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program")).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot start `no-such-program`: "));
    }

    #[test]
    fn only_a_successful_program_answers() {
        assert_eq!(ask(&mut shell("echo ' yes '")).as_deref(), Some("yes"));
        assert_eq!(ask(&mut shell("echo no; exit 1")), None);
        assert_eq!(ask(&mut Command::new("no-such-program")), None);
    }

    #[test]
    fn children_are_not_told_about_this_package() {
        let removed = |name: &str| {
            let command = cargo(Path::new("/"), ["build"]);
            command.get_envs().any(|(key, value)| key == name && value.is_none())
        };
        // Whatever the cargo of today says of this package, it is in the list.
        let told = std::env::vars().map(|(name, _)| name);
        let told: Vec<_> = told.filter(|name| name.starts_with("CARGO_PKG_")).collect();
        assert!(!told.is_empty());
        assert!(told.iter().all(|name| removed(name)), "{told:?}");
        assert!(removed("CARGO_MANIFEST_DIR"));
        assert!(!removed("CARGO_HOME"));
    }
}
