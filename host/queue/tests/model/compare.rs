//! After each step: everything that can be seen of both brokers is the same.
//!
//! After every step: all that a view tells of the newest 40 tasks, and the stats of every
//! queue; and whatever the step itself answered. By turns, each queue once in 36 steps: the
//! ids in each state, usage and quotas, batches and schedules, events, and the examination of both
//! brokers, which must find nothing. At the end of a world: everything. A loose world is only
//! examined, each queue once in 60 steps and at its end.

use std::time::Duration;

use bulkhead_core::{State, TaskId};
use bulkhead_queue::{
    CancelReason, Day, Entry, FindingKind, ListFilter, QueueStats, TaskPage, TaskView,
};

use crate::group::without_early_counts;
use crate::world::{Disagreement, QUEUES, TENANTS, World, tenant};

/// Looks that take turns, each at all queues.
const LOOKS: usize = 12;

impl World {
    /// Compare after the step of this number.
    pub(crate) async fn compare(&self, step: usize) -> Result<(), Disagreement> {
        if self.is_loose() {
            return if step.is_multiple_of(20) {
                self.examine(step / 20 % QUEUES).await
            } else {
                Ok(())
            };
        }
        let tasks =
            tokio::join!(self.compare_tasks(0), self.compare_tasks(1), self.compare_tasks(2));
        tasks.0.and(tasks.1).and(tasks.2)?;
        let stats =
            tokio::join!(self.compare_stats(0), self.compare_stats(1), self.compare_stats(2));
        stats.0.and(stats.1).and(stats.2)?;
        self.look(step % QUEUES, step / QUEUES % LOOKS).await
    }

    /// Compare everything.
    pub(crate) async fn compare_all(&self) -> Result<(), Disagreement> {
        for queue in 0..QUEUES {
            self.compare_tasks(queue).await?;
            for look in 0..LOOKS {
                self.look(queue, look).await?;
            }
        }
        Ok(())
    }

    async fn compare_tasks(&self, queue: usize) -> Result<(), Disagreement> {
        let (name, ids) = (&self.queues[queue], self.ids_in(queue));
        let real = self.real.inspect(name, &ids).await;
        let model = self.model.inspect(name, &ids).await;
        let Some((real, model)) = self.both("the tasks of a queue", real, model)? else {
            return Ok(());
        };
        let (real, model) = (comparable(real), comparable(model));
        for ((id, real), model) in ids.iter().zip(&real).zip(&model) {
            self.agree(&format!("task {id} of q{queue}"), real, model)?;
        }
        Ok(())
    }

    async fn look(&self, queue: usize, look: usize) -> Result<(), Disagreement> {
        match look {
            0..=7 => self.compare_list(queue, State::ALL[look]).await,
            8 => self.compare_usage(queue).await,
            9 => self.compare_groups(queue).await,
            10 => self.compare_events(queue).await,
            _ => self.examine(queue).await,
        }
    }

    async fn compare_list(&self, queue: usize, state: State) -> Result<(), Disagreement> {
        let name = &self.queues[queue];
        let filter = ListFilter { limit: 1_000, ..ListFilter::of(state) };
        let real = self.real.list(name, &filter, None).await;
        let model = self.model.list(name, &filter, None).await;
        let ids = |page: TaskPage| -> Vec<TaskId> {
            let mut ids: Vec<TaskId> = page.tasks.iter().map(|view| view.id).collect();
            ids.sort();
            ids
        };
        let what = format!("the {state} tasks of q{queue}");
        self.same(&what, real.map(ids), model.map(ids)).map(drop)
    }

    async fn compare_stats(&self, queue: usize) -> Result<(), Disagreement> {
        let name = &self.queues[queue];
        let (real, model) = (self.real.stats(name).await, self.model.stats(name).await);
        let what = format!("the stats of q{queue}");
        self.same(&what, real.map(clean), model.map(clean)).map(drop)
    }

    async fn compare_usage(&self, queue: usize) -> Result<(), Disagreement> {
        let name = &self.queues[queue];
        let sorted = |mut rows: Vec<bulkhead_queue::UsageRow>| {
            rows.sort_by(|a, b| (a.day, &a.line).cmp(&(b.day, &b.line)));
            rows
        };
        let today = Day::of(self.now());
        let from = Day(today.0.saturating_sub(300));
        let real = self.real.usage(name, from, today).await.map(sorted);
        let model = self.model.usage(name, from, today).await.map(sorted);
        self.same(&format!("the usage of q{queue}"), real, model)?;
        let tenants = TENANTS.map(tenant);
        let real = self.real.quota_use(name, &tenants).await;
        let model = self.model.quota_use(name, &tenants).await;
        self.same(&format!("the quotas in use of q{queue}"), real, model)?;
        let (real, model) = (self.real.queues().await, self.model.queues().await);
        self.same("the queues", real, model).map(drop)
    }

    async fn compare_groups(&self, queue: usize) -> Result<(), Disagreement> {
        let name = &self.queues[queue];
        for id in self.batch_ids_in(queue) {
            let (real, model) = (self.real.batch(name, id).await, self.model.batch(name, id).await);
            self.same(&format!("batch {id}"), real, model)?;
        }
        let (real, model) =
            (self.real.batches(name, 100).await, self.model.batches(name, 100).await);
        self.same(&format!("the batches of q{queue}"), real, model)?;
        let (real, model) = (self.real.schedules(name).await, self.model.schedules(name).await);
        self.same(&format!("the schedules of q{queue}"), real, model).map(drop)
    }

    async fn compare_events(&self, queue: usize) -> Result<(), Disagreement> {
        let name = &self.queues[queue];
        let limit = 1_000;
        let real = self.real.events(name, None, limit, Duration::ZERO).await;
        let model = self.model.events(name, None, limit, Duration::ZERO).await;
        let newest = |events: Vec<bulkhead_queue::Event>| {
            let mut told: Vec<_> = events
                .into_iter()
                .rev()
                .take(60)
                .map(|event| (event.at, event.task, event.kind, event.task_type, event.tenant))
                .collect();
            // Of the oldest moment some may have been left out.
            if let Some((oldest, ..)) = told.last().filter(|_| told.len() == 60).cloned() {
                told.retain(|(at, ..)| *at > oldest);
            }
            // Edges of one call may be told in another order.
            told.sort_by(|a, b| (a.0, a.1, a.2.as_str()).cmp(&(b.0, b.1, b.2.as_str())));
            told
        };
        let what = format!("the events of q{queue}");
        self.same(&what, real.map(newest), model.map(newest)).map(drop)
    }

    /// Nothing in Redis disagrees with itself, nor in the model.
    async fn examine(&self, queue: usize) -> Result<(), Disagreement> {
        let name = &self.queues[queue];
        for (whose, broker) in [("Redis", &self.real), ("the model", &self.model)] {
            let findings = broker.examine(name, false).await;
            let findings = findings.map_err(|e| Disagreement(format!("examine {whose}: {e}")))?;
            // In a loose world events wait longer than they should.
            let findings: Vec<_> =
                findings.into_iter().filter(|f| f.kind != FindingKind::Undelivered).collect();
            if !findings.is_empty() {
                return Err(Disagreement(format!(
                    "{whose} is not sound in q{queue}: {findings:#?}"
                )));
            }
        }
        Ok(())
    }
}

/// Totals that are 0 may be left out; ghosts are Redis's own. When a host comes upon a tenant
/// that is held back is each broker's own affair.
fn clean(mut stats: QueueStats) -> QueueStats {
    stats.held_tenants.clear();
    stats.totals.retain(|name, total| *total > 0 && name != "ghosts");
    stats.by_tenant.retain(|tenant| tenant.open > 0);
    stats.by_type.retain(|depth| depth.pending > 0 || depth.paused);
    stats.by_tenant.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    stats.by_type.sort_by(|a, b| a.task_type.cmp(&b.task_type));
    stats
}

/// Fencing tokens are each broker's own. Parents that are waited for, or ended together, come
/// in any order; so if one of them ends its child, it may be any of those.
fn comparable(mut views: Vec<Option<TaskView>>) -> Vec<Option<TaskView>> {
    for view in views.iter_mut().flatten() {
        if let Some(holder) = &mut view.holder {
            holder.token = 0;
        }
        view.waits_for.sort();
        if let Ok(task) = &mut view.task {
            without_early_counts(task);
        }
        let mut history: Vec<Entry> = Vec::with_capacity(view.history.len());
        for entry in view.history.drain(..) {
            match entry {
                Entry::ParentFailed { at, .. } => {
                    forget_parents(&mut history);
                    history.push(Entry::Expired { at });
                }
                Entry::Cancelled { at, reason: Some(CancelReason::Parent(_)) } => {
                    forget_parents(&mut history);
                    history.push(Entry::Cancelled { at, reason: None });
                }
                other => history.push(other),
            }
        }
        for run in history.chunk_by_mut(|a, b| is_parent(a) && is_parent(b)) {
            run.sort_by_cached_key(|entry| match entry {
                Entry::Parent { parent, .. } => Some(parent.clone()),
                _ => None,
            });
        }
        view.history = history;
    }
    views
}

fn is_parent(entry: &Entry) -> bool {
    matches!(entry, Entry::Parent { .. })
}

fn forget_parents(history: &mut Vec<Entry>) {
    while history.last().is_some_and(is_parent) {
        history.pop();
    }
}
