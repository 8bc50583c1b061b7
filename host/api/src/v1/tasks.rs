//! Tasks: look at them, wait for them, act on them.

use std::time::Duration;

use axum::extract::State as From;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bulkhead_core::quantity::Span;
use bulkhead_core::{Payload, QueueName, State, TaskId};
use bulkhead_queue::{CancelAnswer, RerunAnswer, TaskView};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::cursor::Cursor;
use super::extract::{Json, Path, Query};
use super::{Api, Caller, Problems, Scope};
use crate::asked::Selection;
use crate::document::{SummaryDocument, TaskDocument};
use crate::problem::{Kind, Problem};

/// How long a cancelled task is kept.
const CANCELLED_KEPT_MS: u64 = 24 * 3_600_000;

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paged {
    /// How many at most; 50 without it, 1,000 at most.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
    /// Where the list goes on: `next` of the part before.
    cursor: Option<String>,
}

impl Paged {
    fn limit(&self) -> Result<usize, Problem> {
        match self.limit.unwrap_or(50) {
            limit @ 1..=1_000 => Ok(limit.into()),
            other => Err(Problem::malformed(format!("the limit is {other}; use 1 to 1000"))),
        }
    }
}

/// Part of a list of tasks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaskList)]
pub(super) struct Listed<'a> {
    /// The tasks. They may be fewer than asked for although there are more.
    tasks: Vec<SummaryDocument<'a>>,
    /// The cursor of the part that follows; nothing if this was the last.
    next: Option<String>,
}

/// List tasks
///
/// By queue, by state in the order of a task's life, dead letters and ended tasks newest first.
/// Of completed, cancelled and expired tasks a queue lists the newest 10,000.
#[utoipa::path(get, operation_id = "list_tasks", path = "/v1/tasks", tag = "tasks", params(Selection, Paged),
    responses((status = 200, body = Listed<'_>), Problems))]
pub(super) async fn list(
    From(api): From<Api>,
    caller: Caller,
    Query(selection): Query<Selection>,
    Query(paged): Query<Paged>,
) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    let selection = selection.seen_by(&caller)?;
    let cursor = paged.cursor.as_deref().map(Cursor::read).transpose()?;
    let part = selection.page(&api, cursor.as_ref(), paged.limit()?).await?;
    let tasks = part.tasks.iter().map(SummaryDocument::from).collect();
    let next = part.next.map(|cursor| cursor.text());
    Ok(Json(Listed { tasks, next }).into_response())
}

/// The task that a path names, if the caller may see it.
pub(super) async fn find(
    api: &Api,
    caller: &Caller,
    queue: &QueueName,
    id: TaskId,
) -> Result<TaskView, Problem> {
    let view = api.broker().inspect(queue, &[id]).await?.pop().flatten();
    view.filter(|view| sees(caller, view)).ok_or_else(|| {
        Problem::not_found(format!(
            "there is no task {id} in queue {queue}; it was never submitted, or was forgotten when \
             its retention had passed"
        ))
    })
}

/// Show a task
#[utoipa::path(get, operation_id = "get_task", path = "/v1/queues/{queue}/tasks/{id}", tag = "tasks",
    params(("queue" = QueueName, Path), ("id" = TaskId, Path)),
    responses((status = 200, body = TaskDocument<'_>), Problems))]
pub(super) async fn get(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, id)): Path<(QueueName, TaskId)>,
) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    let view = find(&api, &caller, &queue, id).await?;
    Ok(Json(TaskDocument::from(&view)).into_response())
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Patience {
    /// How long at most; 30s without it, and no longer than the host allows.
    timeout: Option<Span>,
}

/// Wait until a task has ended
///
/// Answers with the task as soon as it has ended, or after the timeout as it is then: with status
/// 202 if it has not ended.
#[utoipa::path(get, operation_id = "wait_for_task", path = "/v1/queues/{queue}/tasks/{id}/wait", tag = "tasks",
    params(("queue" = QueueName, Path), ("id" = TaskId, Path), Patience),
    responses(
        (status = 200, description = "It has ended", body = TaskDocument<'_>),
        (status = 202, description = "It has not ended yet", body = TaskDocument<'_>),
        Problems
    ))]
pub(super) async fn wait(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, id)): Path<(QueueName, TaskId)>,
    Query(patience): Query<Patience>,
) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    let mut view = find(&api, &caller, &queue, id).await?;
    if !view.state.is_terminal() {
        let _place = api.waiter()?;
        let timeout = patience.timeout.map_or(Duration::from_secs(30), |timeout| timeout.0);
        let timeout = timeout.min(api.options.longest_wait);
        view = match api.client.wait(&queue, id, timeout).await? {
            Some(ended) => ended,
            None => find(&api, &caller, &queue, id).await?,
        };
    }
    let status = if view.state.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(TaskDocument::from(&view))).into_response())
}

/// What became of a request to cancel a task.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cancelled {
    /// `cancelled`: it waited, and will not run. `requested`: its host was asked to stop it.
    answer: CancelAnswer,
}

/// Cancel a task
#[utoipa::path(post, operation_id = "cancel_task", path = "/v1/queues/{queue}/tasks/{id}/cancel", tag = "tasks",
    params(("queue" = QueueName, Path), ("id" = TaskId, Path)),
    responses((status = 200, body = Cancelled), Problems))]
pub(super) async fn cancel(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, id)): Path<(QueueName, TaskId)>,
) -> Result<Json<Cancelled>, Problem> {
    caller.may(Scope::Operate)?;
    let view = find(&api, &caller, &queue, id).await?;
    let answers = api.broker().cancel(&queue, &[id], CANCELLED_KEPT_MS).await?;
    match answers.first() {
        Some(answer @ (CancelAnswer::Cancelled | CancelAnswer::Requested)) => {
            Ok(Json(Cancelled { answer: *answer }))
        }
        Some(CancelAnswer::AlreadyEnded) => {
            let state = if view.state.is_terminal() { view.state.as_str() } else { "ended" };
            Err(Problem::new(Kind::Conflict, format!("task {id} is {state} already")))
        }
        _ => Err(Problem::not_found(format!("task {id} is gone"))),
    }
}

/// What became of a request to run a task again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Retried {
    /// `in_line`: it has fresh attempts.
    answer: RerunAnswer,
}

fn retried(id: TaskId, answer: Option<&RerunAnswer>) -> Result<Json<Retried>, Problem> {
    match answer {
        Some(RerunAnswer::InLine) => Ok(Json(Retried { answer: RerunAnswer::InLine })),
        Some(RerunAnswer::Active) => Err(Problem::new(
            Kind::Conflict,
            format!("task {id} is pending or running; wait for its end or cancel it"),
        )),
        _ => Err(Problem::not_found(format!("task {id} is gone"))),
    }
}

/// Give a task fresh attempts
///
/// One that has ended runs again; one that waits for its time starts now.
#[utoipa::path(post, operation_id = "retry_task", path = "/v1/queues/{queue}/tasks/{id}/retry", tag = "tasks",
    params(("queue" = QueueName, Path), ("id" = TaskId, Path)),
    responses((status = 200, body = Retried), Problems))]
pub(super) async fn retry(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, id)): Path<(QueueName, TaskId)>,
) -> Result<Json<Retried>, Problem> {
    caller.may(Scope::Operate)?;
    find(&api, &caller, &queue, id).await?;
    retried(id, api.broker().rerun(&queue, &[id]).await?.first())
}

/// Another payload.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    /// A string is text unless `content_type` says that it is JSON; any other value is JSON.
    #[schema(value_type = serde_json::Value)]
    payload: Option<Box<RawValue>>,
    /// The payload in base64, in place of `payload`.
    payload_base64: Option<String>,
    /// Its media type.
    content_type: Option<String>,
}

/// Give an ended task fresh attempts with another payload
#[utoipa::path(post, operation_id = "edit_task", path = "/v1/queues/{queue}/tasks/{id}/edit", tag = "tasks",
    params(("queue" = QueueName, Path), ("id" = TaskId, Path)), request_body = Edit,
    responses((status = 200, body = Retried), Problems))]
pub(super) async fn edit(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, id)): Path<(QueueName, TaskId)>,
    Json(edit): Json<Edit>,
) -> Result<Json<Retried>, Problem> {
    caller.may(Scope::Operate)?;
    find(&api, &caller, &queue, id).await?;
    let payload = edit.payload()?;
    if payload.data.len() > api.limits().payload_bytes {
        return Err(Problem::new(
            Kind::TooLarge,
            format!(
                "the payload has {} bytes; at most {} are allowed (setting `submit.payload_bytes`)",
                payload.data.len(),
                api.limits().payload_bytes
            ),
        ));
    }
    retried(id, Some(&api.broker().rerun_edited(&queue, id, payload).await?))
}

impl Edit {
    fn payload(&self) -> Result<Payload, Problem> {
        crate::asked::payload(
            self.payload.as_deref(),
            self.payload_base64.as_deref(),
            self.content_type.as_deref(),
        )
        .map_err(Problem::malformed)
    }
}

/// Tasks by their ids, or by what they have in common.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Many {
    /// The queue of the ids.
    queue: Option<QueueName>,
    /// At most 1,000 ids.
    ids: Option<Vec<TaskId>>,
    /// In place of ids: what the tasks have in common, at most 100,000 of them.
    filter: Option<Selection>,
}

/// What became of many tasks.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Done {
    /// How many were found.
    found: u64,
    /// With how many it was done.
    done: u64,
    /// Whether there may be more: one request acts on 100,000 tasks at most.
    more: bool,
}

/// Tasks that one body names at most.
const MAX_IDS: usize = 1_000;
/// Tasks that are acted on at once.
const PAGE: usize = 500;
/// Tasks that one request acts on.
const MANY: u64 = 100_000;

/// What is done with many tasks.
#[derive(Clone, Copy)]
enum Act {
    Cancel,
    Retry,
}

impl Act {
    /// The tasks that it is done with unless states are named.
    fn unless_named(self) -> &'static [State] {
        match self {
            Self::Cancel => &State::ALL,
            Self::Retry => &[State::Failed],
        }
    }

    /// Whether it can be done with tasks in a state.
    fn fits(self, state: State) -> bool {
        match self {
            Self::Cancel => !state.is_terminal(),
            Self::Retry => state.is_terminal() || state == State::Scheduled,
        }
    }

    /// Do it; with how many it was done.
    async fn on(self, api: &Api, queue: &QueueName, ids: &[TaskId]) -> Result<u64, Problem> {
        let done = match self {
            Self::Cancel => {
                let answers = api.broker().cancel(queue, ids, CANCELLED_KEPT_MS).await?;
                let done = |answer: &&CancelAnswer| {
                    matches!(answer, CancelAnswer::Cancelled | CancelAnswer::Requested)
                };
                answers.iter().filter(done).count()
            }
            Self::Retry => {
                let answers = api.broker().rerun(queue, ids).await?;
                answers.iter().filter(|answer| **answer == RerunAnswer::InLine).count()
            }
        };
        Ok(done as u64)
    }
}

/// Do something with many tasks.
async fn act_on(api: &Api, caller: &Caller, many: Many, act: Act) -> Result<Json<Done>, Problem> {
    caller.may(Scope::Operate)?;
    let mut done = Done::default();
    match (many.queue, many.ids, many.filter) {
        (Some(queue), Some(ids), None) => {
            let ids = seen(api, caller, &queue, &ids).await?;
            done.found = ids.len() as u64;
            done.done = act.on(api, &queue, &ids).await?;
        }
        (None, None, Some(filter)) => {
            let filter = filter.seen_by(caller)?;
            let filter = filter.only(act.unless_named(), |state| act.fits(state))?;
            let mut cursor: Option<Cursor> = None;
            loop {
                let part = filter.page(api, cursor.as_ref(), PAGE).await?;
                for tasks in part.tasks.chunk_by(|a, b| a.queue == b.queue) {
                    let ids: Vec<TaskId> = tasks.iter().map(|view| view.id).collect();
                    done.found += ids.len() as u64;
                    done.done += act.on(api, &tasks[0].queue, &ids).await?;
                }
                cursor = part.next;
                done.more = cursor.is_some();
                if !done.more || done.found >= MANY {
                    break;
                }
            }
        }
        _ => {
            let detail = "say which tasks: by `queue` and `ids`, or by a `filter` (`{}` is all)";
            return Err(Problem::malformed(detail));
        }
    }
    Ok(Json(done))
}

/// Of the tasks that a body names, those that there are and that the caller may see.
pub(super) async fn seen(
    api: &Api,
    caller: &Caller,
    queue: &QueueName,
    ids: &[TaskId],
) -> Result<Vec<TaskId>, Problem> {
    if ids.len() > MAX_IDS {
        let count = ids.len();
        return Err(Problem::malformed(format!("these are {count} ids; send {MAX_IDS} at most")));
    }
    let views = api.broker().inspect(queue, ids).await?.into_iter().flatten();
    Ok(views.filter(|view| sees(caller, view)).map(|view| view.id).collect())
}

/// Whether the caller may see a task.
pub(super) fn sees(caller: &Caller, view: &TaskView) -> bool {
    match &view.task {
        Ok(task) => caller.sees_task(task),
        Err(_) => caller.tenant.is_none(),
    }
}

/// Cancel many tasks
///
/// By a filter that names no state: all that have not ended.
#[utoipa::path(post, operation_id = "cancel_tasks", path = "/v1/tasks/cancel", tag = "tasks", request_body = Many,
    responses((status = 200, body = Done), Problems))]
pub(super) async fn cancel_many(
    From(api): From<Api>,
    caller: Caller,
    Json(many): Json<Many>,
) -> Result<Json<Done>, Problem> {
    act_on(&api, &caller, many, Act::Cancel).await
}

/// Give many tasks fresh attempts
///
/// By a filter that names no state: the dead letters.
#[utoipa::path(post, operation_id = "retry_tasks", path = "/v1/tasks/retry", tag = "tasks", request_body = Many,
    responses((status = 200, body = Done), Problems))]
pub(super) async fn retry_many(
    From(api): From<Api>,
    caller: Caller,
    Json(many): Json<Many>,
) -> Result<Json<Done>, Problem> {
    act_on(&api, &caller, many, Act::Retry).await
}
