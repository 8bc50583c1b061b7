//! One step: an operation chosen at random, said to both brokers, its answers compared.

use bulkhead_core::State;

use crate::chance::Chance;
use crate::world::{Disagreement, HOSTS, QUEUES, TYPES, World, task_type};

/// What is done how often.
const OPERATIONS: &[(usize, &str)] = &[
    (22, "submit"),
    (2, "submit again"),
    (34, "step"),
    (2, "crash"),
    (3, "held"),
    (4, "cancel"),
    (4, "rerun"),
    (2, "edit"),
    (1, "drop"),
    (1, "purge"),
    (2, "pause"),
    (3, "policy"),
    (12, "time"),
    (3, "open batch"),
    (1, "leave batch"),
    (1, "put schedule"),
    (1, "change schedule"),
    (3, "fire"),
    (1, "fire again"),
    (1, "memo"),
    (1, "watch"),
    (4, "deliver"),
];

impl World {
    /// Make every queue known: what a host says to a queue that nobody knows is forgotten, by
    /// each broker in its own way.
    pub(crate) async fn found(&mut self, chance: &mut Chance) -> Result<(), Disagreement> {
        self.keys = crate::plan::keys(chance);
        for queue in 0..QUEUES {
            self.set_policy(chance, queue).await?;
        }
        Ok(())
    }

    /// Do something.
    pub(crate) async fn step(&mut self, chance: &mut Chance) -> Result<(), Disagreement> {
        let weights: Vec<usize> = OPERATIONS.iter().map(|(weight, _)| *weight).collect();
        let operation = OPERATIONS[chance.weighed(&weights)].1;
        // Two calls never come at one microsecond, as in life.
        self.pass(20 + chance.next() % 300);
        let queue = chance.below(QUEUES);
        match operation {
            "submit" => self.submit(chance, queue).await?,
            "submit again" => self.submit_again().await?,
            "step" => self.host_step(chance, queue).await?,
            "crash" => self.crash(chance),
            "held" => self.ask_held(chance, queue).await?,
            "cancel" => self.cancel(chance, queue).await?,
            "rerun" => self.rerun(chance, queue).await?,
            "edit" => self.edit(chance, queue).await?,
            "drop" => self.drop_dead(chance, queue).await?,
            "purge" => self.purge(chance, queue).await?,
            "pause" => self.pause(chance, queue).await?,
            "policy" => self.set_policy(chance, queue).await?,
            "time" => self.let_time_pass(chance),
            "open batch" => self.open_batch(chance).await?,
            "leave batch" => self.leave_batch(chance).await?,
            "put schedule" => self.put_schedule(chance, queue).await?,
            "change schedule" => self.change_schedule(chance, queue).await?,
            "fire" => self.fire(chance, queue).await?,
            "fire again" => self.fire_again().await?,
            "memo" => self.memo(chance, queue).await?,
            "watch" => self.watch(chance, queue).await?,
            _ => {}
        }
        // In a loose world hosts die before they carry what ended.
        if !self.is_loose() || operation == "deliver" {
            self.deliver().await?;
        }
        Ok(())
    }

    /// Carry everything everywhere.
    pub(crate) async fn deliver(&mut self) -> Result<(), Disagreement> {
        for _ in 0..40 {
            let mut carried = 0;
            for queue in &self.queues {
                let real = self.real.deliver(queue).await;
                let model = self.model.deliver(queue).await;
                carried += real.map_err(|e| Disagreement(format!("deliver: {e}")))?;
                model.map_err(|e| Disagreement(format!("deliver: {e}")))?;
            }
            if carried == 0 {
                return Ok(());
            }
        }
        Err(Disagreement("the outboxes never become empty".into()))
    }

    /// Forget what a host holds: it died, or it lives on with claims that become stale.
    fn crash(&mut self, chance: &mut Chance) {
        let host = chance.of(&HOSTS);
        self.note("crash", host);
        self.held.retain(|held| held.host != host);
    }

    async fn cancel(&mut self, chance: &mut Chance, queue: usize) -> Result<(), Disagreement> {
        let ids = self.choose(chance, queue);
        let retention_ms = chance.of(&[0, 500, 5_000, 600_000]);
        self.note("cancel", (queue, &ids, retention_ms));
        let name = &self.queues[queue];
        let real = self.real.cancel(name, &ids, retention_ms).await;
        let model = self.model.cancel(name, &ids, retention_ms).await;
        self.same("the answers to cancel", real, model).map(drop)
    }

    async fn rerun(&mut self, chance: &mut Chance, queue: usize) -> Result<(), Disagreement> {
        let ids = self.choose(chance, queue);
        self.note("rerun", (queue, &ids));
        let name = &self.queues[queue];
        let real = self.real.rerun(name, &ids).await;
        let model = self.model.rerun(name, &ids).await;
        self.same("the answers to rerun", real, model).map(drop)
    }

    async fn edit(&mut self, chance: &mut Chance, queue: usize) -> Result<(), Disagreement> {
        let Some(id) = self.choose(chance, queue).pop() else { return Ok(()) };
        let payload = crate::plan::payload(chance);
        self.note("rerun edited", (queue, id, &payload));
        let name = &self.queues[queue];
        let real = self.real.rerun_edited(name, id, payload.clone()).await;
        let model = self.model.rerun_edited(name, id, payload).await;
        self.same("the answer to an edited rerun", real, model).map(drop)
    }

    async fn drop_dead(&mut self, chance: &mut Chance, queue: usize) -> Result<(), Disagreement> {
        let ids = self.ids_in(queue);
        let ids: Vec<_> = ids.into_iter().filter(|_| chance.once_in(2)).collect();
        self.note("drop", (queue, &ids));
        let name = &self.queues[queue];
        let real = self.real.drop_dead(name, &ids).await;
        let model = self.model.drop_dead(name, &ids).await;
        self.same("how many dead letters were dropped", real, model).map(drop)
    }

    async fn purge(&mut self, chance: &mut Chance, queue: usize) -> Result<(), Disagreement> {
        self.purge_state(queue, chance.of(&State::ALL)).await
    }

    pub(crate) async fn purge_state(
        &mut self,
        queue: usize,
        state: State,
    ) -> Result<(), Disagreement> {
        self.note("purge", (queue, state));
        let name = &self.queues[queue];
        let real = self.real.purge(name, state).await;
        let model = self.model.purge(name, state).await;
        self.same("how many were purged", real, model).map(drop)
    }

    async fn pause(&mut self, chance: &mut Chance, queue: usize) -> Result<(), Disagreement> {
        let of_type = chance.once_in(2).then(|| task_type(chance.of(&TYPES)));
        let name = &self.queues[queue];
        // A paused queue is dull: pauses are short.
        if chance.once_in(3) {
            let real = self.real.pause(name, of_type.as_ref()).await;
            let model = self.model.pause(name, of_type.as_ref()).await;
            self.note("pause", (queue, of_type));
            return self.same("whether the pause was news", real, model).map(drop);
        }
        for of_type in TYPES.map(|name| Some(task_type(name))).iter().chain([&None]) {
            let real = self.real.resume(name, of_type.as_ref()).await;
            let model = self.model.resume(name, of_type.as_ref()).await;
            self.same("whether the resumption was news", real, model)?;
        }
        self.note("resume", queue);
        Ok(())
    }

    async fn set_policy(&mut self, chance: &mut Chance, queue: usize) -> Result<(), Disagreement> {
        if self.is_loose() {
            self.keys = crate::plan::keys(chance);
        }
        let policy = crate::plan::policy(chance, self.kind, self.keys.clone());
        self.note("policy", (queue, &policy));
        let name = &self.queues[queue];
        let real = self.real.set_policy(name, &policy).await;
        let model = self.model.set_policy(name, &policy).await;
        self.same("the answer to a policy", real, model)?;
        let (real, model) = (self.real.policy(name).await, self.model.policy(name).await);
        self.same("the policy", real, model).map(drop)
    }

    /// Time passes: a moment, or over leases, retries, windows, retentions.
    fn let_time_pass(&mut self, chance: &mut Chance) {
        let longest_us = match chance.weighed(&[40, 30, 20, 8, 2]) {
            0 => 100_000,
            1 => 2_000_000,
            2 => 20_000_000,
            3 => 700_000_000,
            _ => 90_000_000_000,
        };
        let by_us = 1 + chance.next() % longest_us;
        self.note("time", by_us);
        self.pass(by_us);
    }

    async fn memo(&mut self, chance: &mut Chance, queue: usize) -> Result<(), Disagreement> {
        let key = chance.of(&["m1", "m2"]);
        let name = &self.queues[queue];
        if chance.once_in(2) {
            let (output, ttl_ms) = (crate::plan::payload(chance), chance.of(&[1, 900, 60_000]));
            let real = self.real.remember(name, key, &output, ttl_ms).await;
            let model = self.model.remember(name, key, &output, ttl_ms).await;
            self.note("remember", (queue, key, output, ttl_ms));
            return self.same("the answer to remembering", real, model).map(drop);
        }
        let (real, model) = (self.real.recall(name, key).await, self.model.recall(name, key).await);
        self.note("recall", (queue, key));
        self.same("what is remembered", real, model).map(drop)
    }

    async fn watch(&mut self, chance: &mut Chance, queue: usize) -> Result<(), Disagreement> {
        let ids = self.choose(chance, queue);
        self.note("watch", (queue, &ids));
        let name = &self.queues[queue];
        let (real, model) = (self.real.watch(name, &ids).await, self.model.watch(name, &ids).await);
        self.same("which watched tasks are known", real, model).map(drop)
    }

    /// Some tasks of a queue, and now and then one that is unknown.
    fn choose(&self, chance: &mut Chance, queue: usize) -> Vec<bulkhead_core::TaskId> {
        let ids = self.ids_in(queue);
        let mut chosen = Vec::new();
        for _ in 0..=chance.below(3) {
            match chance.any(&ids) {
                Some(id) if !chance.once_in(12) => chosen.push(*id),
                _ => chosen.push(bulkhead_core::TaskId(chance.uuid())),
            }
        }
        chosen
    }
}
