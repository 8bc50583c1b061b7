//! How everything stands, told again and again: what a dashboard draws.
//!
//! One look a second serves all who listen, and nobody looks while nobody listens.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as From;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bulkhead_core::UnixMs;
use bulkhead_queue::{Broker, HostInfo, QueueError, QueueStats};
use futures::stream;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use utoipa::ToSchema;

use super::extract::Json;
use super::{Api, Caller, Problems, Scope};
use crate::local::{Latency, Local};
use crate::problem::Problem;
use crate::unix_ms;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// How far back latencies are looked at.
const LATENCY_OVER: Duration = Duration::from_secs(60);

/// How everything stands.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Overview)]
pub(super) struct Overview {
    /// When this was looked at, in Unix milliseconds.
    at: UnixMs,
    /// By name.
    queues: Vec<QueueNow>,
    /// By name.
    hosts: Vec<HostNow>,
    /// How fast tasks went in the last minute, as the host that is asked counted them; nothing
    /// where no host answers.
    latency: Option<Latency>,
}

/// How a queue stands, and what it does a second.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct QueueNow {
    /// Its name.
    queue: String,
    /// Tasks in line.
    pending: u64,
    /// Tasks that wait for their time.
    scheduled: u64,
    /// Tasks that wait for others.
    blocked: u64,
    /// Tasks that run.
    running: u64,
    /// Dead letters.
    failed: u64,
    /// How long the oldest pending task has been in line, in milliseconds.
    oldest_pending_ms: Option<u64>,
    /// Whether claims are stopped.
    paused: bool,
    /// Totals since the queue was made.
    totals: BTreeMap<String, u64>,
    /// The same a second, since the look before; nothing at the first look.
    rates: BTreeMap<String, f64>,
}

/// How a host stands.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct HostNow {
    /// Its name.
    name: String,
    /// Attempts it runs.
    in_flight: u32,
    /// Attempts it may run at once.
    concurrency: u32,
    /// Bytes that its attempts hold, if its memory is bounded.
    held_bytes: Option<u64>,
    /// Bytes that they may hold.
    budget_bytes: Option<u64>,
    /// When it was heard of last.
    seen_at: UnixMs,
}

impl Overview {
    async fn look(
        broker: &dyn Broker,
        local: Option<&dyn Local>,
        before: Option<&Self>,
    ) -> Result<Self, QueueError> {
        let mut queues = Vec::new();
        for queue in broker.queues().await? {
            let stats = broker.stats(&queue).await?;
            queues.push((queue.to_string(), stats));
        }
        let mut hosts: Vec<HostNow> = broker.hosts().await?.into_iter().map(HostNow::of).collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        let at = unix_ms();
        let queues = queues.into_iter().map(|(queue, stats)| {
            let known = before.and_then(|before| {
                let elapsed_ms = at.saturating_sub(before.at).max(1);
                let known = before.queues.iter().find(|known| known.queue == queue)?;
                Some((&known.totals, elapsed_ms))
            });
            QueueNow::of(queue, stats, at, known)
        });
        let latency = local.map(|local| local.recent(LATENCY_OVER).all);
        Ok(Self { at, queues: queues.collect(), hosts, latency })
    }
}

impl QueueNow {
    fn of(
        queue: String,
        stats: QueueStats,
        at: UnixMs,
        before: Option<(&BTreeMap<String, u64>, u64)>,
    ) -> Self {
        let rates = before.map_or_else(BTreeMap::new, |(totals, elapsed_ms)| {
            let rate = |(name, total): (&String, &u64)| {
                let since = total.saturating_sub(totals.get(name).copied().unwrap_or(0));
                (name.clone(), since as f64 * 1_000.0 / elapsed_ms as f64)
            };
            stats.totals.iter().map(rate).collect()
        });
        Self {
            queue,
            pending: stats.pending,
            scheduled: stats.scheduled,
            blocked: stats.blocked,
            running: stats.running,
            failed: stats.failed,
            oldest_pending_ms: stats.oldest_pending_at.map(|oldest| at.saturating_sub(oldest)),
            paused: stats.paused,
            totals: stats.totals,
            rates,
        }
    }
}

impl HostNow {
    fn of(host: HostInfo) -> Self {
        Self {
            name: host.name,
            in_flight: host.in_flight,
            concurrency: host.concurrency,
            held_bytes: host.memory.map(|memory| memory.held_bytes),
            budget_bytes: host.memory.map(|memory| memory.budget_bytes),
            seen_at: host.seen_at,
        }
    }
}

/// The look that all who listen share.
pub(super) struct Lookout {
    broker: Arc<dyn Broker>,
    local: Option<Arc<dyn Local>>,
    latest: watch::Sender<Option<Arc<Overview>>>,
    /// Whether somebody looks.
    looking: Mutex<bool>,
}

impl Lookout {
    pub(super) fn new(broker: Arc<dyn Broker>, local: Option<Arc<dyn Local>>) -> Arc<Self> {
        let latest = watch::Sender::new(None);
        Arc::new(Self { broker, local, latest, looking: Mutex::new(false) })
    }

    /// Listen. Whoever is first starts the looks; they end with the last.
    fn listen(self: &Arc<Self>) -> watch::Receiver<Option<Arc<Overview>>> {
        let mut looking = self.looking.lock();
        let receiver = self.latest.subscribe();
        if !std::mem::replace(&mut looking, true) {
            self.latest.send_replace(None);
            tokio::spawn(self.clone().look());
        }
        receiver
    }

    async fn look(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<Arc<Overview>> = None;
        loop {
            ticks.tick().await;
            {
                let mut looking = self.looking.lock();
                if self.latest.receiver_count() == 0 {
                    *looking = false;
                    return;
                }
            }
            // While the broker is away nothing is told; who listens sees the time stand still.
            let (broker, local) = (self.broker.as_ref(), self.local.as_deref());
            if let Ok(now) = Overview::look(broker, local, before.as_deref()).await {
                let now = Arc::new(now);
                before = Some(now.clone());
                self.latest.send_replace(Some(now));
            }
        }
    }
}

/// Show how everything stands
#[utoipa::path(get, operation_id = "get_overview", path = "/v1/overview", tag = "events",
    responses((status = 200, body = Overview), Problems))]
pub(super) async fn overview(
    From(api): From<Api>,
    caller: Caller,
) -> Result<Json<Overview>, Problem> {
    caller.may_for_all(Scope::Read)?;
    Ok(Json(Overview::look(api.broker(), api.local.as_deref(), None).await?))
}

/// Follow how everything stands
///
/// One `overview` a second.
#[utoipa::path(get, operation_id = "follow_overview", path = "/v1/overview/events", tag = "events",
    responses((status = 200, description = "A stream of `Overview`s", body = Overview,
        content_type = "text/event-stream"), Problems))]
pub(super) async fn live(From(api): From<Api>, caller: Caller) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Read)?;
    let place = api.waiter()?;
    let mut latest = api.lookout.listen();
    latest.mark_changed();
    let told = stream::unfold((latest, place), |(mut latest, place)| async {
        loop {
            latest.changed().await.ok()?;
            let now = latest.borrow_and_update().clone();
            if let Some(now) = now {
                let message = Message::default().event("overview").json_data(&*now).ok()?;
                return Some((Ok::<_, Infallible>(message), (latest, place)));
            }
        }
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(told).keep_alive(alive).into_response())
}
