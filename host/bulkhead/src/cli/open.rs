//! Opening the broker that the configuration names: a server, the embedded broker of a
//! running host, or the embedded broker itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bulkhead::config::quantity::Span;
use bulkhead::config::{BrokerPlace, Config};
use bulkhead::queue::{Broker, EmbeddedBroker, QueueError, RedisBroker};
use bulkhead_api::{RemoteBroker, Router, Socket, broker};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::answer::{self, Known};
use super::exit::{unavailable, usage};
use super::output::note;

/// The file by which a folder of an embedded broker is known.
const FILE: &str = "queue.redb";
/// How long a host may take between opening its folder and listening at its socket, and a
/// command that found no host may keep a folder from one that starts.
const STARTING: Duration = Duration::from_secs(5);
/// How long a command waits for a starting host before it says so.
const SILENT: Duration = Duration::from_millis(500);
/// How often it is looked at again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long requests may go on when their host has stopped.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The broker of a command that is no host.
pub(super) async fn for_command(config: &Config) -> Result<Arc<dyn Broker>> {
    match config.broker.place() {
        BrokerPlace::Redis => redis(config).await,
        BrokerPlace::Memory => Err(usage(
            "`embedded:` keeps tasks in the memory of one host, where no other process reaches \
             them; name the folder of a running host with --broker embedded:PATH",
        )),
        BrokerPlace::Embedded(folder) => embedded(&folder).await,
    }
}

async fn redis(config: &Config) -> Result<Arc<dyn Broker>> {
    match RedisBroker::connect(config.redis()).await {
        Ok(broker) => Ok(Arc::new(broker)),
        Err(QueueError::Unavailable(reason)) => Err(unavailable(format!(
            "cannot reach the broker at {}: {reason}; start one with `redis-server`, name another \
             with --broker, `broker` in the configuration or BULKHEAD_BROKER, or do without a \
             server: --broker embedded:PATH",
            config.broker
        ))),
        Err(error) => Err(anyhow::Error::from(error)
            .context(format!("cannot use the broker at {}", config.broker))),
    }
}

/// The broker of the host that runs on a folder; the folder itself while none does. A host
/// that has just been started may still make the folder, or read it before it answers.
async fn embedded(folder: &Path) -> Result<Arc<dyn Broker>> {
    let (shown, socket) = (folder.display(), Socket::path_in(folder));
    let began = Instant::now();
    let mut said = false;
    loop {
        if let Ok(remote) = RemoteBroker::connect(&socket).await {
            return Ok(Arc::new(remote));
        }
        let waiting = began.elapsed();
        if folder.join(FILE).exists() {
            match open(folder).await {
                Ok(broker) => return Ok(Arc::new(broker)),
                Err(QueueError::InUse { .. }) if waiting < STARTING => {}
                Err(QueueError::InUse { .. }) => {
                    return Err(unavailable(format!(
                        "a process has the embedded broker in `{shown}` open and does not answer \
                         at `{}`; a command that asks or reads its input keeps the folder until \
                         it ends",
                        socket.display()
                    )));
                }
                Err(error) => {
                    return Err(anyhow::Error::from(error)
                        .context(format!("cannot use the embedded broker in `{shown}`")));
                }
            }
        } else if waiting >= STARTING {
            return Err(unavailable(format!(
                "there is no embedded broker in `{shown}`; start a host on it with `bulkhead run \
                 --broker embedded:{shown}`"
            )));
        }
        if waiting >= SILENT && !said {
            said = true;
            note(&format!("waiting up to {} for a host in `{shown}`", Span(STARTING)));
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// The way to the broker of a command that looks at it again and again, however often it goes
/// away. A folder that no host has open is opened for one look at a time, so that a host can
/// start on it.
pub(super) struct Outlook {
    folder: Option<PathBuf>,
    /// A server, or a running host.
    lasting: Option<Arc<dyn Broker>>,
}

impl Outlook {
    /// Reach the broker, or fail as every command does.
    pub(super) async fn open(config: &Config) -> Result<Self> {
        let broker = for_command(config).await?;
        match config.broker.place() {
            BrokerPlace::Embedded(folder) => Ok(Self { folder: Some(folder), lasting: None }),
            BrokerPlace::Redis | BrokerPlace::Memory => {
                Ok(Self { folder: None, lasting: Some(broker) })
            }
        }
    }

    /// The broker for one look; whoever has looked drops it.
    pub(super) async fn broker(&mut self) -> Result<Arc<dyn Broker>, QueueError> {
        if let Some(lasting) = &self.lasting {
            return Ok(lasting.clone());
        }
        let Some(folder) = &self.folder else {
            return Err(QueueError::Unavailable("there is no way to it".into()));
        };
        let socket = Socket::path_in(folder);
        if let Ok(remote) = RemoteBroker::connect(&socket).await {
            return Ok(self.lasting.insert(Arc::new(remote)).clone());
        }
        // Opening a folder makes one; the file of a queue has to be there already.
        if !folder.join(FILE).exists() {
            let shown = folder.display();
            return Err(QueueError::Unavailable(format!("no embedded broker is in `{shown}`")));
        }
        Ok(Arc::new(open(folder).await?))
    }

    /// Whether the broker was opened for one look only.
    pub(super) fn is_brief(&self) -> bool {
        self.lasting.is_none()
    }

    /// A look failed: a host may have gone, and another one come.
    pub(super) fn failed(&mut self) {
        if self.folder.is_some() {
            self.lasting = None;
        }
    }
}

/// The folder itself, for a host. Another host keeps it for good and answers; a command that
/// found no host has it for a moment.
async fn for_host(folder: &Path) -> Result<EmbeddedBroker> {
    let shown = folder.display();
    let socket = Socket::path_in(folder);
    let deadline = Instant::now() + STARTING;
    let mut said = false;
    loop {
        match open(folder).await {
            Ok(broker) => return Ok(broker),
            Err(QueueError::InUse { .. }) if RemoteBroker::connect(&socket).await.is_ok() => {
                return Err(unavailable(format!(
                    "another host runs on the embedded broker in `{shown}`; one at a time can"
                )));
            }
            Err(QueueError::InUse { .. }) if Instant::now() < deadline => {
                if !said {
                    tracing::info!(folder = %shown, "waiting for a process that has the queue open");
                    said = true;
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
            Err(QueueError::InUse { .. }) => {
                return Err(unavailable(format!(
                    "a process that is no host has the embedded broker in `{shown}` open; a \
                     command that asks or reads its input keeps the folder until it ends"
                )));
            }
            Err(error) => {
                return Err(anyhow::Error::from(error)
                    .context(format!("cannot use the embedded broker in `{shown}`")));
            }
        }
    }
}

/// Reading the file blocks.
async fn open(folder: &Path) -> Result<EmbeddedBroker, QueueError> {
    let folder = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || EmbeddedBroker::open(folder)).await;
    opened.unwrap_or_else(|error| Err(QueueError::Unavailable(error.to_string())))
}

/// The broker of a host, and the service by which other processes reach it.
pub(super) struct HostBroker {
    pub(super) broker: Arc<dyn Broker>,
    address: Option<String>,
    service: Option<Service>,
}

struct Service {
    folder: PathBuf,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl HostBroker {
    /// Open it. A broker in this process is served on a socket in its folder; one in memory
    /// in `shared`, if there is such a folder.
    pub(super) async fn open(
        config: &Config,
        shared: Option<&Path>,
        known: &Known,
    ) -> Result<Self> {
        let is_server = config.broker.place() == BrokerPlace::Redis;
        let (broker, folder): (Arc<dyn Broker>, _) = match config.broker.place() {
            BrokerPlace::Redis => (redis(config).await?, None),
            BrokerPlace::Memory => {
                let broker = EmbeddedBroker::in_memory();
                // Who shares it asked for a queue of the moment and needs no warning.
                let broker = if shared.is_some() { broker.accepting_loss() } else { broker };
                (Arc::new(broker), shared.map(Path::to_owned))
            }
            BrokerPlace::Embedded(folder) => (Arc::new(for_host(&folder).await?), Some(folder)),
        };
        let service = match folder {
            Some(folder) => {
                let api = answer::routes(config, broker.clone(), known);
                Some(Service::start(broker::router(broker.clone()).merge(api), folder)?)
            }
            None => None,
        };
        let address = match &service {
            Some(service) => Some(format!("embedded:{}", service.folder.display())),
            None => Some(config.broker.to_string()).filter(|_| is_server),
        };
        Ok(Self { broker, address, service })
    }

    /// What other processes name to reach it, if they can; without its password.
    pub(super) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Stop answering other processes.
    pub(super) async fn close(self) {
        if let Some(Service { stop, mut serving, .. }) = self.service {
            let _ = stop.send(());
            // A subscriber may listen for ever.
            if tokio::time::timeout(LAST_ANSWERS, &mut serving).await.is_err() {
                serving.abort();
            }
        }
    }
}

impl Service {
    fn start(router: Router, folder: PathBuf) -> Result<Self> {
        let socket = Socket::bind(&folder).context("other processes could not reach this host")?;
        tracing::info!(socket = %socket.path().display(), "other processes reach the queue");
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let stopped = async move {
                let _ = stopped.await;
            };
            if let Err(error) = socket.serve(router, stopped).await {
                tracing::error!(%error, "other processes no longer reach the queue");
            }
        });
        Ok(Self { folder, stop, serving })
    }
}
