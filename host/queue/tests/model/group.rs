//! Batches and schedules.

use bulkhead_core::{
    BatchId, BatchRef, Missed, Schedule, Task, TaskRef, Template, Terms, Timing, UnixMs,
};
use bulkhead_queue::{Batch, Fire, Over};

use crate::chance::Chance;
use crate::world::{Disagreement, QUEUES, World};

/// Batches live in the last queue, which every other queue's ends may reach.
const HOME: usize = QUEUES - 1;
/// Marks the callback of a batch that may be over before its last member has ended.
const EARLY: &str = "early";
const SCHEDULES: [&str; 2] = ["hourly", "nightly"];

impl World {
    pub(crate) async fn open_batch(&mut self, chance: &mut Chance) -> Result<(), Disagreement> {
        let again = chance.any(self.batches.make_contiguous()).filter(|_| chance.once_in(6));
        let batch = match again.cloned() {
            // Opened again after it was forgotten it would be another batch of this id.
            Some(batch)
                if self.real.batch(&batch.queue, batch.id).await.is_ok_and(|b| b.is_some()) =>
            {
                batch
            }
            _ => self.new_batch(chance),
        };
        self.note("open batch", (batch.id, batch.over, batch.retention_ms, batch.members.len()));
        let (real, model) =
            (self.real.open_batch(&batch).await, self.model.open_batch(&batch).await);
        self.same("whether the batch was new", real, model)?;
        let mut members = Vec::new();
        for member in &batch.members {
            // A producer may die before it has sent all.
            if !chance.once_in(8) {
                members.push(self.member(chance, &batch, member));
            }
        }
        if !self.batches.iter().any(|known| known.id == batch.id) {
            if self.batches.len() == 4 {
                self.batches.pop_front();
            }
            if let Some(callback) = &batch.callback {
                self.remember(callback.task_ref());
                self.callbacks.insert(callback.id);
            }
            self.batches.push_back(batch);
        }
        self.send(members).await
    }

    fn new_batch(&mut self, chance: &mut Chance) -> Batch {
        let members = (0..=chance.below(4))
            .map(|_| TaskRef {
                queue: self.queues[chance.below(QUEUES)].clone(),
                id: bulkhead_core::TaskId(chance.uuid()),
            })
            .collect();
        let over = chance.of(&[Over::Ended, Over::FirstFailure]);
        let callback = chance.once_in(2).then(|| {
            let mut task = self.new_task(chance, HOME);
            task.terms = Terms::default();
            if over == Over::FirstFailure {
                task.metadata = vec![(EARLY.into(), String::new())];
            }
            task
        });
        Batch {
            queue: self.queues[HOME].clone(),
            id: BatchId(chance.uuid()),
            name: "some".into(),
            members,
            callback,
            over,
            retention_ms: chance.of(&[300, 20_000, 3_600_000]),
        }
    }

    fn member(&self, chance: &mut Chance, batch: &Batch, member: &TaskRef) -> Task {
        let queue = self.queues.iter().position(|name| *name == member.queue).unwrap();
        let mut task = self.new_task(chance, queue);
        task.id = member.id;
        // A client lets no task wait for itself.
        task.terms.after.retain(|parent| parent != member);
        task.terms.batch = Some(BatchRef { queue: batch.queue.clone(), id: batch.id });
        task
    }

    pub(crate) async fn leave_batch(&mut self, chance: &mut Chance) -> Result<(), Disagreement> {
        let Some(batch) = chance.any(self.batches.make_contiguous()).cloned() else {
            return Ok(());
        };
        let leaving: Vec<TaskRef> =
            batch.members.iter().filter(|_| chance.once_in(2)).cloned().collect();
        // Only members that were never accepted leave.
        let mut absent = Vec::new();
        for member in leaving {
            if self.real.inspect(&member.queue, &[member.id]).await.unwrap()[0].is_none() {
                absent.push(member);
            }
        }
        self.note("leave batch", (batch.id, &absent));
        let real = self.real.leave_batch(&batch.queue, batch.id, &absent).await;
        let model = self.model.leave_batch(&batch.queue, batch.id, &absent).await;
        self.same("the answer to leaving a batch", real, model).map(drop)
    }

    pub(crate) async fn put_schedule(
        &mut self,
        chance: &mut Chance,
        queue: usize,
    ) -> Result<(), Disagreement> {
        self.definitions += u64::from(!chance.once_in(3));
        let schedule = schedule(chance.of(&SCHEDULES), self.definitions);
        let next = self.some_fire(chance);
        self.note("put schedule", (queue, &schedule.name, next));
        let name = &self.queues[queue];
        let real = self.real.put_schedule(name, &schedule, next).await;
        let model = self.model.put_schedule(name, &schedule, next).await;
        self.same("whether the schedule changed", real, model).map(drop)
    }

    pub(crate) async fn change_schedule(
        &mut self,
        chance: &mut Chance,
        queue: usize,
    ) -> Result<(), Disagreement> {
        let name = &self.queues[queue];
        let schedule = chance.of(&SCHEDULES);
        if chance.once_in(4) {
            let real = self.real.remove_schedule(name, schedule).await;
            let model = self.model.remove_schedule(name, schedule).await;
            self.note("remove schedule", (queue, schedule));
            return self.same("whether the schedule was known", real, model).map(drop);
        }
        let (paused, next) = (chance.once_in(3), self.some_fire(chance));
        let real = self.real.pause_schedule(name, schedule, paused, next).await;
        let model = self.model.pause_schedule(name, schedule, paused, next).await;
        self.note("pause schedule", (queue, schedule, paused, next));
        self.same("whether the schedule was known", real, model).map(drop)
    }

    /// A host looks for due schedules and fires one of them, or somebody fires one by hand.
    pub(crate) async fn fire(
        &mut self,
        chance: &mut Chance,
        queue: usize,
    ) -> Result<(), Disagreement> {
        let name = self.queues[queue].clone();
        let limit = 1 + chance.below(3);
        let real = self.real.due_schedules(&name, limit).await;
        let model = self.model.due_schedules(&name, limit).await;
        let Some(due) = self.same("what is due", real, model)? else { return Ok(()) };
        let by_hand = due.due.is_empty() || chance.once_in(4);
        let (schedule, expected) = match due.due.first() {
            Some(view) if !by_hand => (view.schedule.name.clone(), view.next),
            _ => (chance.of(&SCHEDULES).to_owned(), None),
        };
        let fires = (0..chance.of(&[1, 1, 1, 0, 2]))
            .map(|n| {
                let mut task = self.new_task(chance, queue);
                task.terms = Terms { schedule: Some(schedule.clone()), ..Terms::default() };
                (self.now() - n, task)
            })
            .rev()
            .collect();
        let next = self.some_fire(chance);
        let exclusive = chance.once_in(2);
        let fire = Fire { schedule, expected, next, fires, exclusive, by_hand };
        self.last_fire = Some((queue, fire.clone()));
        self.send_fire(queue, fire).await
    }

    /// The answer was lost, or two hosts computed the same fire.
    pub(crate) async fn fire_again(&mut self) -> Result<(), Disagreement> {
        match self.last_fire.clone() {
            Some((queue, fire)) => self.send_fire(queue, fire).await,
            _ => Ok(()),
        }
    }

    async fn send_fire(&mut self, queue: usize, fire: Fire) -> Result<(), Disagreement> {
        let ids: Vec<_> = fire.fires.iter().map(|(at, task)| (*at, task.id)).collect();
        let how = (fire.expected, fire.next, fire.exclusive, fire.by_hand);
        self.note("fire", (queue, &fire.schedule, how, ids));
        let name = &self.queues[queue];
        let (real, model) = (self.real.fire(name, &fire).await, self.model.fire(name, &fire).await);
        self.same("the answer to a fire", real, model)?;
        for (_, task) in &fire.fires {
            self.remember(task.task_ref());
        }
        Ok(())
    }

    fn some_fire(&self, chance: &mut Chance) -> Option<UnixMs> {
        let by = chance.of(&[0, 10, 2_000, 60_000]);
        (!chance.once_in(8)).then(|| self.now() + by)
    }
}

fn schedule(name: &str, definition: u64) -> Schedule {
    Schedule {
        name: name.into(),
        timing: Timing::Every { interval_ms: 1_000 + definition, jitter_ms: 0, start: 0 },
        exclusive: false,
        missed: Missed::Once,
        task: Template {
            task_type: crate::world::task_type("a"),
            tenant: Default::default(),
            priority: Default::default(),
            payload: Default::default(),
            metadata: Vec::new(),
            limits: Default::default(),
            terms: Terms::default(),
        },
        origin: "api".into(),
    }
}

/// How members are counted that end together is each broker's own affair, so the counts at the
/// first failure are not compared.
pub(crate) fn without_early_counts(task: &mut Task) {
    if task.metadata.iter().any(|(key, _)| key == EARLY) {
        task.metadata.retain(|(key, _)| !key.starts_with("batch_") || key == "batch_total");
    }
}
