//! The Redis broker: one Lua script per edge, all keys of a queue in one hash slot.
//!
//! The scripts in `scripts/` are the only code that changes a task's state; each
//! states its contract. This module knows how to call them and how to stay connected.

mod ahead;
mod archive;
mod batches;
mod blobs;
mod check;
mod config;
mod connection;
mod dial;
mod documents;
mod edges;
mod events;
mod examine;
mod failure;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod history;
mod hosts;
mod inspect;
mod journal;
mod kv;
mod list;
mod outbox;
mod place;
mod policy;
mod results;
mod rights;
mod schedules;
mod script;
mod secrets;
mod signals;
mod slot;
mod stats;
mod step;
mod submit;
mod url;
mod usage;
mod wake;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{
    BatchId, Payload, QueueName, QueuePolicy, Schedule, State, Task, TaskId, TaskRef, TaskType,
    TenantName, UnixMs, check_name,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::archive::Archive;
use crate::batch::{Batch, BatchView};
use crate::broker::{Broker, Lines, Signal, Topic};
use crate::error::QueueError;
use crate::event::{Event, EventId};
use crate::figures::BrokerFigures;
use crate::finding::Finding;
use crate::held::QuotaUse;
use crate::host::HostInfo;
use crate::kv::{KvEntry, KvOwner, KvPage, KvRange, KvUsage, KvWrite, KvWritten};
use crate::schedule::{DueSchedules, Fire, FireAnswer, ScheduleView};
use crate::secret::{Sealed, SecretId};
use crate::serves::Serves;
use crate::step::{Apart, Claim, Settlement, Step, Stepped};
use crate::usage::{Day, UsageRow};
use crate::view::{
    CancelAnswer, ListFilter, Mark, QueueStats, RerunAnswer, SubmitAnswer, TaskPage, TaskView,
};
pub use config::RedisConfig;
use connection::Connection;
use script::Scripts;
pub use url::RedisUrl;

/// Tasks in Redis 6.2 or later, or Valkey 7.2 or later.
pub struct RedisBroker {
    namespace: String,
    connection: Arc<Connection>,
    scripts: Scripts,
    wake: wake::Wake,
    /// Queues this process has announced in the namespace's set of queues.
    announced: Mutex<HashSet<QueueName>>,
    drafts: ahead::Drafts,
}

impl RedisBroker {
    /// Connect; fails if the server does not answer, the configuration is wrong or the user
    /// lacks a right.
    pub async fn connect(config: RedisConfig) -> Result<Self, QueueError> {
        check_name("namespace", &config.namespace)
            .map_err(|e| QueueError::Refused(e.to_string()))?;
        let connection = Arc::new(Connection::open(&config).await?);
        let scripts = Scripts::new().confirming();
        rights::require(&connection, &config.namespace, &scripts.sources()).await?;
        Ok(Self {
            namespace: config.namespace,
            connection,
            scripts,
            wake: wake::Wake::default(),
            announced: Mutex::default(),
            drafts: ahead::Drafts::default(),
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

#[async_trait]
impl Broker for RedisBroker {
    async fn submit(&self, tasks: &[Task]) -> Result<Vec<SubmitAnswer>, QueueError> {
        submit::submit(self, tasks).await
    }

    async fn step(&self, queue: &QueueName, step: Step<'_>) -> Result<Stepped, QueueError> {
        step::step(self, queue, &step).await
    }

    async fn fetch(&self, queue: &QueueName, apart: &Apart) -> Result<Option<Claim>, QueueError> {
        step::fetch(self, queue, apart).await
    }

    async fn send_ahead(
        &self,
        queue: &QueueName,
        settlement: &Settlement,
    ) -> Result<(), QueueError> {
        ahead::send_end(self, queue, settlement).await
    }

    async fn await_work(&self, lines: &[Lines], timeout: Duration) -> Result<bool, QueueError> {
        let keys = lines
            .iter()
            .flat_map(|(queue, serves)| {
                let prefix = self.prefix(queue);
                let serves = serves.iter().take(Serves::MAX);
                serves.map(move |one| format!("{prefix}:wake:{one}"))
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
        after: Option<&Mark>,
    ) -> Result<TaskPage, QueueError> {
        list::list(self, queue, filter, after).await
    }

    async fn cancel(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
        retention_ms: u64,
    ) -> Result<Vec<CancelAnswer>, QueueError> {
        edges::cancel(self, queue, ids, retention_ms).await
    }

    async fn rerun(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
    ) -> Result<Vec<RerunAnswer>, QueueError> {
        edges::rerun(self, queue, ids).await
    }

    async fn drop_dead(&self, queue: &QueueName, ids: &[TaskId]) -> Result<u64, QueueError> {
        edges::drop_dead(self, queue, ids).await
    }

    async fn purge(&self, queue: &QueueName, state: State) -> Result<u64, QueueError> {
        edges::purge(self, queue, state).await
    }

    async fn pause(
        &self,
        queue: &QueueName,
        task_type: Option<&TaskType>,
    ) -> Result<bool, QueueError> {
        policy::pause(self, queue, task_type, true).await
    }

    async fn resume(
        &self,
        queue: &QueueName,
        task_type: Option<&TaskType>,
    ) -> Result<bool, QueueError> {
        policy::pause(self, queue, task_type, false).await
    }

    async fn rerun_edited(
        &self,
        queue: &QueueName,
        id: TaskId,
        payload: Payload,
    ) -> Result<RerunAnswer, QueueError> {
        edges::rerun_edited(self, queue, id, payload).await
    }

    async fn held(&self, queue: &QueueName, host: &str) -> Result<Vec<Claim>, QueueError> {
        results::held(self, queue, host).await
    }

    async fn deliver(&self, queue: &QueueName) -> Result<u64, QueueError> {
        outbox::deliver(self, queue).await
    }

    async fn recall(&self, queue: &QueueName, key: &str) -> Result<Option<Payload>, QueueError> {
        results::recall(self, queue, key).await
    }

    async fn remember(
        &self,
        queue: &QueueName,
        key: &str,
        output: &Payload,
        ttl_ms: u64,
    ) -> Result<(), QueueError> {
        results::remember(self, queue, key, output, ttl_ms).await
    }

    async fn open_batch(&self, batch: &Batch) -> Result<bool, QueueError> {
        batches::open(self, batch).await
    }

    async fn leave_batch(
        &self,
        queue: &QueueName,
        id: BatchId,
        members: &[TaskRef],
    ) -> Result<(), QueueError> {
        batches::leave(self, queue, id, members).await
    }

    async fn batch(&self, queue: &QueueName, id: BatchId) -> Result<Option<BatchView>, QueueError> {
        batches::look(self, queue, id).await
    }

    async fn batches(&self, queue: &QueueName, limit: usize) -> Result<Vec<BatchView>, QueueError> {
        batches::list(self, queue, limit).await
    }

    async fn put_schedule(
        &self,
        queue: &QueueName,
        schedule: &Schedule,
        next: Option<UnixMs>,
    ) -> Result<bool, QueueError> {
        schedules::put(self, queue, schedule, next).await
    }

    async fn remove_schedule(&self, queue: &QueueName, name: &str) -> Result<bool, QueueError> {
        schedules::remove(self, queue, name).await
    }

    async fn pause_schedule(
        &self,
        queue: &QueueName,
        name: &str,
        paused: bool,
        next: Option<UnixMs>,
    ) -> Result<bool, QueueError> {
        schedules::pause(self, queue, name, paused, next).await
    }

    async fn schedules(&self, queue: &QueueName) -> Result<Vec<ScheduleView>, QueueError> {
        schedules::list(self, queue).await
    }

    async fn due_schedules(
        &self,
        queue: &QueueName,
        limit: usize,
    ) -> Result<DueSchedules, QueueError> {
        schedules::due(self, queue, limit).await
    }

    async fn fire(&self, queue: &QueueName, fire: &Fire) -> Result<FireAnswer, QueueError> {
        schedules::fire(self, queue, fire).await
    }

    async fn set_policy(&self, queue: &QueueName, policy: &QueuePolicy) -> Result<(), QueueError> {
        policy::set(self, queue, policy).await
    }

    async fn policy(&self, queue: &QueueName) -> Result<QueuePolicy, QueueError> {
        policy::get(self, queue).await
    }

    async fn usage(
        &self,
        queue: &QueueName,
        from: Day,
        to: Day,
    ) -> Result<Vec<UsageRow>, QueueError> {
        usage::read(self, queue, from, to).await
    }

    async fn events(
        &self,
        queue: &QueueName,
        after: Option<&EventId>,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Event>, QueueError> {
        events::read(self, queue, after, limit, wait).await
    }

    async fn examine(&self, queue: &QueueName, repair: bool) -> Result<Vec<Finding>, QueueError> {
        examine::examine(self, queue, repair).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, QueueError> {
        stats::stats(self, queue).await
    }

    async fn quota_use(
        &self,
        queue: &QueueName,
        tenants: &[TenantName],
    ) -> Result<Vec<QuotaUse>, QueueError> {
        stats::quota_use(self, queue, tenants).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, QueueError> {
        stats::queues(self).await
    }

    async fn kv_get(&self, owner: &KvOwner, key: &str) -> Result<Option<KvEntry>, QueueError> {
        kv::get(self, owner, key).await
    }

    async fn kv_list(&self, owner: &KvOwner, range: &KvRange) -> Result<KvPage, QueueError> {
        kv::list(self, owner, range).await
    }

    async fn kv_write(&self, owner: &KvOwner, write: &KvWrite) -> Result<KvWritten, QueueError> {
        kv::write(self, owner, write).await
    }

    async fn kv_usage(&self, owner: &KvOwner) -> Result<KvUsage, QueueError> {
        kv::usage(self, owner).await
    }

    async fn put_secret(
        &self,
        id: &SecretId,
        sealed: &Sealed,
        over: Option<&Sealed>,
    ) -> Result<bool, QueueError> {
        secrets::put(self, id, sealed, over).await
    }

    async fn delete_secret(&self, id: &SecretId) -> Result<bool, QueueError> {
        secrets::delete(self, id).await
    }

    async fn secret_ids(&self) -> Result<Vec<SecretId>, QueueError> {
        secrets::ids(self).await
    }

    async fn secrets(&self, ids: &[SecretId]) -> Result<Vec<Option<Sealed>>, QueueError> {
        secrets::look_up(self, ids).await
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

    fn archive(&self) -> &dyn Archive {
        self
    }

    async fn check(&self) -> Result<Vec<String>, QueueError> {
        check::check(self).await
    }

    fn figures(&self) -> Option<BrokerFigures> {
        let (failures, reconnects) = self.connection.troubles();
        Some(BrokerFigures {
            calls: self.connection.timings(),
            scripts: self.scripts.timings(),
            failures,
            reconnects,
        })
    }
}
