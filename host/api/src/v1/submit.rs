//! Submitting tasks: one, several, or a stream of them.
//!
//! A stream is read a line at a time and answered a batch at a time, so that neither its length
//! nor its answers take memory.

use axum::body::Body as Stream;
use axum::extract::{FromRequest, State as From};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bulkhead_core::{BatchId, QueueName, TaskId, TenantName, TraceContext, TraceParent};
use bulkhead_queue::{NewTask, SubmitAnswer};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::{Body, Json, media_type, must_be_json, read_json};
use super::{Api, Caller, Problems, Scope};
use crate::asked::{Asked, Defaults, Manner, TaskRequest};
use crate::document::{Sent, SentDocument};
use crate::problem::{Kind, Problem};
use crate::unix_ms;

/// Names a request, so that sending it twice does what once does.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Longest such name, in bytes.
const KEY_MAX: usize = 255;
/// Tasks of one array.
const ARRAY_MAX: usize = 10_000;

/// Submit a task
///
/// With an `Idempotency-Key` the same request, sent again, submits nothing and is answered with
/// the same task, for as long as that one is kept.
#[utoipa::path(post, operation_id = "submit_task", path = "/v1/tasks", tag = "tasks", request_body = TaskRequest<'_>,
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text of up to 255 bytes")),
    responses(
        (status = 201, description = "It is stored", body = SentDocument<'_>,
            headers(("Location" = String, description = "The task"))),
        (status = 200, description = "It was there already", body = SentDocument<'_>),
        Problems
    ))]
pub(super) async fn one(
    From(api): From<Api>,
    caller: Caller,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    caller.may(Scope::Submit)?;
    must_be_json(&headers)?;
    let source = Source::new(&caller, &headers)?;
    let new = source.task(&body, 0)?;
    let (name, tenant) = (Sent::name(&new), new.tenant.clone());
    let fingerprint = source.fingerprint(&new);
    let sent = Sent::new(name, api.client.submit(new).await?);
    if sent.answer == SubmitAnswer::Known {
        source.same(&api, &sent.queue, sent.id, fingerprint).await?;
    }
    let Some(id) = sent.stands() else { return Err(refused(&sent, &tenant)) };
    let status = if sent.answer.is_new() { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/queues/{}/tasks/{id}", sent.queue);
    Ok((status, [(header::LOCATION, location)], Json(sent.document())).into_response())
}

/// Why a task was refused, and what can be done.
fn refused(sent: &Sent, tenant: &TenantName) -> Problem {
    let queue = &sent.queue;
    match sent.answer {
        SubmitAnswer::Taken(holder) => Problem::new(
            Kind::Conflict,
            format!(
                "task {holder} has its unique key in queue {queue}; `on_conflict` says what else \
                 may become of a second one"
            ),
        ),
        SubmitAnswer::OverPayload => Problem::new(
            Kind::TooLarge,
            format!("it is larger than tasks of tenant {tenant} in queue {queue} may be"),
        ),
        SubmitAnswer::OverUsage(until) => {
            let seconds = until.saturating_sub(unix_ms()).div_ceil(1_000).max(1);
            Problem::new(
                Kind::TooMany,
                format!("tenant {tenant} has spent its quota of a minute in queue {queue}"),
            )
            .after(seconds)
        }
        _ => Problem::new(
            Kind::TooMany,
            format!(
                "tenant {tenant} has as many tasks in queue {queue} as it may; submit it when some \
                 have ended"
            ),
        )
        .after(1),
    }
}

/// Who submits, and under which name.
pub(super) struct Source {
    tenant: Option<TenantName>,
    key: Option<String>,
    trace: Option<TraceContext>,
    manner: Manner,
    asked: Asked,
    queue: QueueName,
}

impl Source {
    fn new(caller: &Caller, headers: &HeaderMap) -> Result<Self, Problem> {
        Self::in_queue(caller, headers, &QueueName::default())
    }

    /// One whose tasks are of a queue unless they say otherwise.
    pub(super) fn in_queue(
        caller: &Caller,
        headers: &HeaderMap,
        queue: &QueueName,
    ) -> Result<Self, Problem> {
        let key = match headers.get(IDEMPOTENCY_KEY) {
            None => None,
            Some(key) => {
                let key = key.to_str().ok().filter(|key| (1..=KEY_MAX).contains(&key.len()));
                let key = key.ok_or_else(|| {
                    Problem::malformed(format!(
                        "the Idempotency-Key is not 1 to {KEY_MAX} characters of ASCII"
                    ))
                })?;
                // Callers have keys of their own.
                Some(format!("{}\n{key}", caller.name))
            }
        };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // A trace that is none is nobody's error: it is left out, as the standard says.
        let trace = text("traceparent").filter(|text| TraceParent::parse(text).is_some());
        let trace = trace.map(|traceparent| TraceContext {
            traceparent: traceparent.to_owned(),
            tracestate: text("tracestate").filter(|state| state.len() <= 512).map(str::to_owned),
        });
        let tenant = caller.tenant.clone();
        let manner = Manner::of(tenant.clone().unwrap_or_default());
        Ok(Self { tenant, key, trace, manner, asked: Asked::default(), queue: queue.clone() })
    }

    /// The id of the batch of a named request.
    pub(super) fn batch_id(&self) -> Option<BatchId> {
        self.key.as_ref().map(|key| BatchId(named_id(key, usize::MAX - 1).0))
    }

    /// The task that a document describes, the so manieth of its request.
    pub(super) fn task(&self, document: &[u8], at: usize) -> Result<NewTask, Problem> {
        let request: TaskRequest<'_> = read_json(document)?;
        let mut new = request
            .task(&Defaults {
                task_type: None,
                queue: &self.queue,
                content_type: None,
                manner: &self.manner,
                asked: &self.asked,
                now: unix_ms(),
            })
            .map_err(|reason| Problem::malformed(format!("the task is not usable: {reason}")))?;
        if let Some(own) = self.tenant.as_ref().filter(|own| **own != new.tenant) {
            return Err(Problem::new(
                Kind::Forbidden,
                format!("the token is of tenant {own} and submits for nobody else"),
            ));
        }
        if new.id.is_none() {
            new.id = self.key.as_ref().map(|key| named_id(key, at));
        }
        new.trace = new.trace.or_else(|| self.trace.clone());
        Ok(new)
    }

    /// What a repeated request must have in common with the first one.
    fn fingerprint(&self, new: &NewTask) -> Option<Fingerprint> {
        self.key
            .is_some()
            .then(|| Fingerprint::of(new.task_type.as_str(), &new.tenant, &new.payload))
    }

    /// Refuse a key that named another request before.
    async fn same(
        &self,
        api: &Api,
        queue: &QueueName,
        id: TaskId,
        fingerprint: Option<Fingerprint>,
    ) -> Result<(), Problem> {
        let Some(fingerprint) = fingerprint else { return Ok(()) };
        let known = api.broker().inspect(queue, &[id]).await?.pop().flatten();
        let Some(task) = known.and_then(|view| view.task.ok()) else { return Ok(()) };
        if Fingerprint::of(task.task_type.as_str(), &task.tenant, &task.payload) == fingerprint {
            return Ok(());
        }
        Err(Problem::new(
            Kind::Refused,
            "another task was submitted with this Idempotency-Key; use a new key for a new task",
        ))
    }
}

/// What tells one task from another.
#[derive(PartialEq, Eq)]
struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(task_type: &str, tenant: &TenantName, payload: &bulkhead_core::Payload) -> Self {
        let mut hash = Sha256::new();
        for part in
            [task_type.as_bytes(), tenant.as_str().as_bytes(), payload.content_type.as_bytes()]
        {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(&payload.data);
        Self(hash.finalize().into())
    }
}

/// The id that the so manieth task of a named request has, whoever computes it.
fn named_id(key: &str, at: usize) -> TaskId {
    const SPACE: Uuid = Uuid::from_u128(0x6d0f_2a35_9f6e_4b67_8a5b_1c1f_7e52_90d4);
    TaskId(Uuid::new_v5(&SPACE, format!("{at}\n{key}").as_bytes()))
}

/// Several tasks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Several {
    /// At most 10,000.
    #[schema(value_type = Vec<TaskRequest<'_>>)]
    tasks: Vec<Box<RawValue>>,
}

/// What became of several submissions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Submissions)]
pub(super) struct SeveralSent<'a> {
    /// One for each task, in their order.
    tasks: Vec<SentDocument<'a>>,
    /// How many are stored now and were not before.
    accepted: usize,
    /// How many were refused.
    refused: usize,
}

/// Submit many tasks
///
/// As `application/json`: all are checked before the first is stored, and the answer has them all.
/// As `application/jsonl`, a task a line: they are stored batch by batch as they come in, and
/// answered with a line each; a line that is not understood ends the stream with a problem
/// document as the last line.
#[utoipa::path(post, operation_id = "submit_tasks", path = "/v1/tasks/bulk", tag = "tasks",
    request_body(content(
        (Several = "application/json"),
        (String = "application/jsonl"),
    )),
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text of up to 255 bytes")),
    responses(
        (status = 200, description = "What became of each", content(
            (SeveralSent<'_> = "application/json"),
            (String = "application/jsonl"),
        )),
        Problems
    ))]
pub(super) async fn many(
    From(api): From<Api>,
    caller: Caller,
    headers: HeaderMap,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    caller.may(Scope::Submit)?;
    let source = Source::new(&caller, &headers)?;
    let lines = media_type(&headers).is_some_and(|given| {
        let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        JSON_LINES.contains(&essence.as_str())
    });
    if lines {
        let place = api.waiter()?;
        let body = request.into_body();
        return Ok(streamed(api, source, body, place));
    }
    must_be_json(&headers)?;
    let Body(body) = <Body as FromRequest<()>>::from_request(request, &()).await?;
    let several: Several = read_json(&body)?;
    if several.tasks.len() > ARRAY_MAX {
        return Err(Problem::new(
            Kind::TooLarge,
            format!(
                "these are {} tasks; send at most {ARRAY_MAX} at once, or any number as JSON Lines",
                several.tasks.len()
            ),
        ));
    }
    let tasks = several.tasks.iter().enumerate();
    let tasks = tasks.map(|(at, task)| {
        source.task(task.get().as_bytes(), at).map_err(|problem| Problem {
            detail: format!("task {}: {}", at + 1, problem.detail),
            ..problem
        })
    });
    let tasks: Vec<NewTask> = tasks.collect::<Result<_, _>>()?;
    let names: Vec<_> = tasks.iter().map(Sent::name).collect();
    let submitted = api.client.submit_many(tasks).await?;
    let sent = names.into_iter().zip(submitted).map(|(name, submitted)| Sent::new(name, submitted));
    let sent: Vec<Sent> = sent.collect();
    let answer = SeveralSent {
        accepted: sent.iter().filter(|sent| sent.answer.is_new()).count(),
        refused: sent.iter().filter(|sent| sent.stands().is_none()).count(),
        tasks: sent.iter().map(Sent::document).collect(),
    };
    Ok(Json(answer).into_response())
}

/// The media types of JSON Lines.
const JSON_LINES: [&str; 3] =
    ["application/jsonl", "application/x-ndjson", "application/jsonlines"];
/// Tasks of a stream that are stored at once.
const BATCH: usize = 500;

/// A stream of tasks on its way.
struct Reading {
    api: Api,
    source: Source,
    body: axum::body::BodyDataStream,
    /// What has come in and is no whole line.
    rest: BytesMut,
    /// How many lines have been read.
    line: usize,
    ended: bool,
    _place: tokio::sync::OwnedSemaphorePermit,
}

fn streamed(
    api: Api,
    source: Source,
    body: Stream,
    place: tokio::sync::OwnedSemaphorePermit,
) -> Response {
    let reading = Reading {
        api,
        source,
        body: body.into_data_stream(),
        rest: BytesMut::new(),
        line: 0,
        ended: false,
        _place: place,
    };
    let answers = stream::unfold(reading, |mut reading| async {
        let answer = reading.next().await?;
        Some((Ok::<_, std::convert::Infallible>(answer), reading))
    });
    let mut response = Stream::from_stream(answers).into_response();
    let lines = HeaderValue::from_static("application/jsonl");
    response.headers_mut().insert(header::CONTENT_TYPE, lines);
    response
}

impl Reading {
    /// Read and store a batch; its answers, a line each. Nothing when all is done.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut batch = Vec::new();
        let mut trouble = None;
        while batch.len() < BATCH {
            // A batch is stored as soon as more would have to be waited for.
            let line = match self.line().now_or_never() {
                Some(line) => line,
                None if !batch.is_empty() => break,
                None => self.line().await,
            };
            match line {
                Ok(Some(line)) if line.iter().all(u8::is_ascii_whitespace) => self.line += 1,
                Ok(Some(line)) => {
                    let at = self.line;
                    self.line += 1;
                    match self.source.task(&line, at) {
                        Ok(task) => batch.push(task),
                        Err(problem) => {
                            trouble = Some(problem);
                            break;
                        }
                    }
                }
                Ok(None) => {
                    self.ended = true;
                    break;
                }
                Err(problem) => {
                    trouble = Some(problem);
                    break;
                }
            }
        }
        let names: Vec<_> = batch.iter().map(Sent::name).collect();
        let mut answer = Vec::new();
        match self.api.client.submit_many(batch).await {
            Ok(submitted) => {
                for (name, submitted) in names.into_iter().zip(submitted) {
                    write_line(&mut answer, &Sent::new(name, submitted).document());
                }
            }
            Err(error) => trouble = Some(error.into()),
        }
        if let Some(problem) = trouble {
            let detail = format!("line {}: {}", self.line.max(1), problem.detail);
            write_line(&mut answer, &Problem { detail, ..problem });
            self.ended = true;
        }
        Some(answer.into())
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<Option<BytesMut>, Problem> {
        let most = self.api.options.body_bytes;
        let mut searched = 0;
        loop {
            if let Some(end) = self.rest[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(searched + end + 1);
                return if line.len() > most { Err(too_long(most)) } else { Ok(Some(line)) };
            }
            searched = self.rest.len();
            if searched > most {
                return Err(too_long(most));
            }
            match self.body.next().await {
                Some(Ok(data)) => self.rest.extend_from_slice(&data),
                Some(Err(error)) => {
                    return Err(Problem::malformed(format!("the stream broke: {error}")));
                }
                None if self.rest.is_empty() => return Ok(None),
                None => return Ok(Some(self.rest.split())),
            }
        }
    }
}

fn too_long(most: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("it is over {most} bytes"))
}

fn write_line(to: &mut Vec<u8>, document: &impl Serialize) {
    // A document of text and numbers can always be written.
    if serde_json::to_writer(&mut *to, document).is_ok() {
        to.push(b'\n');
    }
}
