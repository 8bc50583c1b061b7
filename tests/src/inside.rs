//! A place where hosts run inside the test, on either broker.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bulkhead::config::{Config, Sources};
use bulkhead::{
    Alerts, Compiler, Host, HostBuilder, HostOptions, IsolationOptions, Metrics, Shutdown, Trigger,
    WorkerProgram,
};
use bulkhead_core::{Digest, QueueName, TaskId, UnixMs};
use bulkhead_queue::{Broker, Client, EmbeddedBroker, NewTask, PluginInfo, SubmitLimits, TaskView};
use tempfile::TempDir;

use crate::process::binary;
use crate::{RedisServer, eventually, install, task};

/// A broker, a plugin folder with the guest `unruly`, and a client.
pub struct Inside {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// A client of it.
    pub client: Client,
    plugins: TempDir,
    isolation: Option<IsolationOptions>,
    server: Option<RedisServer>,
}

/// A host that stops when this is dropped.
pub struct Running {
    /// What the host counts.
    pub metrics: Metrics,
    /// What it warns of.
    pub alerts: Alerts,
    _trigger: Trigger,
}

impl Inside {
    /// A place on a Redis server of its own.
    pub async fn redis() -> Self {
        let server = RedisServer::start();
        let broker = Arc::new(server.broker().await);
        Self::on(broker, Some(server))
    }

    /// A place on a broker in memory.
    #[must_use]
    pub fn embedded() -> Self {
        Self::on(Arc::new(EmbeddedBroker::in_memory()), None)
    }

    fn on(broker: Arc<dyn Broker>, server: Option<RedisServer>) -> Self {
        let plugins = tempfile::tempdir().expect("a folder");
        install(plugins.path(), "unruly");
        let client = Client::new(broker.clone(), SubmitLimits::default());
        Self { broker, client, plugins, isolation: None, server }
    }

    /// The same, where hosts run their guests in worker processes.
    #[must_use]
    pub fn apart(self) -> Self {
        let program = WorkerProgram {
            program: binary(),
            arguments: vec!["guest-worker".into()],
            environment: Vec::new(),
        };
        let isolation = IsolationOptions {
            process: true,
            strict: true,
            program: Some(program),
            ..IsolationOptions::default()
        };
        Self { isolation: Some(isolation), ..self }
    }

    /// The server's port.
    ///
    /// # Panics
    /// If the broker is in memory.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.as_ref().expect("a server").port()
    }

    /// The plugin folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.plugins.path()
    }

    /// Start a host and wait until it has taken up the plugin, or refused it.
    pub async fn host(&self, name: &str, options: HostOptions) -> Running {
        self.host_on(self.broker.clone(), name, options).await
    }

    /// Start a host that reaches the broker by way of another one.
    ///
    /// # Panics
    /// If the options make no sense.
    pub async fn host_on(
        &self,
        broker: Arc<dyn Broker>,
        name: &str,
        options: HostOptions,
    ) -> Running {
        let options = self.options(name, options);
        self.host_of(name, Host::builder(broker, options)).await
    }

    /// The options that every host here has.
    #[must_use]
    pub fn options(&self, name: &str, options: HostOptions) -> HostOptions {
        HostOptions {
            name: name.into(),
            plugin_dir: self.folder().to_owned(),
            guest_threads: 1,
            compiler: Some(Compiler::InProcess),
            isolation: self.isolation.clone().unwrap_or_else(|| options.isolation.clone()),
            ..options
        }
    }

    /// Start a host as it is built, and wait until it has taken up the plugin, or refused it.
    ///
    /// # Panics
    /// If the options make no sense.
    pub async fn host_of(&self, name: &str, builder: HostBuilder) -> Running {
        let host = builder.build().expect("a host");
        let (metrics, alerts) = (host.metrics().clone(), host.alerts().clone());
        let (trigger, shutdown) = Shutdown::new();
        let running = tokio::spawn(host.run(shutdown));
        eventually(&format!("{name} knows its plugin"), || async {
            let hosts = self.broker.hosts().await.ok()?;
            hosts.into_iter().find(|host| host.name == name && !host.plugins.is_empty())
        })
        .await;
        assert!(!running.is_finished(), "{name} has stopped");
        Running { metrics, alerts, _trigger: trigger }
    }

    /// The options that a configuration file of this text gives.
    ///
    /// # Panics
    /// If it makes no sense.
    #[must_use]
    pub fn configured(&self, text: &str) -> HostOptions {
        let path = self.folder().join("bulkhead.config.toml");
        std::fs::write(&path, text).expect("a file");
        let sources = Sources { file: Some(path), ..Sources::default() };
        Config::load(&sources).expect("a configuration").host
    }

    /// What the hosts say of the plugin.
    pub async fn plugin(&self) -> Option<PluginInfo> {
        let hosts = self.broker.hosts().await.ok()?;
        hosts.into_iter().flat_map(|host| host.plugins).find(|plugin| plugin.name == "unruly")
    }

    /// Wait until this version of the plugin serves.
    pub async fn serves(&self, digest: Digest) {
        eventually("the version serves", || async {
            let serving = self.plugin().await?.serving?;
            (serving.digest == digest).then_some(())
        })
        .await;
    }

    /// The broker's time.
    ///
    /// # Panics
    /// If it is away.
    pub async fn now(&self) -> UnixMs {
        self.broker.due_schedules(&QueueName::default(), 1).await.expect("a broker").now
    }

    /// Submit one task.
    ///
    /// # Panics
    /// If the broker refuses.
    pub async fn submit(&self, task: NewTask) -> TaskId {
        self.client.submit(task).await.expect("submitted").id
    }

    /// Submit a task of this type and payload and wait for its end.
    pub async fn ended(&self, task_type: &str, payload: &str) -> TaskView {
        let id = self.submit(task(task_type, payload)).await;
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
        let views = self.broker.inspect(&QueueName::default(), &[id]).await;
        views.expect("a broker").remove(0).expect("a known task")
    }
}

/// Make a test of each function, on either broker.
#[macro_export]
macro_rules! on_both_brokers {
    ($($test:ident),* $(,)?) => {
        mod redis {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::Inside::redis().await).await;
            })*
        }

        mod embedded {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::Inside::embedded()).await;
            })*
        }
    };
}
