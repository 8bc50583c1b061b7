//! One run: a server, hosts, a producer, faults one after the other, and the reckoning.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bulkhead_core::{TaskId, TaskRef};
use bulkhead_queue::{Broker, RedisBroker};
use bulkhead_stage::{Loss, Persistence, Proxy, RedisServer, StageDisk, eventually_within};
use tokio::sync::watch;

use crate::faults::{Fault, HostProcess};
use crate::host::{EFFECTS, config, queues};
use crate::ledger::{Figures, views};
use crate::producer::{persist, produce};

const HOSTS: usize = 4;
/// Within this time everything recovers from one fault, and ends after the last.
const BOUND: Duration = Duration::from_secs(60);
/// How much longer a sync takes on a slow disk: longer than the time between two, and than
/// hosts wait for an answer.
const SLOW_BY: Duration = Duration::from_millis(1_500);

/// The server ended.
pub(crate) struct Crash {
    pub(crate) fault: Fault,
    /// What was answered before is still there.
    pub(crate) kept_from: Instant,
    pub(crate) at: Instant,
    /// How much it took from the server's log.
    pub(crate) took_bytes: u64,
}

/// What a run is played with.
pub(crate) struct Scene {
    test: String,
    disk: StageDisk,
    server: RedisServer,
    hosts: Vec<HostProcess>,
    producer: Proxy,
    broker: RedisBroker,
    folder: tempfile::TempDir,
    started: usize,
    dice: u64,
    /// What was there then had been synced.
    synced_at: Instant,
    crashes: Vec<Crash>,
    persistence: Persistence,
    faults: BTreeMap<Fault, Vec<Duration>>,
}

impl Scene {
    /// Let faults happen for this long, each kind at least once, then see everything end.
    pub(crate) fn play(test: &str, persistence: Persistence, faulty: Duration) -> Figures {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut scene = Self::set(test, persistence).await;
            let (stop, stopped) = watch::channel(false);
            let producing = tokio::spawn(produce(scene.producer.url(), stopped));
            let until = Instant::now() + faulty;
            let mut turn = 0;
            while turn < Fault::ALL.len() || Instant::now() < until {
                scene.happen(Fault::ALL[turn % Fault::ALL.len()]).await;
                turn += 1;
            }
            stop.send(true).unwrap();
            let accepted = producing.await.unwrap();
            scene.everything_ends(accepted.tasks.keys().cloned().collect()).await;
            scene.carry_everything().await;
            scene.everything_ends(accepted.callbacks.keys().cloned().collect()).await;
            scene.is_sound().await;
            for host in &mut scene.hosts {
                host.kill();
            }
            let effects = std::fs::read_to_string(scene.folder.path().join(EFFECTS)).unwrap();
            let mut figures = Figures::of(&scene.broker, &accepted, &effects, &scene.crashes).await;
            figures.faults = std::mem::take(&mut scene.faults);
            figures
        })
    }

    async fn set(test: &str, persistence: Persistence) -> Self {
        let disk = StageDisk::new();
        let server = RedisServer::start_on(&disk, persistence);
        let producer = Proxy::to(server.port()).await;
        let broker = persist(|| RedisBroker::connect(config(&server.url()))).await;
        let folder = tempfile::tempdir().unwrap();
        let mut scene = Self {
            test: test.into(),
            disk,
            server,
            hosts: Vec::new(),
            producer,
            broker,
            folder,
            started: 0,
            dice: 1,
            synced_at: Instant::now(),
            crashes: Vec::new(),
            persistence,
            faults: BTreeMap::new(),
        };
        for _ in 0..HOSTS {
            let host = scene.new_host().await;
            scene.hosts.push(host);
        }
        scene
    }

    async fn new_host(&mut self) -> HostProcess {
        self.started += 1;
        let name = format!("host-{}", self.started);
        HostProcess::start(&self.test, name, self.server.port(), self.folder.path()).await
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % below
    }

    /// Let one fault happen and wait until everything has recovered from it.
    async fn happen(&mut self, fault: Fault) {
        // Work goes on between two faults.
        tokio::time::sleep(Duration::from_millis(150 + self.dice % 200)).await;
        let at = usize::try_from(self.roll(HOSTS as u64)).unwrap();
        let time = Duration::from_millis(100 + self.roll(3_000));
        if fault == Fault::PowerLostWhileSlow {
            self.disk.slow_by(SLOW_BY);
            tokio::time::sleep(time).await;
        }
        if matches!(fault, Fault::PowerLost | Fault::PowerLostWhileSlow) {
            self.something_is_not_synced().await;
        }
        let began = Instant::now();
        match fault {
            Fault::HostKilled => {
                self.hosts[at].kill();
                let held = self.held_by(&self.hosts[at].name.clone()).await;
                let dead = std::mem::take(&mut self.hosts[at].name);
                self.hosts[at] = self.new_host().await;
                self.recovered(&dead, held).await;
            }
            Fault::HostPaused | Fault::HostCutOff => {
                let name = self.hosts[at].name.clone();
                let held = self.held_by(&name).await;
                if fault == Fault::HostPaused {
                    self.hosts[at].pause(time).await;
                } else {
                    self.hosts[at].cut(time).await;
                }
                self.recovered(&name, held).await;
            }
            Fault::ProducerCutOff => {
                self.producer.cut();
                tokio::time::sleep(time / 4).await;
                self.producer.mend();
                self.progressed("submitted").await;
            }
            Fault::ServerKilled => {
                let loss = self.server.crash(&self.disk);
                self.restarted(fault, loss, time / 8).await;
            }
            Fault::PowerLost | Fault::PowerLostWhileSlow => {
                let loss = self.server.lose_power(&self.disk);
                self.disk.slow_by(Duration::ZERO);
                self.restarted(fault, loss, time / 8).await;
                self.synced_at = began;
            }
            Fault::DiskSlow => {
                self.disk.slow_by(SLOW_BY);
                tokio::time::sleep(time).await;
                self.disk.slow_by(Duration::ZERO);
                self.progressed("completed").await;
            }
            Fault::ScriptsFlushed => {
                self.server.run(&[b"SCRIPT", b"FLUSH"]);
                self.progressed("completed").await;
            }
        }
        self.faults.entry(fault).or_default().push(began.elapsed());
    }

    /// Note that the server ended, and start it again after a while.
    async fn restarted(&mut self, fault: Fault, loss: Loss, after: Duration) {
        let at = Instant::now();
        let kept_from = match self.persistence {
            Persistence::EverySecond => loss.kept_from.unwrap_or(self.synced_at),
            Persistence::Always | Persistence::None => at,
        };
        let kept_from = kept_from.max(self.synced_at);
        self.crashes.push(Crash { fault, kept_from, at, took_bytes: loss.bytes });
        tokio::time::sleep(after).await;
        self.server.restart();
        self.progressed("completed").await;
    }

    /// Wait until a loss of power would take something, if that can be.
    async fn something_is_not_synced(&self) {
        if self.persistence == Persistence::EverySecond {
            eventually_within(BOUND, "something is written and not synced", || async {
                (self.disk.unsynced_bytes(self.server.folder()) > 0).then_some(())
            })
            .await;
        }
    }

    async fn held_by(&self, host: &str) -> Vec<TaskRef> {
        let mut held = Vec::new();
        for queue in queues() {
            let claims = persist(|| self.broker.held(&queue, host)).await;
            held.extend(claims.iter().map(|claim| TaskRef { queue: queue.clone(), id: claim.id }));
        }
        held
    }

    /// Wait until none of these tasks is stuck with a host: each has ended, waits for its
    /// retry, or somebody runs it under a lease that was renewed or is new.
    async fn recovered(&mut self, host: &str, held: Vec<TaskRef>) {
        let (broker, held) = (&self.broker, &held);
        let began = self.now_ms().await;
        eventually_within(BOUND, "what a host held goes on", || async move {
            let mut stuck = false;
            for (_, view) in views(broker, held.clone()).await {
                let holder = view.and_then(|view| view.holder);
                stuck |= holder.is_some_and(|holder| {
                    let leased_before = began + 2_000 > holder.lease_until;
                    holder.host == host && leased_before
                });
            }
            (!stuck).then_some(())
        })
        .await;
    }

    /// The server's time.
    async fn now_ms(&self) -> u64 {
        let queue = &queues()[0];
        persist(|| self.broker.due_schedules(queue, 1)).await.now
    }

    /// Wait until something more was counted than now.
    async fn progressed(&mut self, total: &'static str) {
        let broker = &self.broker;
        let count = || async move {
            let mut sum = 0;
            for queue in queues() {
                let stats = persist(|| broker.stats(&queue)).await;
                sum += stats.totals.get(total).copied().unwrap_or(0);
            }
            sum
        };
        let before = count().await;
        eventually_within(BOUND, "work goes on", || async {
            (count().await > before).then_some(())
        })
        .await;
    }

    async fn everything_ends(&self, tasks: Vec<TaskRef>) {
        let (broker, tasks) = (&self.broker, &tasks);
        eventually_within(BOUND, "every accepted task ends", || async move {
            let open: Vec<TaskId> = views(broker, tasks.clone())
                .await
                .into_iter()
                .filter_map(|(task, view)| (!view?.state.is_terminal()).then_some(task.id))
                .collect();
            open.is_empty().then_some(())
        })
        .await;
    }

    /// Carry what is left in the outboxes, so that every batch that is over has its callback.
    async fn carry_everything(&self) {
        loop {
            let mut carried = 0;
            for queue in queues() {
                carried += persist(|| self.broker.deliver(&queue)).await;
            }
            if carried == 0 {
                return;
            }
        }
    }

    /// Nothing is wrong with the queues. What a loss tore apart, because it fell between two
    /// calls that belong together, can be repaired.
    async fn is_sound(&self) {
        for queue in queues() {
            if self.persistence == Persistence::EverySecond {
                persist(|| self.broker.examine(&queue, true)).await;
            }
            let findings = persist(|| self.broker.examine(&queue, false)).await;
            assert!(findings.is_empty(), "{findings:#?}");
        }
    }
}
