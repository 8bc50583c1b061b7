//! The other process's side: a broker that asks a running host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::{
    BatchId, Digest, Payload, QueueName, QueuePolicy, Schedule, State, Task, TaskId, TaskRef,
    TaskType, TenantName, UnixMs,
};
use bulkhead_queue::{
    Archive, Batch, BatchView, BlobDraft, BlobInfo, BlobPiece, Broker, CancelAnswer, Claim, Day,
    Document, DocumentId, DocumentKind, DueSchedules, Event, EventId, Expected, Finding, Fire,
    FireAnswer, HostInfo, JournalEntry, JournalLine, JournalRange, KvEntry, KvOwner, KvPage,
    KvRange, KvUsage, KvWrite, KvWritten, Lines, ListFilter, Mark, QueueError, QueueStats,
    QuotaUse, RerunAnswer, Resolution, Sample, ScheduleView, Sealed, SecretId, Signal, Step,
    Stepped, SubmitAnswer, TaskPage, TaskView, Topic, UsageRow,
};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::operations::{archived, operations};
use super::{MAX_BODY_BYTES, MAX_SIGNAL_BYTES, MAX_WAIT};
use crate::problem::Problem;

/// How long an answer may take, beyond what the request itself waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections kept for the next request.
const IDLE: usize = 8;
/// Signals that wait for a slow subscriber.
const BUFFER: usize = 1_024;
/// The pauses between attempts to subscribe again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The broker of a running host, reached through its socket.
#[derive(Debug)]
pub struct RemoteBroker {
    socket: PathBuf,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl RemoteBroker {
    /// Connect to a host's socket; [`QueueError::Unavailable`] if nobody listens there.
    pub async fn connect(socket: &Path) -> Result<Self, QueueError> {
        let broker = Self { socket: socket.to_owned(), idle: Mutex::default() };
        let connection = dial(&broker.socket).await?;
        broker.idle.lock().push(connection);
        Ok(broker)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        operation: &str,
        arguments: &impl Serialize,
        wait: Duration,
    ) -> Result<T, QueueError> {
        let asked = async {
            let idle = self.idle.lock().pop().filter(|connection| !connection.is_closed());
            let mut connection = match idle {
                Some(connection) => connection,
                None => dial(&self.socket).await?,
            };
            let response = ask(&mut connection, operation, arguments).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_BODY_BYTES)
                .collect()
                .await
                .map_err(|error| QueueError::Unavailable(error.to_string()))?
                .to_bytes();
            let mut idle = self.idle.lock();
            if idle.len() < IDLE {
                idle.push(connection);
            }
            drop(idle);
            understand(status, &body)
        };
        tokio::time::timeout(PATIENCE + wait, asked)
            .await
            .map_err(|_| QueueError::Unavailable("the host does not answer".into()))?
    }
}

async fn dial(socket: &Path) -> Result<SendRequest<Full<Bytes>>, QueueError> {
    let away = |error: &dyn std::fmt::Display| {
        QueueError::Unavailable(format!("no host answers at `{}`: {error}", socket.display()))
    };
    let stream = UnixStream::connect(socket).await.map_err(|error| away(&error))?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| away(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the host broke");
        }
    });
    Ok(sender)
}

async fn ask(
    connection: &mut SendRequest<Full<Bytes>>,
    operation: &str,
    arguments: &impl Serialize,
) -> Result<Response<Incoming>, QueueError> {
    let body = rmp_serde::to_vec_named(arguments)
        .map_err(|error| QueueError::Refused(format!("cannot encode the request: {error}")))?;
    if body.len() > MAX_BODY_BYTES {
        return Err(QueueError::Refused(format!(
            "the request has {} bytes; at most {MAX_BODY_BYTES} are possible in one call",
            body.len()
        )));
    }
    let request = Request::post(format!("/v1/broker/{operation}"))
        .header(header::HOST, "bulkhead")
        .header(header::CONTENT_TYPE, "application/msgpack")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| QueueError::Refused(error.to_string()))?;
    connection
        .send_request(request)
        .await
        .map_err(|error| QueueError::Unavailable(format!("the host went away: {error}")))
}

pub(super) fn understand<T: DeserializeOwned>(
    status: StatusCode,
    body: &[u8],
) -> Result<T, QueueError> {
    if status.is_success() {
        return rmp_serde::from_slice(body)
            .map_err(|error| QueueError::Protocol(format!("the answer cannot be read: {error}")));
    }
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => Err(problem.into()),
        Err(_) => Err(QueueError::Protocol(format!("the host answered with status {status}"))),
    }
}

/// Why a remote process cannot work for the queue.
fn not_here() -> QueueError {
    QueueError::Refused(
        "claims are handed out only within the process that has the embedded broker; run one host \
         on it, or use a Redis broker for several"
            .into(),
    )
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $lent:ty = $owned:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Broker for RemoteBroker {
            $(async fn $name(&self $(, $arg: $lent)*) -> Result<$answer, QueueError> {
                self.call(stringify!($name), &($($arg,)*), Duration::ZERO).await
            })*

            async fn events(
                &self,
                queue: &QueueName,
                after: Option<&EventId>,
                limit: usize,
                wait: Duration,
            ) -> Result<Vec<Event>, QueueError> {
                let wait = wait.min(MAX_WAIT);
                self.call("events", &(queue, after, limit, wait), wait).await
            }

            fn subscribe(&self, topic: Topic, queues: Vec<QueueName>) -> mpsc::Receiver<Signal> {
                let (sender, receiver) = mpsc::channel(BUFFER);
                tokio::spawn(follow(self.socket.clone(), topic, queues, sender));
                receiver
            }

            fn archive(&self) -> &dyn Archive {
                self
            }

            async fn step(&self, _: &QueueName, _: Step<'_>) -> Result<Stepped, QueueError> {
                Err(not_here())
            }

            async fn held(&self, _: &QueueName, _: &str) -> Result<Vec<Claim>, QueueError> {
                Err(not_here())
            }

            async fn await_work(&self, _: &[Lines], _: Duration) -> Result<bool, QueueError> {
                Err(not_here())
            }

            async fn announce_host(&self, _: &HostInfo, _: Duration) -> Result<(), QueueError> {
                Err(not_here())
            }

            async fn withdraw_host(&self, _: &str) -> Result<(), QueueError> {
                Err(not_here())
            }
        }
    };
}

operations!(forward);

macro_rules! forward_archived {
    ($($name:ident($($arg:ident: $lent:ty = $owned:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Archive for RemoteBroker {
            $(async fn $name(&self $(, $arg: $lent)*) -> Result<$answer, QueueError> {
                self.call(stringify!($name), &($($arg,)*), Duration::ZERO).await
            })*
        }
    };
}

archived!(forward_archived);

/// Pass signals on while somebody listens, connecting again when the stream breaks.
async fn follow(
    socket: PathBuf,
    topic: Topic,
    queues: Vec<QueueName>,
    sender: mpsc::Sender<Signal>,
) {
    let mut pause = PAUSE.0;
    while !sender.is_closed() {
        match stream_signals(&socket, topic, &queues, &sender).await {
            Ok(()) => pause = PAUSE.0,
            Err(error) => tracing::debug!(%error, "subscription broke"),
        }
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE.1),
        }
    }
}

async fn stream_signals(
    socket: &Path,
    topic: Topic,
    queues: &[QueueName],
    sender: &mpsc::Sender<Signal>,
) -> Result<(), QueueError> {
    let mut connection = dial(socket).await?;
    let response = ask(&mut connection, "subscribe", &(topic, queues)).await?;
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        return understand(status, &body);
    }
    let mut buffer = BytesMut::new();
    loop {
        while let Some(signal) = next_signal(&mut buffer)? {
            if sender.send(signal).await.is_err() {
                return Ok(());
            }
        }
        let frame = tokio::select! {
            () = sender.closed() => return Ok(()),
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|error| QueueError::Unavailable(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            buffer.extend_from_slice(&data);
        }
    }
}

/// Take the first whole signal out of what has arrived.
pub(super) fn next_signal(buffer: &mut BytesMut) -> Result<Option<Signal>, QueueError> {
    let Some((length, _)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > MAX_SIGNAL_BYTES {
        return Err(QueueError::Protocol(format!("a signal of {length} bytes")));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    let signal = buffer.split_to(4 + length);
    rmp_serde::from_slice(&signal[4..])
        .map(Some)
        .map_err(|error| QueueError::Protocol(format!("a signal cannot be read: {error}")))
}
