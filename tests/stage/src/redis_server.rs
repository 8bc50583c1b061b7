//! A Redis or Valkey server that belongs to one test and is killed when it is dropped.

use std::sync::Arc;

use bulkhead_queue::{RedisBroker, RedisConfig};

use crate::clock::StageClock;
use crate::disk::{Loss, StageDisk};
use crate::process::{Process, Program, basics};

/// Whether the server's data survives its restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing is written.
    None,
    /// Every write is on disk before it is answered.
    Always,
    /// Writes are answered first and synced once a second: a crash of the machine loses what no
    /// sync had made sure of.
    EverySecond,
}

impl Persistence {
    pub(crate) fn arguments(self) -> impl Iterator<Item = String> {
        let arguments: &[&str] = match self {
            Self::None => &["--appendonly", "no"],
            Self::Always => &["--appendonly", "yes", "--appendfsync", "always"],
            Self::EverySecond => &["--appendonly", "yes", "--appendfsync", "everysec"],
        };
        arguments.iter().map(|argument| (*argument).to_owned())
    }
}

/// A running server.
pub struct RedisServer(Process);

/// The log is one file: it is never written anew.
const ONE_LOG: [&str; 2] = ["--auto-aof-rewrite-percentage", "0"];

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

    /// Start a server without persistence that lives by this clock.
    ///
    /// # Panics
    /// If `redis-server` is not installed or does not start.
    #[must_use]
    pub fn start_at(clock: Arc<StageClock>) -> Self {
        Self(Process::start_with(Program::Redis, Some(clock.preload()), |port, folder| {
            let mut all = basics(port, folder);
            all.extend(Persistence::None.arguments());
            all
        }))
    }

    /// Start a server that has this disk.
    ///
    /// # Panics
    /// If `redis-server` is not installed or does not start.
    #[must_use]
    pub fn start_on(disk: &StageDisk, persistence: Persistence) -> Self {
        Self(Process::start_with(Program::Redis, Some(disk.preload()), |port, folder| {
            let mut all = basics(port, folder);
            all.extend(persistence.arguments());
            all.extend(ONE_LOG.map(str::to_owned));
            all
        }))
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
    pub fn folder(&self) -> &std::path::Path {
        self.0.folder.path()
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
        self.0.pid()
    }

    /// Kill the server as a crash would.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Kill the server as a crash would: what it had written is there, synced or not.
    pub fn crash(&mut self, disk: &StageDisk) -> Loss {
        self.0.kill();
        disk.written()
    }

    /// Kill the server as a loss of power would: what no sync had made sure of is gone.
    ///
    /// # Panics
    /// If the log cannot be cut.
    pub fn lose_power(&mut self, disk: &StageDisk) -> Loss {
        self.0.kill();
        disk.cut(self.0.folder.path())
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
