//! What tasks were given and gave, as bytes with their media type.
//!
//! The bytes are a guest's or a producer's: browsers are told to save them and to run nothing.

use axum::extract::State as From;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bulkhead_core::{Outcome, Payload, QueueName, State, TaskId};
use utoipa::ToSchema;

use super::extract::Path;
use super::tasks::find;
use super::{Api, Caller, Problems, Scope};
use crate::problem::{Kind, Problem};

/// Bytes.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it only describes bytes in the OpenAPI document")]
pub(super) struct Binary(Vec<u8>);

/// Download the output of a completed task
#[utoipa::path(get, operation_id = "get_result", path = "/v1/queues/{queue}/tasks/{id}/result", tag = "tasks",
    params(("queue" = QueueName, Path), ("id" = TaskId, Path)),
    responses((status = 200, description = "The bytes, with the media type that the handler gave",
        body = inline(Binary), content_type = "*/*"), Problems))]
pub(super) async fn output(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, id)): Path<(QueueName, TaskId)>,
) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    let mut view = find(&api, &caller, &queue, id).await?;
    let state = view.state;
    let report = view.history.iter_mut().rev().find_map(|entry| match entry {
        bulkhead_queue::Entry::Ended(_, report) => Some(report),
        _ => None,
    });
    match report.map(|report| &mut report.outcome) {
        Some(Outcome::Done(output)) if state == State::Completed => {
            Ok(download(std::mem::take(output), id))
        }
        _ => Err(Problem::new(
            Kind::Conflict,
            format!("task {id} is {state} and has no output; /wait waits for its end"),
        )),
    }
}

/// Download the input of a task
#[utoipa::path(get, operation_id = "get_payload", path = "/v1/queues/{queue}/tasks/{id}/payload", tag = "tasks",
    params(("queue" = QueueName, Path), ("id" = TaskId, Path)),
    responses((status = 200, description = "The bytes, with the media type that the producer gave",
        body = inline(Binary), content_type = "*/*"), Problems))]
pub(super) async fn payload(
    From(api): From<Api>,
    caller: Caller,
    Path((queue, id)): Path<(QueueName, TaskId)>,
) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    let view = find(&api, &caller, &queue, id).await?;
    match view.task {
        Ok(task) => Ok(download(task.payload, id)),
        Err(unreadable) => Err(Problem::new(
            Kind::Conflict,
            format!("the record of task {id} cannot be read: {}", unreadable.reason),
        )),
    }
}

fn download(payload: Payload, id: TaskId) -> Response {
    let content_type = HeaderValue::from_str(&payload.content_type)
        .ok()
        .filter(|_| !payload.content_type.is_empty())
        .unwrap_or_else(|| HeaderValue::from_static(Payload::BINARY));
    let disposition = format!("attachment; filename=\"{id}\"");
    let mut response = payload.data.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "private, no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}
