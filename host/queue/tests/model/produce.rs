//! Producers: tasks, and calls that are repeated because their answer was lost.

use bulkhead_core::{State, Task};
use bulkhead_queue::SubmitAnswer;

use crate::chance::Chance;
use crate::world::{Disagreement, World};

/// Most open tasks of a queue, about.
const MAX_OPEN: u64 = 40;

impl World {
    pub(crate) async fn submit(
        &mut self,
        chance: &mut Chance,
        queue: usize,
    ) -> Result<(), Disagreement> {
        if self.is_crowded(queue).await {
            return self.make_room(chance, queue).await;
        }
        let count = if chance.once_in(25) { 20 } else { 1 + chance.below(3) };
        let mut tasks: Vec<Task> = Vec::new();
        for _ in 0..count {
            let queue = if chance.once_in(10) { chance.below(crate::world::QUEUES) } else { queue };
            let mut task = self.new_task(chance, queue);
            if let Some(earlier) = tasks.last()
                && earlier.queue == task.queue
                && chance.once_in(8)
            {
                task.terms.after = vec![earlier.task_ref()];
            }
            tasks.push(task);
        }
        if chance.once_in(20)
            && let Some(first) = tasks.first().cloned()
        {
            tasks.push(first);
        }
        self.last_submitted.clone_from(&tasks);
        self.send(tasks).await
    }

    /// Whether a queue has more open tasks than a step's bounds are sure to reach: how many
    /// come due at once is each broker's own affair. Each broker decides alike, since their
    /// stats are compared.
    pub(crate) async fn is_crowded(&self, queue: usize) -> bool {
        let broker = if self.is_loose() { &self.real } else { &self.model };
        let stats = broker.stats(&self.queues[queue]).await.unwrap();
        stats.pending + stats.scheduled + stats.blocked + stats.running > MAX_OPEN
    }

    async fn make_room(&mut self, chance: &mut Chance, queue: usize) -> Result<(), Disagreement> {
        for state in [State::Pending, State::Scheduled, State::Blocked] {
            if chance.once_in(2) {
                self.purge_state(queue, state).await?;
            }
        }
        Ok(())
    }

    /// The answer to the last submission was lost: its producer repeats it.
    pub(crate) async fn submit_again(&mut self) -> Result<(), Disagreement> {
        self.send(self.last_submitted.clone()).await
    }

    pub(crate) async fn send(&mut self, tasks: Vec<Task>) -> Result<(), Disagreement> {
        let brief: Vec<_> = tasks
            .iter()
            .map(|task| {
                (task.task_ref(), &task.task_type, &task.tenant, task.priority, &task.terms)
            })
            .collect();
        self.note("submit", brief);
        let (real, model) = (self.real.submit(&tasks).await, self.model.submit(&tasks).await);
        let answers: Vec<SubmitAnswer> =
            self.same("the answers to submit", real, model)?.unwrap_or_default();
        for (task, answer) in tasks.iter().zip(answers) {
            if answer.is_new() {
                self.remember(task.task_ref());
            }
        }
        Ok(())
    }
}
