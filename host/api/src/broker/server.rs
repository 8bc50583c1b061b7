//! The host's side: take a request apart, ask the broker, answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State as Shared};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bulkhead_core::{
    BatchId, Digest, Payload, QueueName, QueuePolicy, Schedule, State, Task, TaskId, TaskRef,
    TaskType, TenantName, UnixMs,
};
use bulkhead_queue::{
    Archive, Batch, BlobDraft, BlobPiece, Broker, Day, Document, DocumentId, DocumentKind, EventId,
    Expected, Fire, JournalLine, JournalRange, KvOwner, KvRange, KvWrite, ListFilter, Mark,
    Resolution, Sealed, SecretId, Topic,
};
use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::operations::{archived, operations};
use super::{MAX_BODY_BYTES, MAX_WAIT};
use crate::problem::Problem;

const MSGPACK: &str = "application/msgpack";

/// The routes under `/v1/broker`.
pub fn router(broker: Arc<dyn Broker>) -> Router {
    Router::new()
        .route("/v1/broker/subscribe", post(subscribe))
        .route("/v1/broker/events", post(events))
        .route("/v1/broker/{operation}", post(answer))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(broker)
}

/// What an argument of an operation is called with.
trait Lend<'a, Lent> {
    fn lend(&'a self) -> Lent;
}

impl<'a, T: Clone> Lend<'a, T> for T {
    fn lend(&'a self) -> T {
        self.clone()
    }
}

impl<'a, T> Lend<'a, &'a T> for T {
    fn lend(&'a self) -> &'a T {
        self
    }
}

impl<'a, T> Lend<'a, &'a [T]> for Vec<T> {
    fn lend(&'a self) -> &'a [T] {
        self
    }
}

impl<'a> Lend<'a, &'a str> for String {
    fn lend(&'a self) -> &'a str {
        self
    }
}

impl<'a, T> Lend<'a, Option<&'a T>> for Option<T> {
    fn lend(&'a self) -> Option<&'a T> {
        self.as_ref()
    }
}

macro_rules! dispatch {
    ($($name:ident($($arg:ident: $lent:ty = $owned:ty),*) -> $answer:ty;)*) => {
        pub(super) async fn ask(
            broker: &dyn Broker,
            operation: &str,
            body: &[u8],
        ) -> Result<Vec<u8>, Problem> {
            match operation {
                $(stringify!($name) => {
                    let ($($arg,)*): ($($owned,)*) = read(body)?;
                    write(&broker.$name($($arg.lend()),*).await?)
                })*
                other => ask_archive(broker.archive(), other, body).await,
            }
        }
    };
}

operations!(dispatch);

macro_rules! dispatch_archived {
    ($($name:ident($($arg:ident: $lent:ty = $owned:ty),*) -> $answer:ty;)*) => {
        async fn ask_archive(
            archive: &dyn Archive,
            operation: &str,
            body: &[u8],
        ) -> Result<Vec<u8>, Problem> {
            match operation {
                $(stringify!($name) => {
                    let ($($arg,)*): ($($owned,)*) = read(body)?;
                    write(&archive.$name($($arg.lend()),*).await?)
                })*
                other => Err(Problem::unknown(other)),
            }
        }
    };
}

archived!(dispatch_archived);

async fn answer(
    Shared(broker): Shared<Arc<dyn Broker>>,
    Path(operation): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let answer = ask(broker.as_ref(), &operation, &body).await?;
    Ok(([(header::CONTENT_TYPE, MSGPACK)], answer).into_response())
}

async fn events(Shared(broker): Shared<Arc<dyn Broker>>, body: Bytes) -> Result<Response, Problem> {
    let (queue, after, limit, wait): (QueueName, Option<EventId>, usize, Duration) = read(&body)?;
    let events = broker.events(&queue, after.as_ref(), limit, wait.min(MAX_WAIT)).await?;
    Ok(([(header::CONTENT_TYPE, MSGPACK)], write(&events)?).into_response())
}

/// Signals, each behind its length as four bytes, for as long as the client listens.
async fn subscribe(
    Shared(broker): Shared<Arc<dyn Broker>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let (topic, queues): (Topic, Vec<QueueName>) = read(&body)?;
    let signals = broker.subscribe(topic, queues);
    let frames = stream::unfold(signals, |mut signals| async {
        let signal = signals.recv().await?;
        let frame = write(&signal).map(|signal| {
            let length = u32::try_from(signal.len()).unwrap_or(u32::MAX);
            Bytes::from([&length.to_be_bytes()[..], &signal].concat())
        });
        Some((frame.map_err(|problem| std::io::Error::other(problem.detail)), signals))
    });
    Ok(([(header::CONTENT_TYPE, MSGPACK)], Body::from_stream(frames)).into_response())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    rmp_serde::from_slice(body)
        .map_err(|error| Problem::malformed(format!("the arguments cannot be read: {error}")))
}

fn write<T: Serialize>(answer: &T) -> Result<Vec<u8>, Problem> {
    rmp_serde::to_vec_named(answer)
        .map_err(|error| Problem::malformed(format!("the answer cannot be written: {error}")))
}
