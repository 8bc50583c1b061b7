//! The trait that both brokers implement, and the words of a host's conversation
//! with it.
//!
//! A host talks in steps: one [`Step`] a tick and queue carries what it settles,
//! renews and wants. All edges of a task's life are taken inside the broker.

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{
    AttemptReport, Priority, QueueName, State, Task, TaskId, TaskType, TenantName,
};
use tokio::sync::mpsc;

use crate::codec::Unreadable;
use crate::error::QueueError;
use crate::host::HostInfo;
use crate::view::{CancelAnswer, ListFilter, QueueStats, RerunAnswer, TaskView};

/// Proof of one claim: task id, fencing token and host. Opaque to hosts; only the
/// newest claim's token settles or renews.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimToken(pub(crate) String);

/// One attempt that a host may run until its lease ends.
#[derive(Debug)]
pub struct Claim {
    /// What to settle and renew with.
    pub token: ClaimToken,
    /// The task's id.
    pub id: TaskId,
    /// The task, or why its record cannot be read.
    pub task: Result<Task, Unreadable>,
    /// This attempt's number, starting at 1.
    pub attempt: u32,
    /// Somebody asked to cancel the task: settle it, do not run it.
    pub cancelled: bool,
}

/// How an attempt's claim ends.
#[derive(Debug)]
pub enum End {
    /// The task is completed.
    Complete {
        /// The attempt's record.
        report: AttemptReport,
        /// How long the task is kept, in milliseconds; 0 forgets it at once.
        retention_ms: u64,
    },
    /// The task becomes a dead letter.
    DeadLetter {
        /// The attempt's record.
        report: AttemptReport,
        /// How long the dead letter is kept, in milliseconds.
        retention_ms: u64,
    },
    /// The task is cancelled.
    Cancel {
        /// The attempt's record.
        report: AttemptReport,
        /// How long the task is kept, in milliseconds.
        retention_ms: u64,
    },
    /// The task is tried again after a delay.
    Retry {
        /// The attempt's record.
        report: AttemptReport,
        /// The wait, in milliseconds from now.
        delay_ms: u64,
        /// How long the task is kept if a cancellation overtakes the retry.
        retention_ms: u64,
    },
    /// The task goes back to the front of its line; the attempt does not count.
    Return {
        /// The task's type.
        task_type: TaskType,
        /// The task's tenant.
        tenant: TenantName,
        /// The task's priority.
        priority: Priority,
        /// How long the task is kept if a cancellation overtakes the return.
        retention_ms: u64,
    },
    /// The record was unreadable: it becomes a dead letter that says why and keeps
    /// the bytes.
    Unreadable {
        /// The task as far as it is known, its payload the unreadable bytes.
        task: Box<Task>,
        /// The attempt's record.
        report: AttemptReport,
        /// How long the dead letter is kept, in milliseconds.
        retention_ms: u64,
    },
}

/// One claim's end, on its way to the broker.
#[derive(Debug)]
pub struct Settlement {
    /// The claim.
    pub token: ClaimToken,
    /// What it came to.
    pub end: End,
}

/// What one host has to say to one queue, and what it wants.
#[derive(Debug)]
pub struct Step<'a> {
    /// The host's name, recorded in its leases.
    pub host: &'a str,
    /// Claims that ended.
    pub settle: &'a [Settlement],
    /// Claims that go on.
    pub renew: &'a [ClaimToken],
    /// How many tasks the host can start, at most 1,000.
    pub want: u32,
    /// The task types it has handlers for.
    pub types: &'a [TaskType],
    /// How long a lease lasts.
    pub lease: Duration,
    /// Whether to look for leases of others that ran out.
    pub reclaim: bool,
    /// How long a dead letter is kept that no host could read, in milliseconds.
    pub dead_retention_ms: u64,
}

/// What a step came to.
#[derive(Debug, Default)]
pub struct Stepped {
    /// Indexes into `settle` whose claim was no longer the newest; they changed nothing.
    pub stale: Vec<usize>,
    /// Indexes into `renew` whose lease is gone: stop those attempts.
    pub lost: Vec<usize>,
    /// Renewed tasks that somebody asked to cancel.
    pub cancel: Vec<TaskId>,
    /// New claims, most urgent first.
    pub claims: Vec<Claim>,
    /// When the queue has something to do by time alone: a due task or an ending lease.
    pub next_due: Option<Duration>,
    /// How many leases of dead hosts were taken back.
    pub reclaimed: u64,
}

/// A queue and the task types in it that a host would be woken for.
pub type Lines = (QueueName, Vec<TaskType>);

/// What a subscriber wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Requests to cancel running tasks.
    Cancel,
    /// Ends of tasks that somebody waits for.
    Done,
    /// Requests to look through the plugin folder.
    Rescan,
}

/// A message to subscribers. Messages can be lost when a connection breaks; a
/// subscriber looks for itself after [`Signal::Connected`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The subscription stands, for the first time or again.
    Connected,
    /// The topic's news about one task.
    Task(QueueName, TaskId),
    /// Look through the plugin folder.
    Rescan,
}

/// Where tasks are kept.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Store tasks and put them in line. The answer has one entry per task: `false`
    /// where the id was known already, in which case nothing changed.
    async fn submit(&self, tasks: &[Task]) -> Result<Vec<bool>, QueueError>;

    /// Settle, renew and claim in one atomic step.
    async fn step(&self, queue: &QueueName, step: Step<'_>) -> Result<Stepped, QueueError>;

    /// Wait until one of the lines has new work, at most `timeout`. Dropping the
    /// future is safe.
    async fn await_work(&self, lines: &[Lines], timeout: Duration) -> Result<bool, QueueError>;

    /// Subscribe to a topic of some queues (none for [`Topic::Rescan`]). The channel is bounded; it ends when the
    /// receiver is dropped.
    fn subscribe(&self, topic: Topic, queues: Vec<QueueName>) -> mpsc::Receiver<Signal>;

    /// Ask for [`Topic::Done`] signals of these tasks. Returns which of them are known.
    async fn watch(&self, queue: &QueueName, ids: &[TaskId]) -> Result<Vec<bool>, QueueError>;

    /// Look tasks up; `None` where unknown.
    async fn inspect(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
    ) -> Result<Vec<Option<TaskView>>, QueueError>;

    /// List tasks of one state.
    async fn list(
        &self,
        queue: &QueueName,
        filter: &ListFilter,
    ) -> Result<Vec<TaskView>, QueueError>;

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

    /// Forget dead letters; the number dropped.
    async fn drop_dead(&self, queue: &QueueName, ids: &[TaskId]) -> Result<u64, QueueError>;

    /// Remove all tasks of a state (pending, scheduled or failed); the number removed.
    async fn purge(&self, queue: &QueueName, state: State) -> Result<u64, QueueError>;

    /// Stop handing out claims of a queue; returns whether that was news.
    async fn pause(&self, queue: &QueueName) -> Result<bool, QueueError>;

    /// Hand out claims again; returns whether that was news.
    async fn resume(&self, queue: &QueueName) -> Result<bool, QueueError>;

    /// Bound how many tasks of a queue run at once over all hosts; `None` lifts the bound.
    async fn limit_concurrency(
        &self,
        queue: &QueueName,
        limit: Option<u32>,
    ) -> Result<(), QueueError>;

    /// Depths and counters of a queue.
    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, QueueError>;

    /// Every queue that ever had a task, sorted.
    async fn queues(&self) -> Result<Vec<QueueName>, QueueError>;

    /// Say that a host runs; it is forgotten after `ttl` unless it says so again.
    async fn announce_host(&self, host: &HostInfo, ttl: Duration) -> Result<(), QueueError>;

    /// Say that a host has stopped.
    async fn withdraw_host(&self, name: &str) -> Result<(), QueueError>;

    /// The running hosts.
    async fn hosts(&self) -> Result<Vec<HostInfo>, QueueError>;

    /// Ask all hosts to look through their plugin folders; how many heard it.
    async fn request_rescan(&self) -> Result<u64, QueueError>;

    /// Check that the broker answers and is set up not to lose tasks; the warnings.
    async fn check(&self) -> Result<Vec<String>, QueueError>;
}
