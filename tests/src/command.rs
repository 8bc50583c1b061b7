//! Commands of the binary: run to their end, or started and looked at while they go on.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{HostProcess, eventually_within};

/// Every look is a process of its own, so that much of a busy machine's time goes by.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// The result.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
}

impl Ran {
    /// Run the binary with these arguments and nothing to read.
    #[must_use]
    pub fn of(args: &[&str]) -> Self {
        Self::with(args, b"")
    }

    /// Run the binary with these arguments and this standard input.
    ///
    /// # Panics
    /// If it cannot be started or is killed.
    #[must_use]
    pub fn with(args: &[&str], input: &[u8]) -> Self {
        let mut child = HostProcess::command()
            .args(args)
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        // A command that does not read its input closes it.
        let _ = child.stdin.take().expect("a standard input").write_all(input);
        Self::from(child.wait_with_output().expect("it ends"))
    }

    /// The exit code and both streams, for snapshots.
    #[must_use]
    pub fn all(&self) -> String {
        let mut all = format!("exit {}\n", self.code);
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                all.push_str(&format!("--- {name}\n{text}"));
            }
        }
        all
    }

    /// It, if its exit code is this one.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// It, if it worked.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// What it printed, without the end of the line, if it worked.
    #[track_caller]
    #[must_use]
    pub fn said(self) -> String {
        self.succeeds().stdout.trim_end().to_owned()
    }

    /// The document that it printed.
    ///
    /// # Panics
    /// If it printed something else.
    #[track_caller]
    #[must_use]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.all()))
    }
}

impl From<Output> for Ran {
    fn from(Output { status, stdout, stderr }: Output) -> Self {
        Self {
            code: status.code().expect("an exit code"),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

/// A command that goes on; killed when dropped.
pub struct Started {
    child: Child,
    folder: TempDir,
}

impl Started {
    /// Start the binary with these arguments and nothing to read.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn of(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name| std::fs::File::create(folder.path().join(name)).expect("a file");
        let child = HostProcess::command()
            .args(args)
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the binary starts");
        Self { child, folder }
    }

    fn read(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::read_to_string(path).expect("text")
    }

    /// Wait until it has said this beside its results.
    pub async fn says(&self, what: &str) {
        eventually_within(PATIENCE, &format!("it says `{what}`"), || async {
            self.read("stderr").contains(what).then_some(())
        })
        .await;
    }

    /// Wait until it has printed something.
    pub async fn prints(&self, what: &str) {
        eventually_within(PATIENCE, &format!("it prints `{what}`"), || async {
            self.read("stdout").contains(what).then_some(())
        })
        .await;
    }

    /// Wait for its end.
    ///
    /// # Panics
    /// If it does not end in time or is killed.
    pub async fn ended(mut self) -> Ran {
        let mut code = None;
        eventually_within(PATIENCE, "the command ends", || {
            code = self.child.try_wait().expect("wait").map(|status| status.code());
            std::future::ready(code)
        })
        .await;
        Ran {
            code: code.flatten().expect("an exit code"),
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Run a prepared command of the binary to its end.
///
/// # Panics
/// If it cannot be started or is killed.
#[must_use]
pub fn ran(command: &mut Command) -> Ran {
    command.stdin(Stdio::null()).output().expect("the binary starts").into()
}
