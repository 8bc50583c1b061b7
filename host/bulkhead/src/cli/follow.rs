//! Waiting for what hosts do, without keeping a host from doing it.
//!
//! A command that finds no host on an embedded broker opens the folder itself, and while it
//! has the folder open no host can start. So one that waits lets go of the folder first and
//! goes on through the socket of the host that comes. With a server nothing of this is
//! needed.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bulkhead::config::{BrokerPlace, Config};
use bulkhead::core::{QueueName, TaskId};
use bulkhead::queue::{Broker, Client, QueueError, TaskView};
use bulkhead_api::{RemoteBroker, Socket};
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::output::note;
use super::session::{BATCH, Session};

/// How often a folder's socket is tried while no host answers there.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The longest that a command waits: a timer cannot be set beyond some decades.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

/// When a command that waits so long gives up.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(LONGEST)
}

/// The way to a broker that others need too.
pub(crate) struct Lookout {
    /// The folder of an embedded broker.
    folder: Option<PathBuf>,
    told: bool,
}

impl Lookout {
    /// For the configured broker.
    pub(crate) fn new(config: &Config) -> Self {
        let folder = match config.broker.place() {
            BrokerPlace::Embedded(folder) => Some(folder),
            BrokerPlace::Redis | BrokerPlace::Memory => None,
        };
        Self { folder, told: false }
    }

    /// Whether waiting can begin at once: on a server, or where a host answers.
    async fn is_served(&self) -> bool {
        match &self.folder {
            None => true,
            Some(folder) => RemoteBroker::connect(&Socket::path_in(folder)).await.is_ok(),
        }
    }

    /// A broker to wait with, in exchange for one that may have a folder open. Of the latter
    /// there must be no other copy. `None` if no host serves the folder until `deadline`.
    pub(crate) async fn exchange(
        &mut self,
        broker: Arc<dyn Broker>,
        deadline: Instant,
    ) -> Option<Arc<dyn Broker>> {
        let Some(folder) = &self.folder else { return Some(broker) };
        drop(broker);
        let socket = Socket::path_in(folder);
        loop {
            if let Ok(remote) = RemoteBroker::connect(&socket).await {
                return Some(Arc::new(remote));
            }
            let now = Instant::now();
            if now >= deadline {
                return None;
            }
            if !self.told {
                self.told = true;
                note(&format!("waiting for a host: {}", self.nobody()));
            }
            tokio::time::sleep_until(deadline.min(now + ASK_EVERY)).await;
        }
    }

    /// Whether an error only means that the host has gone, so that another may come.
    pub(crate) fn outlives(&self, error: &QueueError) -> bool {
        self.folder.is_some() && error.is_unavailable()
    }

    /// That no host is there, and what to do.
    pub(crate) fn nobody(&self) -> String {
        match &self.folder {
            Some(folder) => format!(
                "no host serves the embedded broker in `{0}`; start one with `bulkhead run \
                 --broker embedded:{0}`",
                folder.display()
            ),
            None => "no host is running; start one with `bulkhead run`".into(),
        }
    }
}

/// What came of a wait.
pub(crate) struct Followed {
    /// How many tasks had not ended.
    pub(crate) open: usize,
    /// The client at the end, or why there is none.
    pub(crate) client: Result<Client, String>,
}

/// Wait until tasks have ended or `timeout` is over, handing each to `each` as it ends; those
/// that nobody knows any more are left out. The client must be the only one of its broker.
pub(crate) async fn follow(
    session: &Session,
    client: Client,
    tasks: &BTreeMap<QueueName, Vec<TaskId>>,
    timeout: Duration,
    mut each: impl FnMut(TaskView) + Send,
) -> Result<Followed> {
    let deadline = deadline(timeout);
    let mut lookout = Lookout::new(&session.config);
    let mut open = tasks.clone();
    let mut broker = client.broker().clone();
    drop(client);
    if !lookout.is_served().await {
        match look(broker.as_ref(), &mut open, &mut each).await {
            Err(error) if !lookout.outlives(&error) => return Err(error.into()),
            _ => {}
        }
        if open.values().all(Vec::is_empty) {
            return Ok(Followed {
                open: 0,
                client: Ok(Client::new(broker, session.config.submit)),
            });
        }
    }
    let ended: Mutex<(HashSet<TaskId>, _)> = Mutex::new((HashSet::new(), each));
    loop {
        let Some(served) = lookout.exchange(broker, deadline).await else {
            let open = open.values().map(Vec::len).sum();
            return Ok(Followed { open, client: Err(lookout.nobody()) });
        };
        let client = Client::new(served, session.config.submit);
        let left = deadline.saturating_duration_since(Instant::now());
        let waits = open.iter().map(|(queue, ids)| {
            client.wait_each(queue, ids, left, |view| {
                let (ended, each) = &mut *ended.lock();
                if ended.insert(view.id) {
                    each(view);
                }
            })
        });
        match try_join_all(waits).await {
            Ok(open) => {
                let open = open.into_iter().map(|open| open.len()).sum();
                return Ok(Followed { open, client: Ok(client) });
            }
            Err(error) if lookout.outlives(&error) => {
                drop_ended(&mut open, &ended.lock().0);
                broker = client.broker().clone();
                tokio::time::sleep(ASK_EVERY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn drop_ended(open: &mut BTreeMap<QueueName, Vec<TaskId>>, ended: &HashSet<TaskId>) {
    open.values_mut().for_each(|ids| ids.retain(|id| !ended.contains(id)));
}

/// Look once at tasks, and leave in `open` those that have not ended.
async fn look(
    broker: &dyn Broker,
    open: &mut BTreeMap<QueueName, Vec<TaskId>>,
    each: &mut impl FnMut(TaskView),
) -> Result<(), QueueError> {
    for (queue, ids) in open {
        let mut running = Vec::new();
        for page in ids.chunks(BATCH) {
            for view in broker.inspect(queue, page).await?.into_iter().flatten() {
                if view.state.is_terminal() {
                    each(view);
                } else {
                    running.push(view.id);
                }
            }
        }
        *ids = running;
    }
    Ok(())
}
