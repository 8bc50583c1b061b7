//! A place where hosts run: a server, a plugin folder, a client.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{Digest, Outcome, Payload, QueueName, State, TaskId, TaskType};
use bulkhead_queue::{Client, Entry, NewTask, QueueStats, SubmitLimits, TaskView};
use tempfile::TempDir;

use crate::{HostProcess, RedisServer, eventually, install};

/// A server, a plugin folder with the guest `unruly`, and a client.
pub struct Site {
    /// The server.
    pub server: RedisServer,
    /// The plugin folder.
    pub plugins: TempDir,
    /// A client.
    pub client: Client,
}

impl Site {
    /// A site on this server.
    ///
    /// # Panics
    /// If it cannot be set up.
    pub async fn on(server: RedisServer) -> Self {
        let site = Self::bare(server).await;
        install(site.folder(), "unruly");
        site
    }

    /// A site whose plugin folder is empty.
    ///
    /// # Panics
    /// If it cannot be set up.
    pub async fn bare(server: RedisServer) -> Self {
        let plugins = tempfile::tempdir().expect("a folder");
        let client = Client::new(Arc::new(server.broker().await), SubmitLimits::default());
        Self { server, plugins, client }
    }

    /// A site on a server without persistence.
    pub async fn new() -> Self {
        Self::on(RedisServer::start()).await
    }

    /// The folder's path.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.plugins.path()
    }

    /// Start a host and wait until it serves.
    pub async fn host(&self, name: &str, extra: &[&str]) -> HostProcess {
        self.host_on(&self.server.url(), name, extra).await
    }

    /// Start a host that reaches the server by another URL, and wait until it serves.
    pub async fn host_on(&self, url: &str, name: &str, extra: &[&str]) -> HostProcess {
        let host = HostProcess::start(url, self.folder(), name, extra);
        eventually(&format!("{name} serves"), || async {
            let hosts = self.client.broker().hosts().await.ok()?;
            let me = hosts.iter().find(|host| host.name == name)?;
            me.plugins.iter().any(|plugin| plugin.serving.is_some()).then_some(())
        })
        .await;
        host
    }

    /// Submit one task with a text payload.
    ///
    /// # Panics
    /// If the broker refuses.
    pub async fn submit(&self, task_type: &str, payload: impl Into<Vec<u8>>) -> TaskId {
        self.client.submit(task(task_type, payload)).await.expect("submitted").id
    }

    /// Submit many tasks of one type.
    ///
    /// # Panics
    /// If the broker refuses.
    pub async fn submit_many(&self, n: usize, task_type: &str, payload: &str) -> Vec<TaskId> {
        let tasks = (0..n).map(|_| task(task_type, payload)).collect();
        let submitted = self.client.submit_many(tasks).await.expect("submitted");
        submitted.into_iter().map(|s| s.id).collect()
    }

    /// Submit one task and wait for its end.
    ///
    /// # Panics
    /// If it does not end within a minute.
    pub async fn ended(&self, task_type: &str, payload: impl Into<Vec<u8>>) -> TaskView {
        let id = self.submit(task_type, payload).await;
        self.wait(id).await
    }

    /// Wait for a task's end.
    ///
    /// # Panics
    /// If it does not end within a minute.
    pub async fn wait(&self, id: TaskId) -> TaskView {
        let waited = self.client.wait(&QueueName::default(), id, Duration::from_secs(60)).await;
        waited.expect("a broker").unwrap_or_else(|| panic!("{id} has not ended"))
    }

    /// A task as it is now.
    ///
    /// # Panics
    /// If it is unknown.
    pub async fn view(&self, id: TaskId) -> TaskView {
        let views = self.client.broker().inspect(&QueueName::default(), &[id]).await;
        views.expect("a broker").remove(0).expect("a known task")
    }

    /// Tasks as they are now.
    ///
    /// # Panics
    /// If one is unknown.
    pub async fn views(&self, ids: &[TaskId]) -> Vec<TaskView> {
        let mut views = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(500) {
            let found = self.client.broker().inspect(&QueueName::default(), chunk).await;
            views.extend(found.expect("a broker").into_iter().map(|v| v.expect("a known task")));
        }
        views
    }

    /// Depths and counters.
    ///
    /// # Panics
    /// If the broker is away.
    pub async fn stats(&self) -> QueueStats {
        self.client.broker().stats(&QueueName::default()).await.expect("a broker")
    }

    /// Wait until a task runs.
    pub async fn running(&self, id: TaskId) -> TaskView {
        eventually("the task runs", || async {
            let view = self.view(id).await;
            (view.state == State::Running).then_some(view)
        })
        .await
    }
}

/// A task of one type with a text payload.
///
/// # Panics
/// If the type is no name.
#[must_use]
pub fn task(task_type: &str, payload: impl Into<Vec<u8>>) -> NewTask {
    let task_type = TaskType::new(task_type).expect("a task type");
    NewTask::new(task_type, Payload::new(Payload::TEXT, payload.into()))
}

/// The version that a task's last attempt ran on.
///
/// # Panics
/// If it has had none.
#[must_use]
pub fn version(view: &TaskView) -> Digest {
    view.last_report().expect("a report").digest
}

/// The text that a task's last attempt answered with.
///
/// # Panics
/// If it did not.
#[must_use]
pub fn output(view: &TaskView) -> String {
    let report = view.last_report().expect("a report");
    match &report.outcome {
        Outcome::Done(output) => String::from_utf8_lossy(&output.data).into_owned(),
        Outcome::Failed(failure) => panic!("{failure:?}"),
    }
}

/// The failure that a task's last attempt ended with.
///
/// # Panics
/// If it did not.
#[must_use]
pub fn failure(view: &TaskView) -> &bulkhead_core::Failure {
    match &view.last_report().expect("a report").outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Done(output) => panic!("{output:?}"),
    }
}

/// How many attempts of a task lost their lease.
#[must_use]
pub fn lost_leases(view: &TaskView) -> usize {
    view.history.iter().filter(|entry| matches!(entry, Entry::LeaseLost { .. })).count()
}
