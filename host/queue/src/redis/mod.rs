//! The Redis broker: one Lua script per edge, all keys of a queue in one hash slot.
//!
//! The scripts in `scripts/` are the only code that changes a task's state; each
//! states its contract. This module knows how to call them and how to stay connected.

mod check;
mod connection;
mod dial;
mod failure;
mod hosts;
mod inspect;
mod place;
mod rights;
mod script;
mod signals;
mod slot;
mod step;
mod submit;
mod url;
mod wake;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{
    BatchId, Payload, QueueName, QueuePolicy, Schedule, State, Task, TaskId, TaskRef, TaskType,
    UnixMs, check_name,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::batch::{Batch, BatchView};
use crate::broker::{Broker, Lines, Signal, Topic};
use crate::error::QueueError;
use crate::event::{Event, EventId};
use crate::finding::Finding;
use crate::host::HostInfo;
use crate::schedule::{DueSchedules, Fire, FireAnswer, ScheduleView};
use crate::step::{Claim, Step, Stepped};
use crate::usage::{Day, UsageRow};
use crate::view::{CancelAnswer, ListFilter, QueueStats, RerunAnswer, SubmitAnswer, TaskView};
use connection::Connection;
use script::Scripts;
pub use url::RedisUrl;

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// Which servers, as [`RedisUrl`] reads it: one, behind Sentinels, or a Cluster.
    pub url: String,
    /// Prefix of all keys, so that several systems can share one server.
    pub namespace: String,
    /// How long one command may take before it counts as failed.
    pub response_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

impl RedisConfig {
    /// This server, the namespace `bulkhead`, 5 s for commands and 2 s to connect.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: "bulkhead".into(),
            response_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
        }
    }
}

/// Tasks in Redis 6.2 or later, or Valkey 7.2 or later.
pub struct RedisBroker {
    namespace: String,
    connection: Arc<Connection>,
    scripts: Scripts,
    wake: wake::Wake,
    /// Queues this process has announced in the namespace's set of queues.
    announced: Mutex<HashSet<QueueName>>,
}

impl RedisBroker {
    /// Connect; fails if the server does not answer or the configuration is wrong.
    pub async fn connect(config: RedisConfig) -> Result<Self, QueueError> {
        check_name("namespace", &config.namespace)
            .map_err(|e| QueueError::Refused(e.to_string()))?;
        Ok(Self {
            connection: Arc::new(Connection::open(&config).await?),
            namespace: config.namespace,
            wake: wake::Wake::default(),
            scripts: Scripts::new(),
            announced: Mutex::default(),
        })
    }

    /// The prefix of all keys of a queue, with the hash tag that keeps them in one slot.
    fn prefix(&self, queue: &QueueName) -> String {
        format!("{{{}:{queue}}}", self.namespace)
    }

    fn queues_key(&self) -> String {
        format!("{}:queues", self.namespace)
    }

    async fn run(&self, command: &redis::Cmd) -> Result<redis::Value, QueueError> {
        self.connection.send(command).await
    }
}

fn unbuilt() -> QueueError {
    QueueError::Refused("not built yet".into())
}

#[async_trait]
impl Broker for RedisBroker {
    async fn submit(&self, tasks: &[Task]) -> Result<Vec<SubmitAnswer>, QueueError> {
        submit::submit(self, tasks).await
    }

    async fn step(&self, queue: &QueueName, step: Step<'_>) -> Result<Stepped, QueueError> {
        step::step(self, queue, &step).await
    }

    async fn await_work(&self, lines: &[Lines], timeout: Duration) -> Result<bool, QueueError> {
        let keys = lines
            .iter()
            .flat_map(|(queue, types)| {
                let prefix = self.prefix(queue);
                types.iter().map(move |task_type| format!("{prefix}:wake:{task_type}"))
            })
            .collect();
        self.wake.pop(&self.connection, keys, timeout).await
    }

    fn subscribe(&self, topic: Topic, queues: Vec<QueueName>) -> mpsc::Receiver<Signal> {
        let of_queues = |name: &str| {
            queues.iter().map(|q| (format!("{}:{name}", self.prefix(q)), Some(q.clone()))).collect()
        };
        let channels = match topic {
            Topic::Cancel => of_queues("cancel"),
            Topic::Done => of_queues("done"),
            Topic::Rescan => vec![(hosts::channel(&self.namespace), None)],
        };
        signals::subscribe(self.connection.clone(), channels)
    }

    async fn watch(&self, queue: &QueueName, ids: &[TaskId]) -> Result<Vec<bool>, QueueError> {
        inspect::watch(self, queue, ids).await
    }

    async fn inspect(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
    ) -> Result<Vec<Option<TaskView>>, QueueError> {
        inspect::inspect(self, queue, ids).await
    }

    async fn list(
        &self,
        queue: &QueueName,
        filter: &ListFilter,
    ) -> Result<Vec<TaskView>, QueueError> {
        inspect::list(self, queue, filter).await
    }

    async fn cancel(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
        retention_ms: u64,
    ) -> Result<Vec<CancelAnswer>, QueueError> {
        submit::cancel(self, queue, ids, retention_ms).await
    }

    async fn rerun(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
    ) -> Result<Vec<RerunAnswer>, QueueError> {
        submit::rerun(self, queue, ids).await
    }

    async fn drop_dead(&self, queue: &QueueName, ids: &[TaskId]) -> Result<u64, QueueError> {
        submit::drop_dead(self, queue, ids).await
    }

    async fn purge(&self, queue: &QueueName, state: State) -> Result<u64, QueueError> {
        submit::purge(self, queue, state).await
    }

    async fn pause(
        &self,
        queue: &QueueName,
        _task_type: Option<&TaskType>,
    ) -> Result<bool, QueueError> {
        let mut command = redis::cmd("HSET");
        command.arg(format!("{}:config", self.prefix(queue))).arg("paused").arg(1);
        script::integer(self.run(&command).await?).map(|added| added == 1)
    }

    async fn resume(
        &self,
        queue: &QueueName,
        _task_type: Option<&TaskType>,
    ) -> Result<bool, QueueError> {
        let reply = self.scripts.resume.call(self, queue, &[]).await?;
        script::integer(reply).map(|was| was == 1)
    }

    async fn rerun_edited(
        &self,
        _queue: &QueueName,
        _id: TaskId,
        _payload: Payload,
    ) -> Result<RerunAnswer, QueueError> {
        Err(unbuilt())
    }

    async fn held(&self, _queue: &QueueName, _host: &str) -> Result<Vec<Claim>, QueueError> {
        Err(unbuilt())
    }

    async fn deliver(&self, _queue: &QueueName) -> Result<u64, QueueError> {
        Err(unbuilt())
    }

    async fn recall(&self, _queue: &QueueName, _key: &str) -> Result<Option<Payload>, QueueError> {
        Err(unbuilt())
    }

    async fn remember(
        &self,
        _queue: &QueueName,
        _key: &str,
        _output: &Payload,
        _ttl_ms: u64,
    ) -> Result<(), QueueError> {
        Err(unbuilt())
    }

    async fn open_batch(&self, _batch: &Batch) -> Result<bool, QueueError> {
        Err(unbuilt())
    }

    async fn leave_batch(
        &self,
        _queue: &QueueName,
        _id: BatchId,
        _members: &[TaskRef],
    ) -> Result<(), QueueError> {
        Err(unbuilt())
    }

    async fn batch(
        &self,
        _queue: &QueueName,
        _id: BatchId,
    ) -> Result<Option<BatchView>, QueueError> {
        Err(unbuilt())
    }

    async fn batches(
        &self,
        _queue: &QueueName,
        _limit: usize,
    ) -> Result<Vec<BatchView>, QueueError> {
        Err(unbuilt())
    }

    async fn put_schedule(
        &self,
        _queue: &QueueName,
        _schedule: &Schedule,
        _next: Option<UnixMs>,
    ) -> Result<bool, QueueError> {
        Err(unbuilt())
    }

    async fn remove_schedule(&self, _queue: &QueueName, _name: &str) -> Result<bool, QueueError> {
        Err(unbuilt())
    }

    async fn pause_schedule(
        &self,
        _queue: &QueueName,
        _name: &str,
        _paused: bool,
        _next: Option<UnixMs>,
    ) -> Result<bool, QueueError> {
        Err(unbuilt())
    }

    async fn schedules(&self, _queue: &QueueName) -> Result<Vec<ScheduleView>, QueueError> {
        Err(unbuilt())
    }

    async fn due_schedules(
        &self,
        _queue: &QueueName,
        _limit: usize,
    ) -> Result<DueSchedules, QueueError> {
        Err(unbuilt())
    }

    async fn fire(&self, _queue: &QueueName, _fire: &Fire) -> Result<FireAnswer, QueueError> {
        Err(unbuilt())
    }

    async fn set_policy(
        &self,
        _queue: &QueueName,
        _policy: &QueuePolicy,
    ) -> Result<(), QueueError> {
        Err(unbuilt())
    }

    async fn policy(&self, _queue: &QueueName) -> Result<QueuePolicy, QueueError> {
        Err(unbuilt())
    }

    async fn usage(
        &self,
        _queue: &QueueName,
        _from: Day,
        _to: Day,
    ) -> Result<Vec<UsageRow>, QueueError> {
        Err(unbuilt())
    }

    async fn events(
        &self,
        _queue: &QueueName,
        _after: Option<&EventId>,
        _limit: usize,
        _wait: Duration,
    ) -> Result<Vec<Event>, QueueError> {
        Err(unbuilt())
    }

    async fn examine(&self, _queue: &QueueName, _repair: bool) -> Result<Vec<Finding>, QueueError> {
        Err(unbuilt())
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, QueueError> {
        inspect::stats(self, queue).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, QueueError> {
        inspect::queues(self).await
    }

    async fn announce_host(&self, host: &HostInfo, ttl: Duration) -> Result<(), QueueError> {
        hosts::announce(self, host, ttl).await
    }

    async fn withdraw_host(&self, name: &str) -> Result<(), QueueError> {
        hosts::withdraw(self, name).await
    }

    async fn hosts(&self) -> Result<Vec<HostInfo>, QueueError> {
        hosts::list(self).await
    }

    async fn request_rescan(&self) -> Result<u64, QueueError> {
        hosts::request_rescan(self).await
    }

    async fn check(&self) -> Result<Vec<String>, QueueError> {
        check::check(self).await
    }
}
