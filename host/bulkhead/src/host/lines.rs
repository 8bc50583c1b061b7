//! The lines of a host while it serves: one loop for each queue, and beside them what all
//! queues share: the plugins' keeper, requests from outside, schedules, what crosses queues.
//!
//! The loops end when their attempts have been settled or given back; what runs beside them
//! is stopped only then.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bulkhead_core::{TaskType, UnixMs};
use bulkhead_queue::{Broker, DocumentKind, Signal, Topic};
use bulkhead_sandbox::{Budget, Sandbox};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::admission::Doorkeeper;
use super::scaling::Scaling;
use super::vitals::Vitals;
use super::{HostError, Telemetry, canaries, sample};
use crate::alerts::{self, Alerts};
use crate::clock::unix_ms;
use crate::metrics;
use crate::options::{HostOptions, QueueOptions};
use crate::plugins::{Keeper, Registry};
use crate::scheduler::{self, ScheduleBell};
use crate::serve::{
    Backends, Interrupt, Line, Permits, RoomBell, Shared, Shelf, carry, carry_last, carry_others,
    listen,
};
use crate::shutdown::Shutdown;

/// The lines of a host.
pub(super) struct Lines {
    pub(super) shared: Arc<Shared>,
    pub(super) lines: Vec<Arc<Line>>,
    pub(super) options: HostOptions,
    pub(super) started_at: UnixMs,
    /// The layers around worker processes; none where guests run on threads.
    pub(super) layers: Vec<String>,
    pub(super) vitals: Vitals,
}

impl Lines {
    pub(super) fn new(
        broker: &Arc<dyn Broker>,
        options: &HostOptions,
        registry: Arc<Registry>,
        (sandbox, budget): (Sandbox, Budget),
        telemetry: Telemetry,
        layers: Vec<String>,
        vitals: Vitals,
    ) -> Result<Self, HostError> {
        let unreadable_type =
            TaskType::new("unreadable").map_err(|e| HostError::Options(e.to_string()))?;
        let Telemetry { metrics, traces } = telemetry;
        let room = Arc::<RoomBell>::default();
        let bell = room.clone();
        budget.on_freed(move || bell.ring());
        let bounds = options.autoscale.as_ref().map(|autoscale| autoscale.policy(options));
        let at_once = bounds.as_ref().map_or(options.concurrency, |bounds| bounds.min);
        vitals.begin(at_once, bounds.map(|bounds| (bounds.min, bounds.max)));
        let shared = Arc::new(Shared {
            host: options.name.as_str().into(),
            holder: holder(&options.name).into(),
            broker: broker.clone(),
            registry,
            backends: Backends::new(options, broker.clone(), &metrics),
            permits: Permits::new(at_once, room.clone()),
            refuses: AtomicBool::new(false),
            tally: bounds.is_some().then(Arc::default),
            budget,
            sandbox,
            metrics,
            traces,
            log_payloads: options.log_payloads,
            shelf: Shelf::new(options.claim_bytes(), room.clone()),
            room,
            lease: options.lease,
            settlement_buffer: options.settlement_buffer,
            hunger: Notify::new(),
            unreadable_type,
            control: tokio::runtime::Handle::current(),
        });
        let line = |queue: &QueueOptions| Arc::new(Line::new(shared.clone(), queue.clone()));
        let lines = options.queues.iter().map(line).collect();
        Ok(Self { shared, lines, options: options.clone(), started_at: unix_ms(), layers, vitals })
    }

    pub(super) async fn run(
        self,
        keeper: Keeper,
        guests: tokio::runtime::Handle,
        shutdown: Shutdown,
        alerts: Alerts,
    ) -> Result<(), HostError> {
        let mut beside = JoinSet::new();
        if let Some(mut doorkeeper) =
            Doorkeeper::of(&self.shared, &self.lines, &self.options, &self.vitals)
        {
            doorkeeper.look();
            beside.spawn(doorkeeper.watch());
        }
        if let Some(scaling) = Scaling::of(&self.shared, &self.lines, &self.options, &self.vitals) {
            beside.spawn(scaling.follow());
        }
        let mut serving = JoinSet::new();
        for line in &self.lines {
            let line = line.clone();
            serving.spawn(line.serve(guests.clone(), shutdown.clone(), self.options.grace));
        }
        let served: Vec<_> = self.lines.iter().map(|line| line.queue.name.clone()).collect();
        beside.spawn(sample::sample(self.shared.broker.clone(), served.clone(), sample::EVERY));
        beside.spawn(carry_others(self.shared.broker.clone(), served));
        let (broker, bell) = (&self.shared.broker, ScheduleBell::new());
        let ask = (keeper.requests.clone(), keeper.pushes.clone());
        beside.spawn(follow_requests(broker.clone(), ask, bell.clone()));
        beside.spawn(keeper.run(shutdown.clone()));
        beside.spawn(follow_cancels(self.shared.broker.clone(), self.lines.clone()));
        beside.spawn(canaries::follow(self.shared.clone()));
        beside.spawn(listen(self.shared.clone(), self.lines.clone(), shutdown.clone()));
        for line in &self.lines {
            beside.spawn(carry(line.clone()));
            beside.spawn(scheduler::follow(
                self.shared.broker.clone(),
                line.queue.name.clone(),
                bell.clone(),
                self.shared.metrics.clone(),
            ));
        }
        let lines = self.lines.clone();
        let every = self.options.sample_every;
        beside.spawn(metrics::sample(self.shared.clone(), lines.clone(), every));
        beside.spawn(self.shared.metrics.clone().remember());
        beside.spawn(alerts::watch(
            self.shared.host.clone(),
            self.options.alerts.clone(),
            lines.iter().map(|line| line.figures.clone()).collect(),
            alerts,
            self.shared.metrics.clone(),
        ));
        beside.spawn(self.announce(shutdown));
        while let Some(ended) = serving.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a queue's loop ended unexpectedly");
            }
        }
        beside.shutdown().await;
        futures::future::join_all(lines.iter().map(|line| carry_last(line))).await;
        Ok(())
    }
}

/// A name for leases that only one process, and one host in it, has.
fn holder(name: &str) -> String {
    let life = uuid::Uuid::new_v4().simple().to_string();
    format!("{name}#{}", &life[..8])
}

/// Pass requests to cancel on to the attempts they are for.
async fn follow_cancels(broker: Arc<dyn Broker>, lines: Vec<Arc<Line>>) {
    let queues = lines.iter().map(|line| line.queue.name.clone()).collect();
    let mut signals = broker.subscribe(Topic::Cancel, queues);
    while let Some(signal) = signals.recv().await {
        if let Signal::Task(queue, id) = signal
            && let Some(line) = lines.iter().find(|line| line.queue.name == queue)
        {
            line.ledger.interrupt(id, Interrupt::Cancelled);
        }
    }
}

/// Pass requests to look again on: at the plugin folder and at what was pushed to the plugins'
/// keeper, at the schedules to their loops.
async fn follow_requests(
    broker: Arc<dyn Broker>,
    (rescans, pushes): (Arc<Notify>, Arc<Notify>),
    bell: ScheduleBell,
) {
    let mut signals = broker.subscribe(Topic::Rescan, Vec::new());
    while let Some(signal) = signals.recv().await {
        match signal {
            Signal::Rescan => rescans.notify_one(),
            Signal::Schedules => bell.ring(),
            // What was said until the subscription stood has not been heard.
            Signal::Connected => {
                bell.ring();
                pushes.notify_one();
            }
            Signal::Documents(
                DocumentKind::Version | DocumentKind::Activation | DocumentKind::Canary,
            ) => {
                pushes.notify_one();
            }
            Signal::Documents(DocumentKind::Token | DocumentKind::CanaryCounts)
            | Signal::Task(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bulkhead_core::{
        LimitsRequest, Missed, Payload, QueueName, Schedule, Template, Terms, Timing,
    };
    use bulkhead_queue::EmbeddedBroker;

    use super::*;

    #[tokio::test]
    async fn every_change_of_a_schedule_rings_the_bell() {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
        let (queue, bell) = (QueueName::default(), ScheduleBell::new());
        let mut rung = bell.heard();
        let rescans = Arc::new(Notify::new());
        let asked = (rescans.clone(), Arc::new(Notify::new()));
        let following = tokio::spawn(follow_requests(broker.clone(), asked, bell));
        let mut ring = async || {
            let rung = tokio::time::timeout(Duration::from_secs(20), rung.changed()).await;
            rung.expect("it rings").expect("it is there");
        };
        ring().await;
        let schedule = Schedule {
            name: "s".into(),
            timing: Timing::Every { interval_ms: 1_000, jitter_ms: 0, start: 0 },
            exclusive: false,
            missed: Missed::Once,
            task: Template {
                task_type: TaskType::new("t").unwrap(),
                tenant: Default::default(),
                priority: Default::default(),
                payload: Payload::new(Payload::TEXT, ""),
                metadata: Vec::new(),
                limits: LimitsRequest::default(),
                terms: Terms::default(),
            },
            origin: String::new(),
        };
        assert!(broker.put_schedule(&queue, &schedule, Some(1)).await.unwrap());
        ring().await;
        for paused in [true, false] {
            assert!(broker.pause_schedule(&queue, "s", paused, Some(1)).await.unwrap());
            ring().await;
        }
        assert!(broker.remove_schedule(&queue, "s").await.unwrap());
        ring().await;
        assert_eq!(broker.request_rescan().await.unwrap(), 1);
        rescans.notified().await;
        following.abort();
    }
}
