//! An embedded broker in a folder, reached as people reach it: through the binary alone.

use std::future::ready;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{HostProcess, Ran, Started, eventually_within, install};

/// Every look is a process of its own, so that much of a busy machine's time goes by.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder for an embedded broker, and a plugin folder with the guest `unruly`.
pub struct EmbeddedFolder {
    root: TempDir,
}

impl Default for EmbeddedFolder {
    fn default() -> Self {
        Self::new()
    }
}

impl EmbeddedFolder {
    /// A folder that no host has had yet.
    ///
    /// # Panics
    /// If it cannot be set up.
    #[must_use]
    pub fn new() -> Self {
        let folder = Self { root: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(folder.plugins()).expect("a folder");
        install(&folder.plugins(), "unruly");
        folder
    }

    /// Where the broker keeps its tasks.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.path().join("queue")
    }

    /// The plugin folder.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.root.path().join("plugins")
    }

    /// Where a running host listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.data().join("bulkhead.sock")
    }

    /// What commands name to reach the broker.
    #[must_use]
    pub fn url(&self) -> String {
        format!("embedded:{}", self.data().display())
    }

    /// Put a file beside both folders; its path.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.root.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    /// Run a command on the broker.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&[&["--broker", &self.url()], args].concat())
    }

    /// Start a command on the broker that goes on by itself.
    #[must_use]
    pub fn begin(&self, args: &[&str]) -> Started {
        Started::of(&[&["--broker", &self.url()], args].concat())
    }

    /// Run a command that works, and read its document.
    ///
    /// # Panics
    /// If it fails or answers something else.
    #[track_caller]
    #[must_use]
    pub fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).succeeds().json()
    }

    /// Submit one task; its id.
    #[track_caller]
    #[must_use]
    pub fn submit(&self, args: &[&str]) -> String {
        self.run(&[&["submit"], args].concat()).said()
    }

    /// A task as its document.
    #[track_caller]
    #[must_use]
    pub fn task(&self, id: &str) -> Value {
        self.json(&["task", "show", id])
    }

    /// Wait until a task is in this state.
    pub async fn reaches(&self, id: &str, state: &str) {
        eventually_within(PATIENCE, &format!("the task {id} is {state}"), || async {
            (self.task(id)["state"] == state).then_some(())
        })
        .await;
    }

    /// Start a host on it, and wait until it serves what is in the plugin folder.
    pub async fn host(&self, name: &str, extra: &[&str]) -> HostProcess {
        let mut host = self.start(name, extra);
        eventually_within(PATIENCE, &format!("{name} serves"), || {
            assert_eq!(host.ended(), None, "{}", host.log());
            ready(self.is_served_by(name).then_some(()))
        })
        .await;
        host
    }

    fn is_served_by(&self, name: &str) -> bool {
        let listed = self.run(&["plugin", "list", "--json"]);
        // While the host starts there is nothing to list.
        let plugins: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap_or_default();
        let serves =
            |plugin: &Value| plugin["host"] == name && plugin["serving"]["digest"].is_string();
        plugins.iter().any(serves)
    }

    /// Start a host on it.
    #[must_use]
    pub fn start(&self, name: &str, extra: &[&str]) -> HostProcess {
        HostProcess::start(&self.url(), &self.plugins(), name, extra)
    }
}
