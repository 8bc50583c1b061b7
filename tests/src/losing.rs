//! A broker whose answers get lost on the way, for tests of hosts in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{
    BatchId, Payload, QueueName, QueuePolicy, Schedule, State, Task, TaskId, TaskRef, TaskType,
    TenantName, UnixMs,
};
use bulkhead_queue::{
    Apart, Archive, Batch, BatchView, Broker, CancelAnswer, Claim, Day, DueSchedules, Event,
    EventId, Finding, Fire, FireAnswer, HostInfo, KvEntry, KvOwner, KvPage, KvRange, KvUsage,
    KvWrite, KvWritten, Lines, ListFilter, Mark, QueueError, QueueStats, QuotaUse, RerunAnswer,
    ScheduleView, Sealed, SecretId, Settlement, Signal, Step, Stepped, SubmitAnswer, TaskPage,
    TaskView, Topic, UsageRow,
};
use tokio::sync::mpsc;

/// Does what the broker behind it does, and then loses the answer of some steps.
pub struct LosingBroker {
    behind: Arc<dyn Broker>,
    to_lose: AtomicU32,
    lost: AtomicU32,
}

impl LosingBroker {
    /// Lose nothing yet.
    #[must_use]
    pub fn before(behind: Arc<dyn Broker>) -> Self {
        Self { behind, to_lose: AtomicU32::new(0), lost: AtomicU32::new(0) }
    }

    /// Lose the next so many answers that bring claims.
    pub fn lose(&self, answers: u32) {
        self.to_lose.fetch_add(answers, Ordering::SeqCst);
    }

    /// How many claims were lost.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::SeqCst)
    }

    async fn step_and_lose(
        &self,
        queue: &QueueName,
        step: Step<'_>,
    ) -> Result<Stepped, QueueError> {
        let stepped = self.behind.step(queue, step).await?;
        let one_less = |left: u32| left.checked_sub(1);
        let claims = stepped.claims.len() + stepped.apart.len();
        if claims == 0
            || self.to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err()
        {
            return Ok(stepped);
        }
        let claims = u32::try_from(claims).unwrap_or(u32::MAX);
        self.lost.fetch_add(claims, Ordering::SeqCst);
        Err(QueueError::Unavailable("the answer was lost".into()))
    }
}

/// The methods that are passed on as they are.
macro_rules! passed_on {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        #[async_trait]
        impl Broker for LosingBroker {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$out, QueueError> {
                self.behind.$name($($arg),*).await
            })*

            async fn step(&self, queue: &QueueName, step: Step<'_>) -> Result<Stepped, QueueError> {
                self.step_and_lose(queue, step).await
            }

            fn subscribe(&self, topic: Topic, queues: Vec<QueueName>) -> mpsc::Receiver<Signal> {
                self.behind.subscribe(topic, queues)
            }

            fn archive(&self) -> &dyn Archive {
                self.behind.archive()
            }
        }
    };
}

passed_on! {
    fn submit(tasks: &[Task]) -> Vec<SubmitAnswer>;
    fn inspect(queue: &QueueName, ids: &[TaskId]) -> Vec<Option<TaskView>>;
    fn list(queue: &QueueName, filter: &ListFilter, after: Option<&Mark>) -> TaskPage;
    fn cancel(queue: &QueueName, ids: &[TaskId], retention_ms: u64) -> Vec<CancelAnswer>;
    fn rerun(queue: &QueueName, ids: &[TaskId]) -> Vec<RerunAnswer>;
    fn rerun_edited(queue: &QueueName, id: TaskId, payload: Payload) -> RerunAnswer;
    fn drop_dead(queue: &QueueName, ids: &[TaskId]) -> u64;
    fn purge(queue: &QueueName, state: State) -> u64;
    fn watch(queue: &QueueName, ids: &[TaskId]) -> Vec<bool>;
    fn fetch(queue: &QueueName, apart: &Apart) -> Option<Claim>;
    fn send_ahead(queue: &QueueName, settlement: &Settlement) -> ();
    fn held(queue: &QueueName, host: &str) -> Vec<Claim>;
    fn await_work(lines: &[Lines], timeout: Duration) -> bool;
    fn deliver(queue: &QueueName) -> u64;
    fn recall(queue: &QueueName, key: &str) -> Option<Payload>;
    fn remember(queue: &QueueName, key: &str, output: &Payload, ttl_ms: u64) -> ();
    fn open_batch(batch: &Batch) -> bool;
    fn leave_batch(queue: &QueueName, id: BatchId, members: &[TaskRef]) -> ();
    fn batch(queue: &QueueName, id: BatchId) -> Option<BatchView>;
    fn batches(queue: &QueueName, limit: usize) -> Vec<BatchView>;
    fn put_schedule(queue: &QueueName, schedule: &Schedule, next: Option<UnixMs>) -> bool;
    fn remove_schedule(queue: &QueueName, name: &str) -> bool;
    fn pause_schedule(queue: &QueueName, name: &str, paused: bool, next: Option<UnixMs>) -> bool;
    fn schedules(queue: &QueueName) -> Vec<ScheduleView>;
    fn due_schedules(queue: &QueueName, limit: usize) -> DueSchedules;
    fn fire(queue: &QueueName, fire: &Fire) -> FireAnswer;
    fn pause(queue: &QueueName, task_type: Option<&TaskType>) -> bool;
    fn resume(queue: &QueueName, task_type: Option<&TaskType>) -> bool;
    fn set_policy(queue: &QueueName, policy: &QueuePolicy) -> ();
    fn policy(queue: &QueueName) -> QueuePolicy;
    fn stats(queue: &QueueName) -> QueueStats;
    fn quota_use(queue: &QueueName, tenants: &[TenantName]) -> Vec<QuotaUse>;
    fn queues() -> Vec<QueueName>;
    fn usage(queue: &QueueName, from: Day, to: Day) -> Vec<UsageRow>;
    fn events(queue: &QueueName, after: Option<&EventId>, limit: usize, wait: Duration) -> Vec<Event>;
    fn examine(queue: &QueueName, repair: bool) -> Vec<Finding>;
    fn kv_get(owner: &KvOwner, key: &str) -> Option<KvEntry>;
    fn kv_list(owner: &KvOwner, range: &KvRange) -> KvPage;
    fn kv_write(owner: &KvOwner, write: &KvWrite) -> KvWritten;
    fn kv_usage(owner: &KvOwner) -> KvUsage;
    fn put_secret(id: &SecretId, sealed: &Sealed, over: Option<&Sealed>) -> bool;
    fn delete_secret(id: &SecretId) -> bool;
    fn secret_ids() -> Vec<SecretId>;
    fn secrets(ids: &[SecretId]) -> Vec<Option<Sealed>>;
    fn announce_host(host: &HostInfo, ttl: Duration) -> ();
    fn withdraw_host(name: &str) -> ();
    fn hosts() -> Vec<HostInfo>;
    fn request_rescan() -> u64;
    fn check() -> Vec<String>;
}
