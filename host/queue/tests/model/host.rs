//! Hosts: steps with settlements, renewals, progress and claims; lost answers.

use std::time::Duration;

use bulkhead_core::{
    AttemptReport, Digest, Failure, FailureKind, Metering, Outcome, Payload, PluginId, Priority,
    Task,
};
use bulkhead_queue::{Claim, End, Progress, Serves, Settlement, Step, Stepped};

use crate::chance::Chance;
use crate::group::without_early_counts;
use crate::plan::payload;
use crate::world::{Disagreement, HOSTS, Held, QUEUES, TENANTS, TYPES, World, task_type, tenant};

/// How long dead letters are kept that no host could read.
const DEAD_RETENTION_MS: u64 = 60_000;

/// What a host serves: most types for all tenants, some for one or two of them.
fn serves(chance: &mut Chance) -> Vec<Serves> {
    let mut serves = Vec::new();
    for name in TYPES {
        match chance.below(8) {
            0 => {}
            1 | 2 => {
                for _ in 0..=chance.below(2) {
                    serves.push(Serves::only(task_type(name), tenant(chance.of(&TENANTS))));
                }
            }
            _ => serves.push(task_type(name).into()),
        }
    }
    if chance.once_in(10) {
        // What another entry covers already, or says already.
        serves.push(Serves::only(task_type(chance.of(&TYPES)), tenant(TENANTS[0])));
    }
    serves
}

/// How a claim ends, so that it can be said to both brokers.
#[derive(Debug, Clone)]
enum How {
    Complete(AttemptReport, u64, Vec<Task>),
    DeadLetter(AttemptReport, u64),
    Cancel(AttemptReport, u64),
    Retry(AttemptReport, u64, u64),
    Return(Box<Task>, u64),
}

impl How {
    /// What ran: one of two plugins, or none.
    fn plugin(&self) -> Option<PluginId> {
        let (Self::Complete(report, ..)
        | Self::DeadLetter(report, ..)
        | Self::Cancel(report, ..)
        | Self::Retry(report, ..)) = self
        else {
            return None;
        };
        let name = ["p", "pp"].get(report.metering.fuel as usize % 3)?;
        name.parse().ok()
    }

    fn end(&self) -> End {
        match self.clone() {
            Self::Complete(report, retention_ms, children) => {
                End::Complete { report, retention_ms, children }
            }
            Self::DeadLetter(report, retention_ms) => End::DeadLetter { report, retention_ms },
            Self::Cancel(report, retention_ms) => End::Cancel { report, retention_ms },
            Self::Retry(report, delay_ms, retention_ms) => {
                End::Retry { report, delay_ms, retention_ms }
            }
            Self::Return(task, retention_ms) => End::Return {
                task_type: task.task_type,
                tenant: task.tenant,
                priority: task.priority,
                retention_ms,
            },
        }
    }
}

/// What a host says in one step.
struct Said {
    host: &'static str,
    settle: Vec<(Held, How)>,
    renew: Vec<Held>,
    progress: Vec<(Held, Progress)>,
    want: u32,
    claim_bytes: u64,
    types: Vec<Serves>,
    lease: Duration,
    reclaim: bool,
}

impl World {
    pub(crate) async fn host_step(
        &mut self,
        chance: &mut Chance,
        queue: usize,
    ) -> Result<(), Disagreement> {
        let mut roomy = Vec::new();
        for queue in 0..QUEUES {
            roomy.push(!self.is_crowded(queue).await);
        }
        let said = self.say(chance, queue, &roomy);
        self.remember_children(&said);
        let settled: Vec<_> = said.settle.iter().map(|(held, how)| (held.id, how)).collect();
        let renewed: Vec<_> = said.renew.iter().map(|held| held.id).collect();
        let progress: Vec<_> = said.progress.iter().map(|(held, p)| (held.id, p)).collect();
        let wanted = (said.want, said.claim_bytes);
        let words = (queue, said.host, wanted, &said.types, said.lease, said.reclaim);
        self.note("step", (words, settled, renewed, progress));
        let claimed = self.speak(&said, queue).await?;
        for (held, _) in &said.settle {
            // Mostly a host forgets what it settled; else it will settle it again.
            if !chance.once_in(10) {
                self.held.retain(|other| other.real != held.real);
            }
        }
        let Some((real, model)) = claimed else { return Ok(()) };
        if chance.once_in(10) {
            // The answer was lost: the lease runs out, or `held` tells of the claims.
            *self.tally.entry("lost answer").or_default() += 1;
        } else {
            self.hold(said.host, queue, &real, &model);
        }
        Ok(())
    }

    /// One host claims everything that it can get in a queue, and completes it.
    pub(crate) async fn finish_all(
        &mut self,
        chance: &mut Chance,
        queue: usize,
    ) -> Result<(), Disagreement> {
        let types: Vec<_> = TYPES.iter().map(|name| task_type(name).into()).collect();
        let mut said = Said {
            host: HOSTS[0],
            settle: Vec::new(),
            renew: Vec::new(),
            progress: Vec::new(),
            want: 100,
            claim_bytes: u64::MAX,
            types,
            lease: Duration::from_secs(60),
            reclaim: true,
        };
        self.note("finish all", queue);
        self.held.clear();
        if let Some((real, model)) = self.speak(&said, queue).await? {
            self.hold(said.host, queue, &real, &model);
        }
        said.want = 0;
        for held in std::mem::take(&mut self.held) {
            let retention_ms = chance.of(&[0, 1_000]);
            let report = report(chance, &held, Outcome::Done(Payload::default()));
            said.settle.push((held, How::Complete(report, retention_ms, Vec::new())));
        }
        self.speak(&said, queue).await.map(drop)
    }

    /// What tasks submit may be there from now on.
    fn remember_children(&mut self, said: &Said) {
        for (_, how) in &said.settle {
            let How::Complete(_, _, children) = how else { continue };
            if !children.is_empty() {
                *self.tally.entry("children").or_default() += children.len() as u64;
            }
            children.iter().for_each(|child| self.remember(child.task_ref()));
        }
    }

    /// Tasks that a task of this queue submits, to queues that are `roomy`.
    fn children(&self, chance: &mut Chance, queue: usize, roomy: &[bool]) -> Vec<Task> {
        if !chance.once_in(4) {
            return Vec::new();
        }
        let count = if chance.once_in(25) { 12 } else { 1 + chance.below(3) };
        let mut children = Vec::new();
        for _ in 0..count {
            let queue = if chance.once_in(4) { chance.below(QUEUES) } else { queue };
            let mut child = self.new_task(chance, queue);
            // A handler lets no task wait for others; in a loose world it may.
            if !self.is_loose() {
                child.terms.after.clear();
            }
            if roomy[queue] {
                children.push(child);
            }
        }
        children
    }

    /// Choose what a host says.
    fn say(&self, chance: &mut Chance, queue: usize, roomy: &[bool]) -> Said {
        let host = chance.of(&HOSTS);
        let mut said = Said {
            host,
            settle: Vec::new(),
            renew: Vec::new(),
            progress: Vec::new(),
            want: chance.of(&[0, 1, 1, 2, 3, 8, 40]),
            claim_bytes: chance.of(&[0, u64::MAX, u64::MAX]),
            types: serves(chance),
            lease: Duration::from_millis(chance.of(&[50, 1_000, 15_000, 60_000])),
            reclaim: !chance.once_in(3),
        };
        for held in self.held.iter().filter(|held| held.host == host && held.queue == queue) {
            match chance.below(6) {
                0..=2 => {
                    let mut how = how(chance, held);
                    if let How::Complete(_, _, children) = &mut how {
                        *children = self.children(chance, queue, roomy);
                    }
                    said.settle.push((held.clone(), how));
                }
                3 | 4 => said.renew.push(held.clone()),
                _ => {}
            }
            if chance.once_in(6) {
                said.progress.push((held.clone(), progress(chance, self.now())));
            }
        }
        said
    }

    /// Say it to both and compare. Returns the claims of both.
    async fn speak(
        &self,
        said: &Said,
        queue: usize,
    ) -> Result<Option<(Vec<Claim>, Vec<Claim>)>, Disagreement> {
        let name = &self.queues[queue];
        let mut answers = Vec::new();
        for is_real in [true, false] {
            let token = |held: &Held| {
                if is_real { held.real.clone() } else { held.model.clone() }
            };
            let settle: Vec<Settlement> = said
                .settle
                .iter()
                .map(|(held, how)| Settlement {
                    token: token(held),
                    end: how.end(),
                    plugin: how.plugin(),
                })
                .collect();
            let renew: Vec<_> = said.renew.iter().map(token).collect();
            let progress: Vec<_> =
                said.progress.iter().map(|(held, p)| (token(held), p.clone())).collect();
            let step = Step {
                host: said.host,
                settle: &settle,
                renew: &renew,
                progress: &progress,
                want: said.want,
                claim_bytes: said.claim_bytes,
                serves: &said.types,
                lease: said.lease,
                reclaim: said.reclaim,
                dead_retention_ms: DEAD_RETENTION_MS,
                apart: false,
            };
            let broker = if is_real { &self.real } else { &self.model };
            answers.push(broker.step(name, step).await);
        }
        let (model, real) = (answers.pop().unwrap(), answers.pop().unwrap());
        let Some((mut real, mut model)) = self.both("the answer to a step", real, model)? else {
            return Ok(None);
        };
        let claims = (std::mem::take(&mut real.claims), std::mem::take(&mut model.claims));
        let ids = |claims: &[Claim]| claims.iter().map(|claim| claim.id).collect::<Vec<_>>();
        self.agree("which tasks a step claims", &ids(&claims.0), &ids(&claims.1))?;
        self.agree("the claims of a step", &told(&claims.0), &told(&claims.1))?;
        for task in claims.0.iter().filter_map(|claim| claim.task.as_ref().ok()) {
            if !said.types.iter().any(|one| one.is_for(&task.task_type, &task.tenant)) {
                return Err(Disagreement(format!(
                    "a claim that the host does not serve: {task:?}"
                )));
            }
        }
        self.agree("the answer to a step", &rest(&mut real), &rest(&mut model))?;
        Ok(Some(claims))
    }

    /// Ask what a host holds, and believe it.
    pub(crate) async fn ask_held(
        &mut self,
        chance: &mut Chance,
        queue: usize,
    ) -> Result<(), Disagreement> {
        let host = chance.of(&HOSTS);
        self.note("held", (queue, host));
        let name = &self.queues[queue];
        let (real, model) = (self.real.held(name, host).await, self.model.held(name, host).await);
        let Some((mut real, mut model)) = self.both("what a host holds", real, model)? else {
            return Ok(());
        };
        real.sort_by_key(|claim| claim.id);
        model.sort_by_key(|claim| claim.id);
        self.agree("what a host holds", &told(&real), &told(&model))?;
        self.hold(host, queue, &real, &model);
        Ok(())
    }
}

/// Claims without their tokens, which are each broker's own.
fn told(claims: &[Claim]) -> Vec<(bulkhead_core::TaskId, Option<Task>, u32, bool)> {
    let tell = |claim: &Claim| {
        let mut task = claim.task.as_deref().ok().cloned();
        task.iter_mut().for_each(without_early_counts);
        (claim.id, task, claim.attempt, claim.cancelled)
    };
    claims.iter().map(tell).collect()
}

/// A step's answer besides its claims. Whether an outbox waits is each broker's own affair.
fn rest(stepped: &mut Stepped) -> impl std::fmt::Debug + PartialEq + use<> {
    stepped.cancel.sort();
    let lists = (stepped.stale.clone(), stepped.lost.clone(), stepped.cancel.clone());
    (lists, stepped.reclaimed)
}

fn how(chance: &mut Chance, held: &Held) -> How {
    let retention_ms = chance.of(&[0, 1, 400, 5_000, 600_000]);
    let kind = chance.weighed(&[50, 12, 6, 22, 10]);
    let outcome = match kind {
        0 => Outcome::Done(payload(chance)),
        _ => Outcome::Failed(Failure::new(FailureKind::Retry, "not now")),
    };
    let report = report(chance, held, outcome);
    match kind {
        0 => How::Complete(report, retention_ms, Vec::new()),
        1 => How::DeadLetter(report, retention_ms),
        2 => How::Cancel(report, retention_ms),
        3 => How::Retry(report, chance.of(&[0, 1, 30, 900, 20_000]), retention_ms),
        _ => match &held.task {
            Some(task) => How::Return(Box::new(task.clone()), retention_ms),
            None => How::Return(
                Box::new(Task {
                    id: held.id,
                    task_type: task_type(TYPES[0]),
                    queue: Default::default(),
                    tenant: tenant(TENANTS[0]),
                    priority: Priority::NORMAL,
                    payload: Payload::default(),
                    metadata: Vec::new(),
                    trace: None,
                    limits: Default::default(),
                    submitted_at: 0,
                    terms: Default::default(),
                }),
                retention_ms,
            ),
        },
    }
}

fn report(chance: &mut Chance, held: &Held, outcome: Outcome) -> AttemptReport {
    AttemptReport {
        attempt: held.attempt,
        started_at: 1,
        host: held.host.into(),
        plugin: None,
        digest: Digest::default(),
        metering: Metering {
            fuel: chance.next() % 1_000,
            cpu_us: chance.next() % 1_000,
            wall_us: chance.next() % 100_000,
            peak_memory_bytes: chance.next() % (64 << 20),
            host_calls: chance.next() % 3,
            bytes_in: chance.next() % 2,
            bytes_out: chance.next() % 100,
            ..Metering::default()
        },
        logs: Vec::new(),
        outcome,
        cached: chance.once_in(9),
    }
}

fn progress(chance: &mut Chance, at: u64) -> Progress {
    Progress { fraction: chance.of(&[0.0, 0.25, 1.0]), message: "some".into(), at }
}
