//! How everything stands, told again and again: what a dashboard draws.
//!
//! One look a second serves all who listen, and nobody looks while nobody listens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as From;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bulkhead_queue::{Broker, QueueError};
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::extract::Json;
use super::{Api, Caller, Problems, Scope};
use crate::document::{Look, Overview};
use crate::problem::Problem;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

async fn look(broker: &dyn Broker, before: Option<&Overview>) -> Result<Overview, QueueError> {
    Ok(Overview::of(&Look::take(broker, &[]).await?, before))
}

/// The look that all who listen share.
pub(super) struct Lookout {
    broker: Arc<dyn Broker>,
    latest: watch::Sender<Option<Arc<Overview>>>,
    /// Whether somebody looks.
    looking: Mutex<bool>,
}

impl Lookout {
    pub(super) fn new(broker: Arc<dyn Broker>) -> Arc<Self> {
        Arc::new(Self { broker, latest: watch::Sender::new(None), looking: Mutex::new(false) })
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
            if let Ok(now) = look(self.broker.as_ref(), before.as_deref()).await {
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
    Ok(Json(look(api.broker(), None).await?))
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
