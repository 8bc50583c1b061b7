//! What happens to tasks, as Server-Sent Events.
//!
//! The id of each event says how far every queue of the stream has been told, so that a client
//! that comes back with `Last-Event-ID` goes on where it stopped. However many streams there are,
//! one wait for each queue rings for them all ([`super::chimes`]).

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State as From;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_core::{QueueName, TaskId, UnixMs};
use bulkhead_queue::{Event, EventId, EventKind};
use futures::future::select_all;
use futures::{FutureExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};

use super::chimes::{Chime, newest};
use super::extract::{Path, Query};
use super::queues::known;
use super::{Api, Caller, Problems, Scope};
use crate::problem::Problem;

/// Events read in one call.
const PAGE: usize = 200;
/// Queues of one stream.
const QUEUES: usize = 100;

/// Something that happened to a task.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
struct EventDocument<'a> {
    /// Its queue.
    queue: &'a str,
    /// The task.
    #[schema(format = Uuid)]
    task: TaskId,
    /// Its type.
    #[serde(rename = "type")]
    task_type: &'a str,
    /// Whose it is.
    tenant: &'a str,
    /// What happened.
    kind: EventKind,
    /// When, by the broker's clock.
    at: UnixMs,
}

/// Where a stream begins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct From_ {
    /// Tell what queues still have of the past too.
    #[serde(default)]
    past: bool,
    /// Only these kinds, separated by commas.
    kinds: Option<String>,
}

/// Follow the events of all queues
///
/// A queue records events if its policy says how many it keeps. Send `Last-Event-ID` to go on.
#[utoipa::path(get, operation_id = "follow_events", path = "/v1/events", tag = "events", params(From_),
    responses((status = 200, description = "A stream of `Event`s", body = EventDocument<'_>,
        content_type = "text/event-stream"), Problems))]
pub(super) async fn all(
    From(api): From<Api>,
    caller: Caller,
    headers: HeaderMap,
    Query(from): Query<From_>,
) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    let queues = api.broker().queues().await?;
    follow(api, caller, &headers, &from, queues).await
}

/// Follow the events of a queue
#[utoipa::path(get, operation_id = "follow_events_of_queue", path = "/v1/queues/{queue}/events", tag = "events",
    params(("queue" = QueueName, Path), From_),
    responses((status = 200, description = "A stream of `Event`s", body = EventDocument<'_>,
        content_type = "text/event-stream"), Problems))]
pub(super) async fn of_queue(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
    headers: HeaderMap,
    Query(from): Query<From_>,
) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    known(&api, &queue).await?;
    follow(api, caller, &headers, &from, vec![queue]).await
}

/// A stream on its way.
struct Following {
    api: Api,
    caller: Caller,
    kinds: Option<Vec<EventKind>>,
    /// The last event told of each queue.
    told: BTreeMap<QueueName, Option<EventId>>,
    /// What rings for each queue, and whether there may be something new.
    chimes: Vec<(QueueName, Chime, bool)>,
    ready: VecDeque<(QueueName, Event)>,
    _place: OwnedSemaphorePermit,
}

async fn follow(
    api: Api,
    caller: Caller,
    headers: &HeaderMap,
    from: &From_,
    queues: Vec<QueueName>,
) -> Result<Response, Problem> {
    let place = api.waiter()?;
    let kinds = from.kinds.as_deref().map(kinds).transpose()?;
    let resumed = match headers.get("last-event-id").and_then(|id| id.to_str().ok()) {
        Some(id) => Some(read_told(id)?),
        None => None,
    };
    let mut told = BTreeMap::new();
    for queue in queues.into_iter().take(QUEUES) {
        let last = match &resumed {
            Some(resumed) => resumed.get(&queue).cloned().flatten(),
            None if from.past => None,
            None => newest(api.broker(), &queue).await?,
        };
        told.insert(queue, last);
    }
    let chime = |queue: &QueueName| (queue.clone(), api.chimes.listen(queue), true);
    let chimes = told.keys().map(chime).collect();
    let ready = VecDeque::new();
    let following = Following { api, caller, kinds, told, chimes, ready, _place: place };
    let messages = stream::unfold(following, |mut following| async {
        let message = following.next().await?;
        Some((Ok::<_, Infallible>(message), following))
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(messages).keep_alive(alive).into_response())
}

fn kinds(text: &str) -> Result<Vec<EventKind>, Problem> {
    let kind = |name: &str| {
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == name.trim()).ok_or_else(|| {
            Problem::malformed(format!("`{}` is no kind of event", name.escape_debug()))
        })
    };
    text.split(',').map(kind).collect()
}

impl Following {
    /// The next message; nothing if the broker is away, so that the client comes back.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((queue, event)) = self.ready.pop_front() {
                self.told.insert(queue.clone(), Some(event.id.clone()));
                let wanted = self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind));
                if !wanted || !self.caller.sees(&event.tenant) {
                    continue;
                }
                let document = EventDocument {
                    queue: queue.as_str(),
                    task: event.task,
                    task_type: &event.task_type,
                    tenant: &event.tenant,
                    kind: event.kind,
                    at: event.at,
                };
                let message = Message::default().id(write_told(&self.told));
                return message.event(event.kind.as_str()).json_data(document).ok();
            }
            self.look().await?;
        }
    }

    /// Read what is new, or wait until something may be.
    async fn look(&mut self) -> Option<()> {
        if let Some((queue, chime, may_be)) = self.chimes.iter_mut().find(|(_, _, may_be)| *may_be)
        {
            chime.hush();
            let last = self.told.get(queue).and_then(Option::as_ref);
            let events = self.api.broker().events(queue, last, PAGE, Duration::ZERO).await.ok()?;
            *may_be = events.len() == PAGE;
            self.ready.extend(events.into_iter().map(|event| (queue.clone(), event)));
            return Some(());
        }
        let rings = self.chimes.iter_mut().map(|(_, chime, may_be)| {
            async move { chime.rung().await.map(|()| *may_be = true) }.boxed()
        });
        let rings: Vec<_> = rings.collect();
        if rings.is_empty() {
            return None;
        }
        select_all(rings).await.0
    }
}

/// How far each queue was told, as the id of an event.
fn write_told(told: &BTreeMap<QueueName, Option<EventId>>) -> String {
    let told: Vec<(&str, &str)> = told
        .iter()
        .filter_map(|(queue, last)| Some((queue.as_str(), last.as_ref()?.0.as_str())))
        .collect();
    // Names and ids can always be written.
    rmp_serde::to_vec(&told).map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default()
}

fn read_told(id: &str) -> Result<BTreeMap<QueueName, Option<EventId>>, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(id).ok();
    let told: Option<Vec<(QueueName, String)>> =
        bytes.and_then(|bytes| rmp_serde::from_slice(&bytes).ok());
    let told = told.ok_or_else(|| {
        Problem::malformed("the Last-Event-ID is none of this API; start without one")
    })?;
    Ok(told.into_iter().map(|(queue, id)| (queue, Some(EventId(id)))).collect())
}
