//! Batches: tasks that are counted as a group.

use axum::extract::State as From;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bulkhead_core::quantity::Span;
use bulkhead_core::{BatchId, QueueName};
use bulkhead_queue::{Batch, NewBatch, NewTask, Over};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Json, Path, Query};
use super::submit::Source;
use super::{Api, Caller, Problems, Scope};
use crate::asked::TaskRequest;
use crate::document::{BatchDocument, Sent, SubmittedDocument};
use crate::problem::{Kind, Problem};

/// How long a batch is kept without another wish.
const KEPT_MS: u64 = 24 * 3_600_000;

/// Which batches.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// How many at most; 50 without it, 1,000 at most.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// Batches.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchList)]
pub(super) struct Listed<'a> {
    /// Newest first.
    batches: Vec<BatchDocument<'a>>,
}

/// List the batches that a queue keeps
#[utoipa::path(get, operation_id = "list_batches", path = "/v1/queues/{queue}/batches", tag = "batches",
    params(("queue" = QueueName, Path), Which),
    responses((status = 200, body = Listed<'_>), Problems))]
pub(super) async fn list(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Read)?;
    let limit = which.limit.unwrap_or(50);
    if !(1..=1_000).contains(&limit) {
        return Err(Problem::malformed(format!("the limit is {limit}; use 1 to 1000")));
    }
    let views = api.broker().batches(&queue, limit.into()).await?;
    let batches = views.iter().map(BatchDocument::from).collect();
    Ok(Json(Listed { batches }).into_response())
}

/// Show how a batch stands
#[utoipa::path(get, operation_id = "get_batch", path = "/v1/queues/{queue}/batches/{id}", tag = "batches",
    params(("queue" = QueueName, Path), ("id" = BatchId, Path)),
    responses((status = 200, body = BatchDocument<'_>), Problems))]
pub(super) async fn get(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, id)): Path<(QueueName, BatchId)>,
) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Read)?;
    let view =
        api.broker().batch(&queue, id).await?.ok_or_else(|| {
            Problem::not_found(format!("there is no batch {id} in queue {queue}"))
        })?;
    Ok(Json(BatchDocument::from(&view)).into_response())
}

/// A batch as its producer describes it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchRequest {
    /// Its id; without it one is drawn.
    id: Option<BatchId>,
    /// What it is called, for people; at most 256 bytes.
    #[serde(default)]
    name: String,
    /// Its members, at most 100,000, in any queues.
    #[schema(value_type = Vec<TaskRequest<'_>>)]
    tasks: Vec<Box<RawValue>>,
    /// The task that is submitted when it is over, in the batch's queue.
    #[schema(value_type = Option<TaskRequest<'_>>)]
    callback: Option<Box<RawValue>>,
    /// When it is over.
    #[serde(default)]
    over: Over,
    /// How long it is kept; 24h without it.
    keep: Option<Span>,
}

/// Submit tasks as a group
///
/// All are checked before the first is stored.
#[utoipa::path(post, operation_id = "submit_batch", path = "/v1/queues/{queue}/batches", tag = "batches",
    params(("queue" = QueueName, Path)), request_body = BatchRequest,
    responses((status = 201, body = SubmittedDocument<'_>), Problems))]
pub(super) async fn submit(
    From(api): From<Api>,
    caller: Caller,
    Path(queue): Path<QueueName>,
    headers: axum::http::HeaderMap,
    Json(request): Json<BatchRequest>,
) -> Result<Response, Problem> {
    caller.may(Scope::Submit)?;
    if request.tasks.is_empty() || request.tasks.len() > Batch::MAX_MEMBERS {
        return Err(Problem::new(
            Kind::Refused,
            format!("the batch has {} tasks; use 1 to {}", request.tasks.len(), Batch::MAX_MEMBERS),
        ));
    }
    let source = Source::in_queue(&caller, &headers, &queue)?;
    let task = |(at, task): (usize, &RawValue)| {
        source.task(task.get().as_bytes(), at).map_err(|problem| Problem {
            detail: format!("task {}: {}", at + 1, problem.detail),
            ..problem
        })
    };
    let tasks: Vec<NewTask> =
        request.tasks.iter().map(|task| &**task).enumerate().map(task).collect::<Result<_, _>>()?;
    let callback = match &request.callback {
        None => None,
        Some(callback) => {
            Some(source.task(callback.get().as_bytes(), usize::MAX).map_err(|problem| Problem {
                detail: format!("callback: {}", problem.detail),
                ..problem
            })?)
        }
    };
    let names: Vec<_> = tasks.iter().map(Sent::name).collect();
    let batch = NewBatch {
        queue: queue.clone(),
        name: request.name,
        tasks,
        callback,
        over: request.over,
        retention_ms: request.keep.map_or(KEPT_MS, Span::as_ms),
    };
    let id = request.id.or_else(|| source.batch_id());
    let submitted = api.client.submit_batch(id, batch).await?;
    let sent = names.into_iter().zip(&submitted.tasks);
    let sent: Vec<Sent> = sent.map(|(name, submitted)| Sent::new(name, *submitted)).collect();
    let document = SubmittedDocument::new(&queue, &submitted, &sent);
    Ok((StatusCode::CREATED, Json(document)).into_response())
}
