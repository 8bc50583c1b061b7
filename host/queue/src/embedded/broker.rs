//! The trait, each method one call of the machine.

use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{
    BatchId, Payload, QueueName, QueuePolicy, Schedule, State, Task, TaskId, TaskRef, TaskType,
    TenantName, UnixMs,
};
use tokio::sync::mpsc;

use super::EmbeddedBroker;
use super::machine::{decode_claims, encode, write_settlements};
use crate::archive::Archive;
use crate::batch::{Batch, BatchView};
use crate::broker::{Broker, Lines, Signal, Topic};
use crate::error::QueueError;
use crate::event::{Event, EventId};
use crate::finding::Finding;
use crate::held::QuotaUse;
use crate::host::HostInfo;
use crate::kv::{KvEntry, KvOwner, KvPage, KvRange, KvUsage, KvWrite, KvWritten};
use crate::schedule::{DueSchedules, Fire, FireAnswer, ScheduleView};
use crate::secret::{Sealed, SecretId};
use crate::step::{Claim, Step, Stepped};
use crate::usage::{Day, UsageRow};
use crate::view::{
    CancelAnswer, ListFilter, Mark, QueueStats, RerunAnswer, SubmitAnswer, TaskPage, TaskView,
};

/// Tasks removed while the machine is locked.
const PURGE_AT_ONCE: usize = 500;

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn submit(&self, tasks: &[Task]) -> Result<Vec<SubmitAnswer>, QueueError> {
        let records = tasks.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        self.call(|machine, now| machine.submit_encoded(tasks, &records, now)).await
    }

    async fn inspect(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
    ) -> Result<Vec<Option<TaskView>>, QueueError> {
        self.call(|machine, now| machine.inspect(queue, ids, now)).await
    }

    async fn list(
        &self,
        queue: &QueueName,
        filter: &ListFilter,
        after: Option<&Mark>,
    ) -> Result<TaskPage, QueueError> {
        self.call(|machine, now| machine.list(queue, filter, after, now)).await
    }

    async fn cancel(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
        retention_ms: u64,
    ) -> Result<Vec<CancelAnswer>, QueueError> {
        self.call(|machine, now| machine.cancel(queue, ids, retention_ms, now)).await
    }

    async fn rerun(
        &self,
        queue: &QueueName,
        ids: &[TaskId],
    ) -> Result<Vec<RerunAnswer>, QueueError> {
        self.call(|machine, now| machine.rerun(queue, ids, now)).await
    }

    async fn rerun_edited(
        &self,
        queue: &QueueName,
        id: TaskId,
        payload: Payload,
    ) -> Result<RerunAnswer, QueueError> {
        self.call(|machine, now| machine.rerun_edited(queue, id, payload, now)).await?
    }

    async fn drop_dead(&self, queue: &QueueName, ids: &[TaskId]) -> Result<u64, QueueError> {
        self.call(|machine, now| machine.drop_dead(queue, ids, now)).await
    }

    async fn purge(&self, queue: &QueueName, state: State) -> Result<u64, QueueError> {
        let (bound, mut total) = (self.depth(queue) + PURGE_AT_ONCE as u64, 0);
        while total < bound {
            let purge = self.call(|machine, now| machine.purge(queue, state, PURGE_AT_ONCE, now));
            let removed = purge.await??;
            total += removed;
            // What a purge itself puts in line, having ended its parents, stays.
            if removed < PURGE_AT_ONCE as u64 {
                break;
            }
        }
        Ok(total)
    }

    async fn watch(&self, queue: &QueueName, ids: &[TaskId]) -> Result<Vec<bool>, QueueError> {
        self.call(|machine, now| machine.watch(queue, ids, now)).await
    }

    async fn step(&self, queue: &QueueName, step: Step<'_>) -> Result<Stepped, QueueError> {
        let written = write_settlements(&step)?;
        self.wake.expect(queue, step.serves);
        let stepping = self.call(|machine, now| machine.step_encoded(queue, &step, written, now));
        let (mut stepped, claims) = stepping.await?;
        stepped.claims = decode_claims(queue, step.host, claims);
        Ok(stepped)
    }

    async fn held(&self, queue: &QueueName, host: &str) -> Result<Vec<Claim>, QueueError> {
        let held = self.call(|machine, _| machine.raw_held(queue, host)).await?;
        Ok(decode_claims(queue, host, held))
    }

    async fn await_work(&self, lines: &[Lines], timeout: Duration) -> Result<bool, QueueError> {
        Ok(self.wake.take(lines, timeout).await)
    }

    async fn deliver(&self, queue: &QueueName) -> Result<u64, QueueError> {
        self.call(|machine, now| machine.deliver(queue, now)).await
    }

    fn subscribe(&self, topic: Topic, queues: Vec<QueueName>) -> mpsc::Receiver<Signal> {
        self.signals.subscribe(topic, queues)
    }

    async fn recall(&self, queue: &QueueName, key: &str) -> Result<Option<Payload>, QueueError> {
        self.call(|machine, now| machine.recall(queue, key, now)).await
    }

    async fn remember(
        &self,
        queue: &QueueName,
        key: &str,
        output: &Payload,
        ttl_ms: u64,
    ) -> Result<(), QueueError> {
        self.call(|machine, now| machine.remember(queue, key, output, ttl_ms, now)).await
    }

    async fn open_batch(&self, batch: &Batch) -> Result<bool, QueueError> {
        self.call(|machine, now| machine.open_batch(batch, now)).await
    }

    async fn leave_batch(
        &self,
        queue: &QueueName,
        id: BatchId,
        members: &[TaskRef],
    ) -> Result<(), QueueError> {
        self.call(|machine, now| machine.leave_batch(queue, id, members, now)).await
    }

    async fn batch(&self, queue: &QueueName, id: BatchId) -> Result<Option<BatchView>, QueueError> {
        self.call(|machine, now| machine.batch(queue, id, now)).await
    }

    async fn batches(&self, queue: &QueueName, limit: usize) -> Result<Vec<BatchView>, QueueError> {
        self.call(|machine, now| machine.batches(queue, limit, now)).await
    }

    async fn put_schedule(
        &self,
        queue: &QueueName,
        schedule: &Schedule,
        next: Option<UnixMs>,
    ) -> Result<bool, QueueError> {
        let changing = self.call(|machine, _| machine.put_schedule(queue, schedule, next));
        Ok(self.tell_of_schedules(changing.await?))
    }

    async fn remove_schedule(&self, queue: &QueueName, name: &str) -> Result<bool, QueueError> {
        let changing = self.call(|machine, _| machine.remove_schedule(queue, name));
        Ok(self.tell_of_schedules(changing.await?))
    }

    async fn pause_schedule(
        &self,
        queue: &QueueName,
        name: &str,
        paused: bool,
        next: Option<UnixMs>,
    ) -> Result<bool, QueueError> {
        let changing = self.call(|machine, _| machine.pause_schedule(queue, name, paused, next));
        Ok(self.tell_of_schedules(changing.await?))
    }

    async fn schedules(&self, queue: &QueueName) -> Result<Vec<ScheduleView>, QueueError> {
        self.call(|machine, _| machine.schedules(queue)).await
    }

    async fn due_schedules(
        &self,
        queue: &QueueName,
        limit: usize,
    ) -> Result<DueSchedules, QueueError> {
        self.call(|machine, now| machine.due_schedules(queue, limit, now)).await
    }

    async fn fire(&self, queue: &QueueName, fire: &Fire) -> Result<FireAnswer, QueueError> {
        self.call(|machine, now| machine.fire(queue, fire, now)).await?
    }

    async fn pause(
        &self,
        queue: &QueueName,
        task_type: Option<&TaskType>,
    ) -> Result<bool, QueueError> {
        self.call(|machine, _| machine.pause(queue, task_type)).await
    }

    async fn resume(
        &self,
        queue: &QueueName,
        task_type: Option<&TaskType>,
    ) -> Result<bool, QueueError> {
        self.call(|machine, _| machine.resume(queue, task_type)).await
    }

    async fn set_policy(&self, queue: &QueueName, policy: &QueuePolicy) -> Result<(), QueueError> {
        policy.check()?;
        self.call(|machine, now| machine.set_policy(queue, policy, now)).await
    }

    async fn policy(&self, queue: &QueueName) -> Result<QueuePolicy, QueueError> {
        self.call(|machine, _| machine.policy(queue)).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, QueueError> {
        self.call(|machine, now| machine.stats(queue, now)).await
    }

    async fn quota_use(
        &self,
        queue: &QueueName,
        tenants: &[TenantName],
    ) -> Result<Vec<QuotaUse>, QueueError> {
        self.call(|machine, now| machine.quota_use(queue, tenants, now)).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, QueueError> {
        self.call(|machine, _| machine.queues()).await
    }

    async fn usage(
        &self,
        queue: &QueueName,
        from: Day,
        to: Day,
    ) -> Result<Vec<UsageRow>, QueueError> {
        self.call(|machine, _| machine.usage(queue, from, to)).await
    }

    async fn events(
        &self,
        queue: &QueueName,
        after: Option<&EventId>,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Event>, QueueError> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut news = self.news.subscribe();
        loop {
            news.borrow_and_update();
            let events = self.call(|machine, _| machine.events(queue, after, limit)).await??;
            if !events.is_empty() || limit == 0 {
                return Ok(events);
            }
            if !matches!(tokio::time::timeout_at(deadline, news.changed()).await, Ok(Ok(()))) {
                return Ok(Vec::new());
            }
        }
    }

    async fn examine(&self, queue: &QueueName, repair: bool) -> Result<Vec<Finding>, QueueError> {
        self.call(|machine, _| machine.examine(queue, repair)).await
    }

    async fn kv_get(&self, owner: &KvOwner, key: &str) -> Result<Option<KvEntry>, QueueError> {
        self.call(|machine, now| machine.kv_get(owner, key, now)).await
    }

    async fn kv_list(&self, owner: &KvOwner, range: &KvRange) -> Result<KvPage, QueueError> {
        self.call(|machine, now| machine.kv_list(owner, range, now)).await
    }

    async fn kv_write(&self, owner: &KvOwner, write: &KvWrite) -> Result<KvWritten, QueueError> {
        write.check()?;
        self.call(|machine, now| machine.kv_write(owner, write, now)).await
    }

    async fn kv_usage(&self, owner: &KvOwner) -> Result<KvUsage, QueueError> {
        self.call(|machine, _| machine.kv_usage(owner)).await
    }

    async fn put_secret(
        &self,
        id: &SecretId,
        sealed: &Sealed,
        over: Option<&Sealed>,
    ) -> Result<bool, QueueError> {
        self.call(|machine, _| machine.put_secret(id, sealed, over)).await?
    }

    async fn delete_secret(&self, id: &SecretId) -> Result<bool, QueueError> {
        self.call(|machine, _| machine.delete_secret(id)).await
    }

    async fn secret_ids(&self) -> Result<Vec<SecretId>, QueueError> {
        self.call(|machine, _| machine.secret_ids()).await
    }

    async fn secrets(&self, ids: &[SecretId]) -> Result<Vec<Option<Sealed>>, QueueError> {
        self.call(|machine, _| machine.secrets(ids)).await?
    }

    async fn announce_host(&self, host: &HostInfo, ttl: Duration) -> Result<(), QueueError> {
        self.hosts.announce(host, ttl, self.clock.now_ms());
        Ok(())
    }

    async fn withdraw_host(&self, name: &str) -> Result<(), QueueError> {
        self.hosts.withdraw(name);
        Ok(())
    }

    async fn hosts(&self) -> Result<Vec<HostInfo>, QueueError> {
        Ok(self.hosts.list(self.clock.now_ms()))
    }

    async fn request_rescan(&self) -> Result<u64, QueueError> {
        Ok(self.signals.send(Topic::Rescan, Signal::Rescan) as u64)
    }

    fn archive(&self) -> &dyn Archive {
        self
    }

    async fn check(&self) -> Result<Vec<String>, QueueError> {
        let Some(store) = &self.store else {
            if self.accepts_loss {
                return Ok(Vec::new());
            }
            return Ok(vec![
                "tasks are lost when the process ends: the broker is in memory; name a folder, as \
                 in `embedded:data`, to keep them"
                    .into(),
            ]);
        };
        match store.failing() {
            Some(reason) => Err(QueueError::Unavailable(reason)),
            None => Ok(Vec::new()),
        }
    }
}
