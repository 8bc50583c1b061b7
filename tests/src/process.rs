//! The real binary as a process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    built("bulkhead")
}

fn built(name: &str) -> PathBuf {
    let debug = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug").join(name);
    assert!(debug.exists(), "{} is not built; run `cargo xtask test`", debug.display());
    debug
}

/// A `bulkhead run` process, killed when dropped.
pub struct HostProcess {
    child: Child,
    log: PathBuf,
}

impl HostProcess {
    /// The command line of the binary, without anything from the environment that
    /// configures it.
    #[must_use]
    pub fn command() -> Command {
        Self::plain(Command::new(binary()))
    }

    /// The same on a kernel that lacks something, as `older-kernel` knows it.
    #[must_use]
    pub fn on_older_kernel(lacks: &str) -> Command {
        let mut command = Self::plain(Command::new(built("older-kernel")));
        command.arg(lacks).arg(binary());
        command
    }

    fn plain(mut command: Command) -> Command {
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("BULKHEAD_") {
                command.env_remove(key);
            }
        }
        // Without a home there is no cache of compiled plugins that tests would share.
        command.env_remove("HOME").env_remove("XDG_CACHE_HOME");
        command.env("RUST_LIB_BACKTRACE", "0");
        command
    }

    /// Start a host on a broker and a plugin folder; its log goes to a file beside
    /// the folder.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(url: &str, plugins: &Path, name: &str, extra: &[&str]) -> Self {
        let mut command = Self::command();
        command.args(["--broker", url, "run", "--name", name, "--plugins"]).arg(plugins);
        command.args(extra);
        Self::spawn(command, plugins.join(format!("{name}.log")))
    }

    /// Start a command line that is a host; what it logs goes to this file.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(mut command: Command, log: PathBuf) -> Self {
        let file = std::fs::File::create(&log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the host starts");
        Self { child, log }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Send it a signal by name, for example `STOP`.
    ///
    /// # Panics
    /// If `kill` fails.
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "cannot send {name} to {}", self.pid());
    }

    /// Kill it with SIGKILL and wait for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it has ended, if it has.
    ///
    /// # Panics
    /// If it cannot be told.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }

    /// Wait for its end.
    ///
    /// # Panics
    /// If it has not ended within `bound`.
    pub fn wait(&mut self, bound: Duration) -> ExitStatus {
        let deadline = Instant::now() + bound;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
