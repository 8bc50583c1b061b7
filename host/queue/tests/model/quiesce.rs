//! The end of a world: every accepted task ends, everything is forgotten, nothing is left.

use std::time::Duration;

use bulkhead_core::{QueuePolicy, State};
use bulkhead_queue::{ListFilter, Step};

use crate::chance::Chance;
use crate::run::Stage;
use crate::world::{Disagreement, QUEUES, TYPES, World, task_type};

/// Rounds in which all that is open must have ended.
const ROUNDS: usize = 60;
/// Keys that a queue may keep without a task: counters, its policy, usage, schedules.
const MAX_KEYS: i64 = 24 * QUEUES as i64;

impl World {
    /// Lift every limit, let all hosts die, and see a healthy host bring everything to its end.
    pub(crate) async fn quiesce(&mut self, chance: &mut Chance) -> Result<(), Disagreement> {
        self.deliver().await?;
        self.held.clear();
        for queue in &self.queues.clone() {
            let open = QueuePolicy { events: Some(crate::plan::EVENTS), ..QueuePolicy::default() };
            for broker in [&self.real, &self.model] {
                broker.set_policy(queue, &open).await.unwrap();
                broker.resume(queue, None).await.unwrap();
                for name in TYPES {
                    broker.resume(queue, Some(&task_type(name))).await.unwrap();
                }
                for schedule in broker.schedules(queue).await.unwrap() {
                    broker.remove_schedule(queue, &schedule.schedule.name).await.unwrap();
                }
            }
        }
        for _ in 0..ROUNDS {
            self.pass(120_000_000);
            self.work(chance).await?;
            self.deliver().await?;
            if self.is_idle().await? {
                self.compare_all().await?;
                return self.forget().await;
            }
        }
        Err(Disagreement(format!("tasks never end: {}", self.open().await)))
    }

    /// One host claims in every queue and completes what it gets.
    async fn work(&mut self, chance: &mut Chance) -> Result<(), Disagreement> {
        for queue in 0..QUEUES {
            self.finish_all(chance, queue).await?;
            self.deliver().await?;
        }
        Ok(())
    }

    async fn is_idle(&self) -> Result<bool, Disagreement> {
        let mut open = 0;
        for queue in &self.queues {
            let (real, model) = (self.real.stats(queue).await, self.model.stats(queue).await);
            let depths = |stats: bulkhead_queue::QueueStats| {
                [stats.pending, stats.scheduled, stats.blocked, stats.running]
            };
            let depths = self.same("the depths of a queue", real.map(depths), model.map(depths))?;
            open += depths.unwrap_or_default().iter().sum::<u64>();
        }
        Ok(open == 0)
    }

    async fn open(&self) -> String {
        let mut told = Vec::new();
        for queue in &self.queues {
            for state in [State::Blocked, State::Scheduled, State::Pending, State::Running] {
                let listed =
                    self.real.list(queue, &ListFilter::of(state), None).await.unwrap().tasks;
                told.extend(listed.into_iter().map(|view| format!("{view:#?}")));
            }
        }
        told.join("\n")
    }

    /// Let all retentions pass, and let hosts notice.
    async fn forget(&mut self) -> Result<(), Disagreement> {
        for _ in 0..5 {
            self.pass(8 * 86_400 * 1_000_000);
            let both = [&self.real, &self.model];
            for queue in &self.queues {
                for broker in &both[..if self.is_loose() { 1 } else { 2 }] {
                    let step = Step {
                        host: "last",
                        settle: &[],
                        renew: &[],
                        progress: &[],
                        want: 1,
                        claim_bytes: u64::MAX,
                        serves: &[],
                        lease: Duration::from_secs(1),
                        reclaim: true,
                        dead_retention_ms: 1,
                        apart: false,
                    };
                    broker.step(queue, step).await.unwrap();
                    for state in State::ALL {
                        let left =
                            broker.list(queue, &ListFilter::of(state), None).await.unwrap().tasks;
                        if !left.is_empty() {
                            return Err(Disagreement(format!("{state} tasks are left: {left:#?}")));
                        }
                    }
                    broker.batches(queue, 100).await.unwrap();
                }
            }
        }
        self.compare_all().await
    }
}

impl Stage {
    /// After everything was forgotten, only a bounded number of keys is left.
    pub(crate) fn is_empty(&self) -> Result<(), Disagreement> {
        let keys = self.keys();
        if keys.len() as i64 > MAX_KEYS {
            return Err(Disagreement(format!("{} keys are left: {keys:#?}", keys.len())));
        }
        Ok(())
    }
}
