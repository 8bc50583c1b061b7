//! One server process that belongs to a test and is killed when it is dropped.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::preload::Preload;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `redis-server`.
    Redis,
    /// `valkey-server`.
    Valkey,
    /// `redis-server --sentinel`.
    Sentinel,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Redis | Self::Sentinel => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }
}

/// A running server with a plain port on the loopback interface and a folder of its own.
pub(crate) struct Process {
    program: Program,
    child: Option<Child>,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    arguments: Vec<String>,
    preload: Option<Preload>,
}

impl Process {
    /// Start a server with the arguments that `configure` makes of a free port and a folder.
    pub(crate) fn start(program: Program, configure: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        Self::start_with(program, None, configure)
    }

    /// The same, of a server that has something of the test's instead of the machine's.
    pub(crate) fn start_with(
        program: Program,
        preload: Option<&Preload>,
        configure: impl Fn(u16, &Path) -> Vec<String>,
    ) -> Self {
        // Another process may take the port between looking and binding: try again.
        for _ in 0..20 {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let port = free_port();
            let arguments = configure(port, folder.path());
            let preload = preload.cloned();
            let mut process = Self { program, child: None, port, folder, arguments, preload };
            process.spawn();
            if process.answers() {
                return process;
            }
        }
        panic!("{} did not start; run `cargo xtask setup`", program.name());
    }

    fn spawn(&mut self) {
        let name = self.program.name();
        let mut command = Command::new(name);
        if let Some(preload) = &self.preload {
            command.env("LD_PRELOAD", preload.library).env(preload.variable, preload.page.path());
        }
        let child = command
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| {
            panic!("cannot start {name}, which `cargo xtask setup` installs: {error}")
        }));
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kill it as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Start it again on the same port and data.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.spawn();
            if self.answers() {
                return;
            }
        }
        panic!("{} did not start again", self.program.name());
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Send a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("a running server");
        let sent =
            Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the signal was not sent");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connection(&self) -> redis::Connection {
        self.try_connection().expect("a connection")
    }

    pub(crate) fn try_connection(&self) -> redis::RedisResult<redis::Connection> {
        let connection = redis::Client::open(self.url())?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    }

    /// The reply to a command, as text.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    pub(crate) fn try_ask(&self, command: &[&str]) -> redis::RedisResult<String> {
        redis::cmd(command[0]).arg(&command[1..]).query(&mut self.try_connection()?)
    }

    /// Whether it answers before it exits or its time is over.
    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let exited = self.child.as_mut().is_none_or(|c| !matches!(c.try_wait(), Ok(None)));
            if exited {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok()
                && self.try_ask(&["PING"]).is_ok()
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// The arguments of every server: loopback only, its data in its folder.
pub(crate) fn basics(port: u16, folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    ["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir", &folder]
        .map(str::to_owned)
        .to_vec()
}

/// How long servers may take to agree.
const AGREEMENT: Duration = Duration::from_secs(90);

/// Wait until a blocking check holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + AGREEMENT;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {AGREEMENT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
