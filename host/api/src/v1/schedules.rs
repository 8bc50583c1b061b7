//! Schedules: tasks that are submitted by time.

use axum::extract::State as From;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bulkhead_core::{QueueName, Schedule, UnixMs};
use bulkhead_queue::{FireAnswer, ScheduleView};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Body, Json, Path, read_json};
use super::queues::Changed;
use super::{Api, Caller, Problems, Scope};
use crate::asked::ScheduleRequest;
use crate::document::ScheduleDocument;
use crate::problem::{Kind, Problem};

/// Schedules.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScheduleList)]
pub(super) struct Listed<'a> {
    /// By queue and name.
    schedules: Vec<ScheduleDocument<'a>>,
}

async fn listed(api: &Api, caller: &Caller, queues: Vec<QueueName>) -> Result<Response, Problem> {
    let mut all: Vec<(QueueName, ScheduleView)> = Vec::new();
    for queue in queues {
        let views = api.broker().schedules(&queue).await?.into_iter();
        let seen = views.filter(|view| caller.sees(view.schedule.task.tenant.as_str()));
        all.extend(seen.map(|view| (queue.clone(), view)));
    }
    let schedules = all.iter().map(|(queue, view)| ScheduleDocument::new(queue, view)).collect();
    Ok(Json(Listed { schedules }).into_response())
}

/// List the schedules of all queues
#[utoipa::path(get, operation_id = "list_schedules", path = "/v1/schedules", tag = "schedules",
    responses((status = 200, body = Listed<'_>), Problems))]
pub(super) async fn list(From(api): From<Api>, caller: Caller) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    let queues = api.broker().queues().await?;
    listed(&api, &caller, queues).await
}

/// List the schedules of a queue
#[utoipa::path(get, operation_id = "list_schedules_of_queue", path = "/v1/queues/{queue}/schedules", tag = "schedules",
    params(("queue" = QueueName, Path)),
    responses((status = 200, body = Listed<'_>), Problems))]
pub(super) async fn list_queue(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    listed(&api, &caller, vec![queue]).await
}

async fn find(
    api: &Api,
    caller: &Caller,
    queue: &QueueName,
    name: &str,
) -> Result<ScheduleView, Problem> {
    let views = api.broker().schedules(queue).await?;
    let found = views.into_iter().find(|view| view.schedule.name == name);
    found.filter(|view| caller.sees(view.schedule.task.tenant.as_str())).ok_or_else(|| {
        Problem::not_found(format!(
            "there is no schedule `{}` in queue {queue}",
            name.escape_debug()
        ))
    })
}

/// A schedule and its next fires.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScheduleDetail)]
pub(super) struct Detail<'a> {
    #[serde(flatten)]
    schedule: ScheduleDocument<'a>,
    /// The next ten fires; of a paused schedule those that would be.
    upcoming: Vec<UnixMs>,
}

/// Show a schedule
#[utoipa::path(get, operation_id = "get_schedule", path = "/v1/queues/{queue}/schedules/{name}", tag = "schedules",
    params(("queue" = QueueName, Path), ("name" = String, Path)),
    responses((status = 200, body = Detail<'_>), Problems))]
pub(super) async fn get(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, name)): Path<(QueueName, String)>,
) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    let view = find(&api, &caller, &queue, &name).await?;
    let now = api.broker().due_schedules(&queue, 1).await?.now;
    let upcoming = view.upcoming(now, 10);
    Ok(Json(Detail { schedule: ScheduleDocument::new(&queue, &view), upcoming }).into_response())
}

/// Define a schedule, or define a known one anew
///
/// A known one keeps its pause and its history.
#[utoipa::path(put, operation_id = "put_schedule", path = "/v1/queues/{queue}/schedules/{name}", tag = "schedules",
    params(("queue" = QueueName, Path), ("name" = String, Path)),
    request_body = ScheduleRequest<'_>,
    responses((status = 200, body = Changed), Problems))]
pub(super) async fn put(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, name)): Path<(QueueName, String)>,
    Body(body): Body,
) -> Result<Json<Changed>, Problem> {
    caller.may(Scope::Operate)?;
    let request: ScheduleRequest<'_> = read_json(&body)?;
    let schedule: Schedule = request
        .schedule(name, caller.tenant.as_ref())
        .map_err(|reason| Problem::malformed(format!("the schedule is not usable: {reason}")))?;
    if !caller.sees(schedule.task.tenant.as_str()) {
        return Err(Problem::new(Kind::Forbidden, "the token schedules for its own tenant alone"));
    }
    if let Ok(known) = find(&api, &Caller::owner(), &queue, &schedule.name).await
        && !caller.sees(known.schedule.task.tenant.as_str())
    {
        return Err(Problem::new(Kind::Conflict, "there is a schedule of this name already"));
    }
    schedule.check().map_err(|error| Problem::new(Kind::Refused, error.to_string()))?;
    let now = api.broker().due_schedules(&queue, 1).await?.now;
    let next = schedule.next_after(now);
    if next.is_none() {
        return Err(Problem::new(Kind::Refused, "it would never fire: its time has passed"));
    }
    let changed = api.broker().put_schedule(&queue, &schedule, next).await?;
    Ok(Json(Changed { changed }))
}

/// Forget a schedule
#[utoipa::path(delete, operation_id = "remove_schedule", path = "/v1/queues/{queue}/schedules/{name}", tag = "schedules",
    params(("queue" = QueueName, Path), ("name" = String, Path)),
    responses((status = 204, description = "It is gone"), Problems))]
pub(super) async fn remove(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, name)): Path<(QueueName, String)>,
) -> Result<StatusCode, Problem> {
    caller.may(Scope::Operate)?;
    find(&api, &caller, &queue, &name).await?;
    api.broker().remove_schedule(&queue, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_paused(
    api: &Api,
    caller: &Caller,
    queue: &QueueName,
    name: &str,
    paused: bool,
) -> Result<Json<Changed>, Problem> {
    caller.may(Scope::Operate)?;
    let view = find(api, caller, queue, name).await?;
    let now = api.broker().due_schedules(queue, 1).await?.now;
    let next = view.schedule.next_after(now);
    api.broker().pause_schedule(queue, name, paused, next).await?;
    Ok(Json(Changed { changed: view.paused != paused }))
}

/// Stop a schedule
#[utoipa::path(post, operation_id = "pause_schedule", path = "/v1/queues/{queue}/schedules/{name}/pause", tag = "schedules",
    params(("queue" = QueueName, Path), ("name" = String, Path)),
    responses((status = 200, body = Changed), Problems))]
pub(super) async fn pause(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, name)): Path<(QueueName, String)>,
) -> Result<Json<Changed>, Problem> {
    set_paused(&api, &caller, &queue, &name, true).await
}

/// Start a schedule again
///
/// What it missed meanwhile is not made up for.
#[utoipa::path(post, operation_id = "resume_schedule", path = "/v1/queues/{queue}/schedules/{name}/resume", tag = "schedules",
    params(("queue" = QueueName, Path), ("name" = String, Path)),
    responses((status = 200, body = Changed), Problems))]
pub(super) async fn resume(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, name)): Path<(QueueName, String)>,
) -> Result<Json<Changed>, Problem> {
    set_paused(&api, &caller, &queue, &name, false).await
}

/// The task of a fire.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Fired {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
}

/// Submit a schedule's task now
///
/// Its next fire stays as it is.
#[utoipa::path(post, operation_id = "fire_schedule", path = "/v1/queues/{queue}/schedules/{name}/fire", tag = "schedules",
    params(("queue" = QueueName, Path), ("name" = String, Path)),
    responses((status = 201, body = Fired), Problems))]
pub(super) async fn fire(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, name)): Path<(QueueName, String)>,
) -> Result<Response, Problem> {
    caller.may(Scope::Operate)?;
    let view = find(&api, &caller, &queue, &name).await?;
    let now = api.broker().due_schedules(&queue, 1).await?.now;
    let (id, fire) = view.by_hand(&queue, now);
    match api.broker().fire(&queue, &fire).await? {
        FireAnswer::Fired(_) => {
            Ok((StatusCode::CREATED, Json(Fired { id: id.to_string() })).into_response())
        }
        FireAnswer::Overlapping => Err(Problem::new(
            Kind::Conflict,
            "the task of its last fire has not ended, and the schedule is exclusive",
        )),
        FireAnswer::Superseded | FireAnswer::Unknown => {
            Err(Problem::not_found(format!("schedule `{}` is gone", name.escape_debug())))
        }
    }
}
