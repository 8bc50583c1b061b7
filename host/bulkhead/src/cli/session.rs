//! What every command starts from: the configuration, the output, the broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use bulkhead::config::Config;
use bulkhead::core::{QueueName, TaskId};
use bulkhead::queue::{Broker, Client};
use bulkhead::{Compiler, IsolationOptions, LogControl, Metrics, Traces, WorkerProgram};

use super::exit::not_found;
use super::open;
use super::output::Output;
use super::{GUEST_WORKER, WORKER};

/// Ids that are looked up in one call.
pub(crate) const BATCH: usize = 500;

/// The configuration, the output, and the way to the broker.
pub(crate) struct Session {
    pub(crate) config: Config,
    pub(crate) out: Output,
    /// What this process logs.
    pub(crate) log: LogControl,
}

impl Session {
    /// Connect to the broker.
    pub(crate) async fn broker(&self) -> Result<Arc<dyn Broker>> {
        open::for_command(&self.config).await
    }

    /// This program, which compiles plugins in processes of their own.
    pub(crate) fn compiler(&self) -> Result<Compiler> {
        Ok(Compiler::Worker(Self::program(WORKER)?))
    }

    /// Where guests run: this program, if in processes.
    pub(crate) fn isolation(&self) -> Result<IsolationOptions> {
        let isolation = self.config.host.isolation.clone();
        Ok(IsolationOptions { program: Some(Self::program(GUEST_WORKER)?), ..isolation })
    }

    fn program(argument: &str) -> Result<WorkerProgram> {
        let worker = WorkerProgram::this(argument).context("cannot tell which program this is")?;
        // The allocator would reserve far more address space than it needs, and a worker's is
        // bounded.
        let environment = vec![("MIMALLOC_ARENA_RESERVE".to_owned(), "0".to_owned())];
        Ok(WorkerProgram { environment, ..worker })
    }

    /// Spans of this command, if they go anywhere.
    pub(crate) fn traces(&self, metrics: &Metrics) -> Result<Option<Traces>> {
        let options = self.config.otlp.as_ref();
        let traces = options.map(|options| Traces::exporting(options, metrics));
        traces.transpose().map_err(anyhow::Error::msg)
    }

    /// Connect as a producer.
    pub(crate) async fn client(&self) -> Result<Client> {
        Ok(Client::new(self.broker().await?, self.config.submit))
    }
}

/// Who runs this command, as the journal calls them: their number and the machine.
pub(crate) fn actor() -> String {
    let user = rustix::process::geteuid().as_raw();
    let machine = rustix::system::uname();
    format!("uid {user} at {}", machine.nodename().to_string_lossy())
}

/// The named queue, or all there are.
pub(crate) async fn queues(
    broker: &dyn Broker,
    named: Option<&QueueName>,
) -> Result<Vec<QueueName>> {
    match named {
        Some(queue) => known_queue(broker, queue).await.map(|()| vec![queue.clone()]),
        None => Ok(broker.queues().await?),
    }
}

/// Make sure that a queue exists.
pub(crate) async fn known_queue(broker: &dyn Broker, queue: &QueueName) -> Result<()> {
    let all = broker.queues().await?;
    if all.contains(queue) {
        return Ok(());
    }
    let closest =
        all.iter().min_by_key(|known| strsim::damerau_levenshtein(known.as_str(), queue.as_str()));
    Err(not_found(match closest {
        Some(known) => format!(
            "there is no queue `{queue}`: no task was ever submitted to it; did you mean \
             `{known}`? `bulkhead queue list` shows all"
        ),
        None => format!("there is no queue `{queue}`: no task was ever submitted"),
    }))
}

/// Which queues some tasks are in.
pub(crate) struct Located {
    pub(crate) by_queue: BTreeMap<QueueName, Vec<TaskId>>,
    pub(crate) missing: Vec<TaskId>,
}

/// Find the queues of tasks.
pub(crate) async fn locate(broker: &dyn Broker, ids: &[TaskId]) -> Result<Located> {
    let mut missing = ids.to_vec();
    missing.sort();
    missing.dedup();
    let mut by_queue = BTreeMap::new();
    for queue in broker.queues().await? {
        let mut found = Vec::new();
        for batch in missing.chunks(BATCH) {
            let views = broker.inspect(&queue, batch).await?;
            found.extend(views.into_iter().flatten().map(|view| view.id));
        }
        if !found.is_empty() {
            missing.retain(|id| !found.contains(id));
            by_queue.insert(queue, found);
        }
        if missing.is_empty() {
            break;
        }
    }
    Ok(Located { by_queue, missing })
}
