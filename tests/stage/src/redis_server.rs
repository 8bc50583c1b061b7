//! A Redis or Valkey server that belongs to one test and is killed when it is dropped.

use bulkhead_queue::{RedisBroker, RedisConfig};

use crate::process::{Process, Program, basics};

/// Whether the server's data survives its restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing is written.
    None,
    /// Every write is on disk before it is answered.
    Always,
}

impl Persistence {
    pub(crate) fn arguments(self) -> impl Iterator<Item = String> {
        let arguments: &[&str] = match self {
            Self::None => &["--appendonly", "no"],
            Self::Always => &["--appendonly", "yes", "--appendfsync", "always"],
        };
        arguments.iter().map(|argument| (*argument).to_owned())
    }
}

/// A running server.
pub struct RedisServer(Process);

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
        Self::start_as(Program::Redis, persistence, &[])
    }

    /// Start a Valkey server without persistence.
    ///
    /// # Panics
    /// If `valkey-server` is not installed or does not start.
    #[must_use]
    pub fn start_valkey() -> Self {
        Self::start_as(Program::Valkey, Persistence::None, &[])
    }

    /// Start a server of a kind with arguments of its own.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    #[must_use]
    pub fn start_as(program: Program, persistence: Persistence, arguments: &[&str]) -> Self {
        Self(Process::start(program, |port, folder| {
            let mut all = basics(port, folder);
            all.extend(persistence.arguments());
            all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
            all
        }))
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// The server's port on the loopback interface.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
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
        self.0.connection()
    }

    /// Kill the server as a crash would.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Start it again on the same port and data.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.0.restart();
    }

    /// Stop it without ending it: connections stay, nothing is answered.
    ///
    /// # Panics
    /// If it does not run.
    pub fn freeze(&self) {
        self.0.signal("STOP");
    }

    /// Let it go on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn thaw(&self) {
        self.0.signal("CONT");
    }
}
