//! Packages of other languages, each set below `target`, so that only the first run needs the
//! network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Packages of Python.
pub struct Python(PathBuf);

impl Python {
    /// Those that a file of requirements names, in a set of this name.
    ///
    /// # Panics
    /// If they cannot be installed.
    #[must_use]
    pub fn with(set: &str, requirements: &Path) -> Self {
        let folder = folder(set);
        once(&folder, requirements, |_| {
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
            let pip = folder.join("bin/pip");
            run(Command::new(pip).args(["install", "--quiet", "-r"]).arg(requirements));
        });
        Self(folder)
    }

    /// A program of theirs.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        Command::new(self.0.join("bin").join(program))
    }
}

/// Packages of Node.
pub struct Node(PathBuf);

impl Node {
    /// Those that a `package.json` names, in a set of this name.
    ///
    /// # Panics
    /// If they cannot be installed.
    #[must_use]
    pub fn with(set: &str, package: &Path) -> Self {
        let folder = folder(set);
        once(&folder, package, |wanted| {
            fs::write(folder.join("package.json"), wanted).expect("written");
            let npm = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"];
            run(Command::new("npm").args(npm).current_dir(&folder));
        });
        Self(folder)
    }

    /// The folder that they are in. Modules are looked for beside a program.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// A program of theirs.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.0.join("node_modules/.bin").join(program));
        command.current_dir(&self.0);
        command
    }
}

fn folder(set: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let folder = target.join("tmp/languages").join(set);
    fs::create_dir_all(&folder).expect("a folder");
    folder.canonicalize().expect("a folder")
}

/// Do `install` unless it was done for what this file wants. Tests of other processes wait.
fn once(folder: &Path, wanted: &Path, install: impl FnOnce(&str)) {
    let lock = fs::File::create(folder.join("lock")).expect("a lock");
    lock.lock().expect("locked");
    let wanted = fs::read_to_string(wanted).expect("what is wanted");
    let done = folder.join("installed");
    if fs::read_to_string(&done).is_ok_and(|there| there == wanted) {
        return;
    }
    install(&wanted);
    fs::write(done, wanted).expect("written");
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{command:?}: {error}; `cargo xtask setup` installs what is missing")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
