//! The trait that both brokers implement.

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{
    BatchId, Payload, QueueName, QueuePolicy, Schedule, State, Task, TaskId, TaskRef, TaskType,
    TenantName, UnixMs,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::archive::Archive;
use crate::batch::{Batch, BatchView};
use crate::document::DocumentKind;
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

/// A queue and what of it a host would be woken for, at most [`Serves::MAX`].
pub type Lines = (QueueName, Vec<Serves>);

/// What a subscriber wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Topic {
    /// Requests to cancel running tasks.
    Cancel,
    /// Ends of tasks that somebody waits for.
    Done,
    /// What hosts are to look at again: the plugin folder, the schedules, or documents.
    Rescan,
}

/// A message to subscribers. Messages can be lost when a connection breaks; a
/// subscriber looks for itself after [`Signal::Connected`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// The subscription stands, for the first time or again.
    Connected,
    /// The topic's news about one task.
    Task(QueueName, TaskId),
    /// Look through the plugin folder.
    Rescan,
    /// Schedules of some queue have changed: look when they are due.
    Schedules,
    /// Documents of this kind have changed: look at them again.
    Documents(DocumentKind),
}

/// Where tasks are kept.
///
/// Every method is atomic unless it says otherwise, and is decided by the broker's own
/// clock. `docs/queue.md` states what each edge means.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    // Tasks.

    /// Store tasks and put them where they belong: in line, behind their time, behind the
    /// tasks they wait for. One answer each; only [`SubmitAnswer::Accepted`] and
    /// [`SubmitAnswer::Replaced`] stored anything. Atomic per queue. A task with parents
    /// or a batch needs [`Broker::deliver`] afterwards; [`crate::Client`] sees to it.
    async fn submit(&self, tasks: &[Task]) -> Result<Vec<SubmitAnswer>, QueueError>;

    /// Look tasks up; `None` where unknown.
    async fn inspect(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
    ) -> Result<Vec<Option<TaskView>>, QueueError>;

    /// List tasks of one state, from where a page before ended. A task that stays in its state
    /// throughout is listed once.
    async fn list(
        &self,
        queue: &QueueName,
        filter: &ListFilter,
        after: Option<&Mark>,
    ) -> Result<TaskPage, QueueError>;

    /// Cancel tasks, one answer each.
    async fn cancel(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
        retention_ms: u64,
    ) -> Result<Vec<CancelAnswer>, QueueError>;

    /// Give ended tasks fresh attempts and start waiting ones now, one answer each.
    async fn rerun(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
    ) -> Result<Vec<RerunAnswer>, QueueError>;

    /// Give an ended task fresh attempts with another payload. A task that has not ended is
    /// left alone and answered [`RerunAnswer::Active`].
    async fn rerun_edited(
        &self,
        queue: &QueueName,
        id: TaskId,
        payload: Payload,
    ) -> Result<RerunAnswer, QueueError>;

    /// Forget dead letters; the number dropped.
    async fn drop_dead(&self, queue: &QueueName, ids: &[TaskId]) -> Result<u64, QueueError>;

    /// Remove all tasks of a state (blocked, scheduled, pending or failed); the number
    /// removed. Not atomic: removed in batches. What waits for a removed task is resolved
    /// as if it had been cancelled.
    async fn purge(&self, queue: &QueueName, state: State) -> Result<u64, QueueError>;

    /// Ask for [`Topic::Done`] signals of these tasks. Returns which of them are known.
    async fn watch(&self, queue: &QueueName, ids: &[TaskId]) -> Result<Vec<bool>, QueueError>;

    // Work.

    /// Settle, renew and claim in one atomic step.
    async fn step(&self, queue: &QueueName, step: Step<'_>) -> Result<Stepped, QueueError>;

    /// The claim whose record a step left apart; nothing if the record is gone. Only a broker
    /// that leaves records apart is asked.
    async fn fetch(&self, _queue: &QueueName, _apart: &Apart) -> Result<Option<Claim>, QueueError> {
        Ok(None)
    }

    /// Send what is long of an end on its way, so that the step that settles it is short.
    /// Changes nothing: not of the task, nor of what the step is told, should this fail.
    async fn send_ahead(
        &self,
        _queue: &QueueName,
        _settlement: &Settlement,
    ) -> Result<(), QueueError> {
        Ok(())
    }

    /// The live claims that are recorded for a host: what it holds after an answer was lost.
    async fn held(&self, queue: &QueueName, host: &str) -> Result<Vec<Claim>, QueueError>;

    /// Wait until one of the lines has new work, at most `timeout`. Dropping the
    /// future is safe.
    async fn await_work(&self, lines: &[Lines], timeout: Duration) -> Result<bool, QueueError>;

    /// Carry what ended in this queue to the tasks and batches of other queues that wait
    /// for it. Returns how many events were carried, at most 1,000; idempotent.
    async fn deliver(&self, queue: &QueueName) -> Result<u64, QueueError>;

    /// Subscribe to a topic of some queues (none for [`Topic::Rescan`]). The channel is
    /// bounded; it ends when the receiver is dropped.
    fn subscribe(&self, topic: Topic, queues: Vec<QueueName>) -> mpsc::Receiver<Signal>;

    /// A result remembered under this key, if it is still kept.
    async fn recall(&self, queue: &QueueName, key: &str) -> Result<Option<Payload>, QueueError>;

    /// Remember a result for so many milliseconds.
    async fn remember(
        &self,
        queue: &QueueName,
        key: &str,
        output: &Payload,
        ttl_ms: u64,
    ) -> Result<(), QueueError>;

    // Batches.

    /// Make a batch known before its members are submitted. `false` if it was known.
    async fn open_batch(&self, batch: &Batch) -> Result<bool, QueueError>;

    /// Count members as cancelled that were not accepted when they were submitted.
    /// Idempotent.
    async fn leave_batch(
        &self,
        queue: &QueueName,
        id: BatchId,
        members: &[TaskRef],
    ) -> Result<(), QueueError>;

    /// How a batch stands; `None` if unknown.
    async fn batch(&self, queue: &QueueName, id: BatchId) -> Result<Option<BatchView>, QueueError>;

    /// The batches that a queue keeps, newest first, at most `limit`.
    async fn batches(&self, queue: &QueueName, limit: usize) -> Result<Vec<BatchView>, QueueError>;

    // Schedules.

    /// Store a schedule, or another definition of it; `next` is its next fire. A known
    /// schedule keeps its pause and its history; one whose definition is the same keeps its
    /// next fire too. Returns whether anything changed; hosts are told of that, as of every
    /// change of a schedule, by [`Signal::Schedules`].
    async fn put_schedule(
        &self,
        queue: &QueueName,
        schedule: &Schedule,
        next: Option<UnixMs>,
    ) -> Result<bool, QueueError>;

    /// Forget a schedule; `false` if it was unknown.
    async fn remove_schedule(&self, queue: &QueueName, name: &str) -> Result<bool, QueueError>;

    /// Stop or start a schedule; `next` replaces its next fire, so that a pause is not made
    /// up for. `false` if it is unknown.
    async fn pause_schedule(
        &self,
        queue: &QueueName,
        name: &str,
        paused: bool,
        next: Option<UnixMs>,
    ) -> Result<bool, QueueError>;

    /// A queue's schedules, by name.
    async fn schedules(&self, queue: &QueueName) -> Result<Vec<ScheduleView>, QueueError>;

    /// The schedules that are due now, at most `limit`, and when the next one is.
    async fn due_schedules(
        &self,
        queue: &QueueName,
        limit: usize,
    ) -> Result<DueSchedules, QueueError>;

    /// Submit what a schedule fires and set its next fire, if its next fire is still the
    /// one expected. So each fire happens once, whoever computes it.
    async fn fire(&self, queue: &QueueName, fire: &Fire) -> Result<FireAnswer, QueueError>;

    // Queues.

    /// Stop handing out claims of a queue, or of one task type in it; returns whether that
    /// was news.
    async fn pause(
        &self,
        queue: &QueueName,
        task_type: Option<&TaskType>,
    ) -> Result<bool, QueueError>;

    /// Hand out claims again; returns whether that was news.
    async fn resume(
        &self,
        queue: &QueueName,
        task_type: Option<&TaskType>,
    ) -> Result<bool, QueueError>;

    /// Replace a queue's policy. One that fails [`QueuePolicy::check`] is refused.
    async fn set_policy(&self, queue: &QueueName, policy: &QueuePolicy) -> Result<(), QueueError>;

    /// A queue's policy.
    async fn policy(&self, queue: &QueueName) -> Result<QueuePolicy, QueueError>;

    /// Depths and counters of a queue.
    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, QueueError>;

    /// What of their bounds tenants have in use, one answer each; nothing of an unknown one. Atomic
    /// for 100 at a time.
    async fn quota_use(
        &self,
        queue: &QueueName,
        tenants: &[TenantName],
    ) -> Result<Vec<QuotaUse>, QueueError>;

    /// Every queue that ever had a task, a schedule or a policy, sorted.
    async fn queues(&self) -> Result<Vec<QueueName>, QueueError>;

    /// What tenants used in these days, ends included; at most 400 days.
    async fn usage(
        &self,
        queue: &QueueName,
        from: Day,
        to: Day,
    ) -> Result<Vec<UsageRow>, QueueError>;

    /// Lifecycle events after one of them (from the oldest kept without it), at most
    /// `limit`, oldest first. If there is none, waits up to `wait` for one.
    async fn events(
        &self,
        queue: &QueueName,
        after: Option<&EventId>,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Event>, QueueError>;

    /// Look for disagreement between a queue's tasks and indexes, and repair it if asked.
    /// Not atomic: what changes meanwhile is looked at twice before it is reported.
    async fn examine(&self, queue: &QueueName, repair: bool) -> Result<Vec<Finding>, QueueError>;

    // Values of plugins.

    /// What a plugin stored for a tenant under a key, unless its time has passed.
    async fn kv_get(&self, owner: &KvOwner, key: &str) -> Result<Option<KvEntry>, QueueError>;

    /// Some of the keys, in the order of their bytes, without those whose time has passed. Not
    /// atomic: keys that are written meanwhile may be missing.
    async fn kv_list(&self, owner: &KvOwner, range: &KvRange) -> Result<KvPage, QueueError>;

    /// Change one key, within its quota. Before that some of the tenant's values whose time has
    /// passed are swept, whosoever they are: 100, or 1,000 where there is no room otherwise.
    async fn kv_write(&self, owner: &KvOwner, write: &KvWrite) -> Result<KvWritten, QueueError>;

    /// How much is stored.
    async fn kv_usage(&self, owner: &KvOwner) -> Result<KvUsage, QueueError>;

    // Secrets. What is stored is sealed: no broker can read it.

    /// Store a sealed secret; if `over` is given, only in place of exactly that. Whether it was
    /// stored. At most 10,000 are kept, of at most 64 KiB and 256 bytes each.
    async fn put_secret(
        &self,
        id: &SecretId,
        sealed: &Sealed,
        over: Option<&Sealed>,
    ) -> Result<bool, QueueError>;

    /// Forget a stored secret; `false` if it was unknown.
    async fn delete_secret(&self, id: &SecretId) -> Result<bool, QueueError>;

    /// Every stored secret, sorted: those for all tenants first.
    async fn secret_ids(&self) -> Result<Vec<SecretId>, QueueError>;

    /// Stored secrets as they are kept, one answer each, at most 500 in a call.
    async fn secrets(&self, ids: &[SecretId]) -> Result<Vec<Option<Sealed>>, QueueError>;

    // Hosts.

    /// Say that a host runs; it is forgotten after `ttl` unless it says so again.
    async fn announce_host(&self, host: &HostInfo, ttl: Duration) -> Result<(), QueueError>;

    /// Say that a host has stopped.
    async fn withdraw_host(&self, name: &str) -> Result<(), QueueError>;

    /// The running hosts.
    async fn hosts(&self) -> Result<Vec<HostInfo>, QueueError>;

    /// Ask all hosts to look through their plugin folders; how many heard it.
    async fn request_rescan(&self) -> Result<u64, QueueError>;

    /// What is kept for operators beside tasks.
    fn archive(&self) -> &dyn Archive;

    /// Check that the broker answers and is set up not to lose tasks; the warnings.
    async fn check(&self) -> Result<Vec<String>, QueueError>;

    /// What it counted of its own calls; none where nothing goes over a network.
    fn figures(&self) -> Option<BrokerFigures> {
        None
    }
}
