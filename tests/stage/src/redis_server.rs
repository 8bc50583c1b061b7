//! A Redis server that belongs to one test and is killed when it is dropped.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_queue::{RedisBroker, RedisConfig};
use tempfile::TempDir;

use crate::clock::{LIBRARY, StageClock};

/// Whether the server's data survives its restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing is written.
    None,
    /// Every write is on disk before it is answered.
    Always,
    /// Writes are on disk within a second: a crash of the machine loses the last one.
    EverySecond,
}

/// A running server.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    folder: TempDir,
    persistence: Persistence,
    clock: Option<Arc<StageClock>>,
}

impl RedisServer {
    /// Start a server without persistence on a free port of the loopback interface.
    ///
    /// # Panics
    /// If `redis-server` is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Persistence::None)
    }

    /// Start a server on a free port of the loopback interface.
    ///
    /// # Panics
    /// If `redis-server` is not installed or does not start.
    #[must_use]
    pub fn start_with(persistence: Persistence) -> Self {
        Self::launch(persistence, None)
    }

    /// Start a server without persistence that lives by this clock.
    ///
    /// # Panics
    /// If `redis-server` is not installed or does not start.
    #[must_use]
    pub fn start_at(clock: Arc<StageClock>) -> Self {
        Self::launch(Persistence::None, Some(clock))
    }

    fn launch(persistence: Persistence, clock: Option<Arc<StageClock>>) -> Self {
        // Another process may take the port between looking and binding: try again.
        for _ in 0..20 {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let port = free_port();
            let child = Some(spawn(port, folder.path(), persistence, clock.as_deref()));
            let mut server = Self { child, port, folder, persistence, clock: clock.clone() };
            if server.answers() {
                return server;
            }
        }
        panic!("redis-server did not start; run `cargo xtask setup`");
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The server's port on the loopback interface.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A broker on this server.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn broker(&self) -> RedisBroker {
        RedisBroker::connect(RedisConfig::new(self.url())).await.expect("a connection")
    }

    /// A plain connection to this server.
    ///
    /// # Panics
    /// If it cannot connect.
    #[must_use]
    pub fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a client");
        client.get_connection().expect("a connection")
    }

    /// Run one command, given as its words.
    ///
    /// # Panics
    /// If the server refuses it.
    pub fn run(&self, words: &[&[u8]]) -> redis::Value {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query(&mut self.connection()).expect("a command that the server takes")
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The keys it holds, sorted.
    ///
    /// # Panics
    /// If it does not answer.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let keys = redis::cmd("KEYS").arg("*").query(&mut self.connection());
        let mut keys: Vec<String> = keys.expect("an answer");
        keys.sort();
        keys
    }

    /// The server's process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kill the server as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Start it again on the same port and data.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let clock = self.clock.as_deref();
            self.child = Some(spawn(self.port, self.folder.path(), self.persistence, clock));
            if self.answers() {
                return;
            }
        }
        panic!("redis-server did not start again");
    }

    /// Whether it answers before it exits or ten seconds pass.
    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let exited = self.child.as_mut().is_none_or(|c| !matches!(c.try_wait(), Ok(None)));
            if exited {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok()
                && let Ok(client) = redis::Client::open(self.url())
                && let Ok(mut connection) = client.get_connection()
                && redis::cmd("PING").query::<String>(&mut connection).is_ok()
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn spawn(port: u16, folder: &Path, persistence: Persistence, clock: Option<&StageClock>) -> Child {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .arg("--dir")
        .arg(folder);
    match persistence {
        Persistence::None => command.args(["--appendonly", "no"]),
        Persistence::Always => command.args(["--appendonly", "yes", "--appendfsync", "always"]),
        Persistence::EverySecond => {
            command.args(["--appendonly", "yes", "--appendfsync", "everysec"])
        }
    };
    if let Some(clock) = clock {
        command.env("LD_PRELOAD", LIBRARY).env("STAGE_CLOCK_FILE", clock.path());
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server, which `cargo xtask setup` installs")
}
