//! Queues: how they stand, what they bound, and what is done to them.

use axum::extract::State as From;
use axum::response::{IntoResponse, Response};
use bulkhead_core::{QueueName, QueuePolicy, State, TaskId, TaskType, UnixMs};
use bulkhead_queue::{Finding, QueueStats, Resolution, Sample};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Json, Path, Query};
use super::tasks::seen;
use super::{Api, Caller, Problems, Scope};
use crate::asked::policy_of;
use crate::document::{PolicyDocument, QueueDocument};
use crate::problem::{Kind, Problem};
use crate::unix_ms;

/// All queues.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueList)]
pub(super) struct Listed<'a> {
    /// By name.
    queues: Vec<QueueDocument<'a>>,
}

/// List queues
#[utoipa::path(get, operation_id = "list_queues", path = "/v1/queues", tag = "queues",
    responses((status = 200, body = Listed<'_>), Problems))]
pub(super) async fn list(From(api): From<Api>, caller: Caller) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Read)?;
    let mut all: Vec<(QueueName, QueueStats)> = Vec::new();
    for queue in api.broker().queues().await? {
        let stats = api.broker().stats(&queue).await?;
        all.push((queue, stats));
    }
    let queues = all.iter();
    let queues = queues.map(|(queue, stats)| QueueDocument { queue: queue.as_str(), stats });
    Ok(Json(Listed { queues: queues.collect() }).into_response())
}

/// Make sure that a queue exists.
pub(super) async fn known(api: &Api, queue: &QueueName) -> Result<(), Problem> {
    if api.broker().queues().await?.contains(queue) {
        return Ok(());
    }
    Err(Problem::not_found(format!(
        "there is no queue {queue}: no task was ever submitted to it; /v1/queues lists all"
    )))
}

/// Show a queue
#[utoipa::path(get, operation_id = "get_queue", path = "/v1/queues/{queue}", tag = "queues",
    params(("queue" = QueueName, Path)),
    responses((status = 200, body = QueueDocument<'_>), Problems))]
pub(super) async fn get(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Read)?;
    known(&api, &queue).await?;
    let stats = api.broker().stats(&queue).await?;
    Ok(Json(QueueDocument { queue: queue.as_str(), stats: &stats }).into_response())
}

/// Which samples.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Period {
    /// The first time, in Unix milliseconds; without it an hour before the last one.
    from: Option<UnixMs>,
    /// The last time; now without it.
    to: Option<UnixMs>,
    /// `minute` samples are kept for 24 hours, `hour` samples for 30 days.
    resolution: Option<Resolution>,
}

/// How a queue stood over time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = History)]
pub(super) struct Samples {
    /// Its name.
    queue: QueueName,
    /// How far apart samples are.
    resolution: Resolution,
    /// Oldest first. Throughput is the difference of two samples' totals.
    samples: Vec<Sample>,
}

/// Show how a queue stood over time
#[utoipa::path(get, operation_id = "get_queue_history", path = "/v1/queues/{queue}/history",
    tag = "queues", params(("queue" = QueueName, Path), Period),
    responses((status = 200, body = Samples), Problems))]
pub(super) async fn history(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
    Query(period): Query<Period>,
) -> Result<Json<Samples>, Problem> {
    caller.may_for_all(Scope::Read)?;
    known(&api, &queue).await?;
    let to = period.to.unwrap_or_else(unix_ms);
    let from = period.from.unwrap_or_else(|| to.saturating_sub(3_600_000));
    if from > to {
        return Err(Problem::malformed("`from` is after `to`"));
    }
    let resolution = period.resolution.unwrap_or(Resolution::Minute);
    let samples = api.broker().archive().history(&queue, from, to, resolution).await?;
    Ok(Json(Samples { queue, resolution, samples }))
}

/// Part of a queue.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Only this task type.
    #[serde(rename = "type")]
    task_type: Option<TaskType>,
}

/// Whether anything changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// `false` if it was so already.
    pub(super) changed: bool,
}

/// Stop handing out a queue's tasks
///
/// What runs goes on; what is submitted waits.
#[utoipa::path(post, operation_id = "pause_queue", path = "/v1/queues/{queue}/pause", tag = "queues",
    params(("queue" = QueueName, Path), Part),
    responses((status = 200, body = Changed), Problems))]
pub(super) async fn pause(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
    Query(part): Query<Part>,
) -> Result<Json<Changed>, Problem> {
    caller.may_for_all(Scope::Operate)?;
    known(&api, &queue).await?;
    let changed = api.broker().pause(&queue, part.task_type.as_ref()).await?;
    Ok(Json(Changed { changed }))
}

/// Hand out a queue's tasks again
#[utoipa::path(post, operation_id = "resume_queue", path = "/v1/queues/{queue}/resume", tag = "queues",
    params(("queue" = QueueName, Path), Part),
    responses((status = 200, body = Changed), Problems))]
pub(super) async fn resume(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
    Query(part): Query<Part>,
) -> Result<Json<Changed>, Problem> {
    caller.may_for_all(Scope::Operate)?;
    known(&api, &queue).await?;
    let changed = api.broker().resume(&queue, part.task_type.as_ref()).await?;
    Ok(Json(Changed { changed }))
}

/// What is to be removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Purge {
    /// `blocked`, `scheduled`, `pending` or `failed`.
    state: State,
}

/// How many were removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Removed {
    /// Tasks that are gone for good.
    removed: u64,
}

/// Remove all tasks of a state for good
#[utoipa::path(post, operation_id = "purge_queue", path = "/v1/queues/{queue}/purge", tag = "queues",
    params(("queue" = QueueName, Path)), request_body = Purge,
    responses((status = 200, body = Removed), Problems))]
pub(super) async fn purge(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
    Json(purge): Json<Purge>,
) -> Result<Json<Removed>, Problem> {
    caller.may_for_all(Scope::Operate)?;
    known(&api, &queue).await?;
    Ok(Json(Removed { removed: api.broker().purge(&queue, purge.state).await? }))
}

/// Dead letters that are to be forgotten.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drop {
    /// At most 1,000 ids.
    ids: Vec<TaskId>,
}

/// Forget dead letters
#[utoipa::path(post, operation_id = "drop_dead_letters", path = "/v1/queues/{queue}/dead/drop", tag = "queues",
    params(("queue" = QueueName, Path)), request_body = Drop,
    responses((status = 200, body = Removed), Problems))]
pub(super) async fn drop_dead(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
    Json(drop): Json<Drop>,
) -> Result<Json<Removed>, Problem> {
    caller.may(Scope::Operate)?;
    let ids = seen(&api, &caller, &queue, &drop.ids).await?;
    Ok(Json(Removed { removed: api.broker().drop_dead(&queue, &ids).await? }))
}

/// Show a queue's policy
#[utoipa::path(get, operation_id = "get_policy", path = "/v1/queues/{queue}/policy", tag = "queues",
    params(("queue" = QueueName, Path)),
    responses((status = 200, body = PolicyDocument<'_>), Problems))]
pub(super) async fn policy(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Read)?;
    known(&api, &queue).await?;
    let policy = api.broker().policy(&queue).await?;
    Ok(Json(PolicyDocument { queue: queue.as_str(), policy: &policy }).into_response())
}

/// Replace a queue's policy
///
/// It applies from the next claim on, for all hosts. A rate may be written as text, such as
/// `10/s burst 20`. A host whose configuration says something of the queue's policy replaces all
/// of it when it starts.
#[utoipa::path(put, operation_id = "set_policy", path = "/v1/queues/{queue}/policy", tag = "queues",
    params(("queue" = QueueName, Path)), request_body = QueuePolicy,
    responses((status = 200, body = PolicyDocument<'_>), Problems))]
pub(super) async fn set_policy(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
    Json(policy): Json<serde_json::Value>,
) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Operate)?;
    let policy: QueuePolicy = policy_of(policy)
        .map_err(|reason| Problem::malformed(format!("this is no policy: {reason}")))?;
    policy.check().map_err(|error| Problem::new(Kind::Refused, error.to_string()))?;
    api.broker().set_policy(&queue, &policy).await?;
    Ok(Json(PolicyDocument { queue: queue.as_str(), policy: &policy }).into_response())
}

/// Whether to repair.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Repair {
    /// Repair what is found.
    #[serde(default)]
    repair: bool,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Findings {
    /// Where tasks and indexes disagree; nothing if all is well.
    findings: Vec<Finding>,
}

/// Look for disagreement between a queue's tasks and indexes
#[utoipa::path(post, operation_id = "examine_queue", path = "/v1/queues/{queue}/examine", tag = "queues",
    params(("queue" = QueueName, Path), Repair),
    responses((status = 200, body = Findings), Problems))]
pub(super) async fn examine(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
    Query(repair): Query<Repair>,
) -> Result<Json<Findings>, Problem> {
    caller.may_for_all(Scope::Operate)?;
    known(&api, &queue).await?;
    Ok(Json(Findings { findings: api.broker().examine(&queue, repair.repair).await? }))
}
