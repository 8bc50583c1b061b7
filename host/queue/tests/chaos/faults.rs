//! The faults, from outside: signals, proxies, a server that dies.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bulkhead_stage::Proxy;
use rustix::process::{Pid, Signal, kill_process};

use crate::host::{EFFECTS, ORDERS};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A host is killed, and another starts.
    HostKilled,
    /// A host stands still for a while.
    HostPaused,
    /// A host cannot reach the server for a while.
    HostCutOff,
    /// The producer cannot reach the server for a while.
    ProducerCutOff,
    /// The server is killed and starts again.
    ServerKilled,
    /// The server's machine loses power: what no sync had made sure of is gone.
    PowerLost,
    /// The same while syncs take much longer, so that writes wait for a sync to end.
    PowerLostWhileSlow,
    /// Syncs take much longer for a while.
    DiskSlow,
    /// The server forgets its scripts.
    ScriptsFlushed,
}

impl Fault {
    pub(crate) const ALL: [Self; 9] = [
        Self::HostKilled,
        Self::HostPaused,
        Self::HostCutOff,
        Self::ProducerCutOff,
        Self::ServerKilled,
        Self::ScriptsFlushed,
        Self::PowerLost,
        Self::PowerLostWhileSlow,
        Self::DiskSlow,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HostKilled => "host killed",
            Self::HostPaused => "host paused",
            Self::HostCutOff => "host cut off",
            Self::ProducerCutOff => "producer cut off",
            Self::ServerKilled => "server killed",
            Self::PowerLost => "power lost",
            Self::PowerLostWhileSlow => "power lost, disk slow",
            Self::DiskSlow => "disk slow",
            Self::ScriptsFlushed => "scripts flushed",
        }
    }
}

/// A host's process and its way to the server.
pub(crate) struct HostProcess {
    pub(crate) name: String,
    child: Child,
    pub(crate) proxy: Proxy,
    _folder: tempfile::TempDir,
}

impl HostProcess {
    /// Start one: this test again, with orders in the folder that it works in.
    pub(crate) async fn start(test: &str, name: String, port: u16, ledger: &Path) -> Self {
        let (folder, proxy) = (tempfile::tempdir().unwrap(), Proxy::to(port).await);
        let orders = format!("{name}\n{}\n{}\n", proxy.url(), ledger.join(EFFECTS).display());
        std::fs::write(folder.path().join(ORDERS), orders).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { name, child, proxy, _folder: folder }
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) async fn pause(&self, time: Duration) {
        self.signal(Signal::STOP);
        tokio::time::sleep(time).await;
        self.signal(Signal::CONT);
    }

    pub(crate) async fn cut(&self, time: Duration) {
        self.proxy.cut();
        tokio::time::sleep(time).await;
        self.proxy.mend();
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
