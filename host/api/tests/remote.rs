//! A broker behind a socket does what the broker itself does.

#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::{RemoteBroker, Socket, broker};
use bulkhead_core::{
    Missed, Payload, PluginName, QueueName, Schedule, State, TaskType, Template, Timing,
};
use bulkhead_queue::{
    Broker, CancelAnswer, Client, Document, DocumentId, DocumentKind, EmbeddedBroker, Expected,
    JournalLine, JournalRange, KvBound, KvEdit, KvOwner, KvQuota, KvRange, KvWrite, KvWritten,
    ListFilter, NewTask, QueueError, Resolution, Sealed, Signal, SubmitAnswer, SubmitLimits, Topic,
};
use tokio::sync::oneshot;

/// A served broker and a way to stop it.
struct Host {
    folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
}

impl Host {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = Socket::bind(folder.path()).unwrap();
        let router = broker::router(Arc::new(EmbeddedBroker::in_memory()));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            socket.serve(router, async { drop(stopped.await) }).await.unwrap();
        });
        Self { folder, stop, serving }
    }

    async fn remote(&self) -> RemoteBroker {
        RemoteBroker::connect(&Socket::path_in(self.folder.path())).await.unwrap()
    }
}

fn task() -> NewTask {
    NewTask::new(TaskType::new("mail").unwrap(), Payload::new(Payload::TEXT, "hello"))
}

#[tokio::test]
async fn tasks_are_submitted_listed_cancelled_and_waited_for() {
    let host = Host::start();
    let client = Client::new(Arc::new(host.remote().await), SubmitLimits::default());
    let queue = QueueName::default();
    let submitted = client.submit(task()).await.unwrap();
    assert_eq!(submitted.answer, SubmitAnswer::Accepted);
    let broker = client.broker();
    let listed = broker.list(&queue, &ListFilter::of(State::Pending), None).await.unwrap().tasks;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].task.as_ref().unwrap().payload.data, b"hello");
    assert_eq!(broker.queues().await.unwrap(), std::slice::from_ref(&queue));
    assert_eq!(broker.stats(&queue).await.unwrap().pending, 1);

    let waiting = client.wait(&queue, submitted.id, Duration::from_secs(20));
    let cancelling = async {
        let answers = broker.cancel(&queue, &[submitted.id], 60_000).await.unwrap();
        assert_eq!(answers, [CancelAnswer::Cancelled]);
    };
    let (ended, ()) = tokio::join!(waiting, cancelling);
    assert_eq!(ended.unwrap().unwrap().state, State::Cancelled);
    assert_eq!(broker.inspect(&queue, &[submitted.id]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn values_of_plugins_are_kept_by_the_host() {
    let host = Host::start();
    let (here, there) = (host.remote().await, host.remote().await);
    let owner =
        KvOwner { tenant: Default::default(), plugin: PluginName::new("resize").unwrap().into() };
    let quota = KvQuota { keys: 1, total_bytes: 300, storage_bytes: None };
    let write = |key: &str, edit| KvWrite { key: key.into(), edit, ttl_ms: Some(60_000), quota };
    let bytes: Vec<u8> = (0..=255).collect();
    let set = write("k", KvEdit::Set(bytes.clone()));
    assert_eq!(here.kv_write(&owner, &set).await.unwrap(), KvWritten::Stored(1));
    let entry = there.kv_get(&owner, "k").await.unwrap().unwrap();
    assert!(entry.value == bytes && entry.version == 1 && entry.ttl_ms.is_some());
    let over = KvWritten::Over(KvBound::Keys);
    assert_eq!(there.kv_write(&owner, &write("l", KvEdit::Add(1))).await.unwrap(), over);
    let page = there.kv_list(&owner, &KvRange { limit: 5, ..KvRange::default() }).await.unwrap();
    assert_eq!((page.keys, page.more), (vec!["k".to_owned()], false));
    let usage = there.kv_usage(&owner).await.unwrap();
    assert_eq!((usage.keys, usage.bytes, usage.tenant_bytes), (1, 257, 257));
    let refused = there.kv_write(&owner, &write("", KvEdit::Delete)).await.unwrap_err();
    assert!(matches!(&refused, QueueError::Refused(_)), "{refused}");
    let delete = write("k", KvEdit::Delete);
    assert_eq!(there.kv_write(&owner, &delete).await.unwrap(), KvWritten::Deleted(true));
    assert_eq!(here.kv_get(&owner, "k").await.unwrap(), None);
}

#[tokio::test]
async fn refusals_come_through_and_work_is_not_handed_out() {
    let host = Host::start();
    let remote = host.remote().await;
    let refused = remote.purge(&QueueName::default(), State::Running).await.unwrap_err();
    assert!(matches!(&refused, QueueError::Refused(_)), "{refused}");
    let refused = remote.held(&QueueName::default(), "h").await.unwrap_err();
    assert!(refused.to_string().contains("one host"), "{refused}");
}

#[tokio::test]
async fn sealed_secrets_are_stored_looked_up_and_deleted() {
    let host = Host::start();
    let remote = host.remote().await;
    let (id, sealed) = ("acme/token".parse().unwrap(), Sealed(vec![0, 255, 7]));
    assert!(remote.put_secret(&id, &sealed, None).await.unwrap());
    assert!(!remote.put_secret(&id, &sealed, Some(&Sealed(vec![1]))).await.unwrap());
    assert_eq!(remote.secret_ids().await.unwrap(), std::slice::from_ref(&id));
    assert_eq!(remote.secrets(std::slice::from_ref(&id)).await.unwrap(), [Some(sealed)]);
    assert!(remote.delete_secret(&id).await.unwrap());
    assert!(remote.secret_ids().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_kept_for_operators_is_kept_by_the_host() {
    let host = Host::start();
    let remote = host.remote().await;
    let archive = remote.archive();
    let mut signals = remote.subscribe(Topic::Rescan, Vec::new());
    assert_eq!(signals.recv().await, Some(Signal::Connected));
    let id = DocumentId::new(DocumentKind::Token, "ci");
    let (old, new) = (Document((0..=255).collect()), Document(vec![1]));
    assert!(archive.put_document(&id, &old, &Expected::Nothing, Some(60_000)).await.unwrap());
    assert_eq!(signals.recv().await, Some(Signal::Documents(DocumentKind::Token)));
    assert!(!archive.put_document(&id, &new, &Expected::Nothing, None).await.unwrap());
    let over = Expected::Exactly(old);
    assert!(archive.put_document(&id, &new, &over, None).await.unwrap());
    assert_eq!(archive.document(&id).await.unwrap().as_ref(), Some(&new));
    let listed = archive.documents(DocumentKind::Token).await.unwrap();
    assert_eq!(listed, [("ci".to_owned(), new)]);
    assert!(archive.delete_document(&id).await.unwrap());

    let bytes = vec![7; (2 << 20) + 1];
    let digest = archive.put_blob(&bytes).await.unwrap();
    assert_eq!(archive.blob(&digest).await.unwrap().as_deref(), Some(&bytes[..]));
    assert_eq!(archive.blobs().await.unwrap()[0].size_bytes, bytes.len() as u64);
    assert!(archive.delete_blob(&digest).await.unwrap());
    assert_eq!(archive.blob(&digest).await.unwrap(), None);

    let line = JournalLine::new("ann", "plugin.push", "resize", "");
    archive.journal(&line).await.unwrap();
    let entries = archive.journal_entries(&JournalRange::newest(5)).await.unwrap();
    assert_eq!((entries.len(), &entries[0].line), (1, &line));

    let queue = QueueName::default();
    assert!(archive.sample(&queue).await.unwrap());
    let samples = archive.history(&queue, 0, u64::MAX, Resolution::Minute).await.unwrap();
    assert_eq!(samples.len(), 1);
}

#[tokio::test]
async fn signals_reach_a_subscriber_in_another_process() {
    let host = Host::start();
    let remote = host.remote().await;
    let mut signals = remote.subscribe(Topic::Rescan, Vec::new());
    assert_eq!(signals.recv().await, Some(Signal::Connected));
    assert_eq!(remote.request_rescan().await.unwrap(), 1);
    assert_eq!(signals.recv().await, Some(Signal::Rescan));
    // A schedule that another process changes is told to the host, and to all who listen.
    let queue = QueueName::default();
    assert!(remote.put_schedule(&queue, &schedule(), Some(1)).await.unwrap());
    assert_eq!(signals.recv().await, Some(Signal::Schedules));
    assert!(remote.remove_schedule(&queue, "s").await.unwrap());
    assert_eq!(signals.recv().await, Some(Signal::Schedules));
}

fn schedule() -> Schedule {
    Schedule {
        name: "s".into(),
        timing: Timing::Every { interval_ms: 1_000, jitter_ms: 0, start: 0 },
        exclusive: false,
        missed: Missed::Once,
        task: Template {
            task_type: TaskType::new("mail").unwrap(),
            tenant: Default::default(),
            priority: Default::default(),
            payload: Payload::new(Payload::TEXT, ""),
            metadata: Vec::new(),
            limits: Default::default(),
            terms: Default::default(),
        },
        origin: String::new(),
    }
}

#[tokio::test]
async fn a_host_that_stopped_is_away_and_leaves_no_socket() {
    let host = Host::start();
    let remote = host.remote().await;
    remote.queues().await.unwrap();
    let path = Socket::path_in(host.folder.path());
    host.stop.send(()).unwrap();
    drop(remote);
    host.serving.await.unwrap();
    assert!(!path.exists());
    let away = RemoteBroker::connect(&path).await.unwrap_err();
    assert!(away.is_unavailable() && away.to_string().contains("bulkhead.sock"), "{away}");
}

/// What is no request of ours gets a problem document, and the host goes on.
#[tokio::test]
async fn nonsense_is_answered_with_a_problem() {
    let host = Host::start();
    let path = Socket::path_in(host.folder.path());
    for (operation, body, status) in [
        ("submit", &b"\xc1nonsense"[..], "400"),
        ("submit", b"", "400"),
        ("step", b"\x90", "404"),
        ("no%20such", b"\x90", "404"),
    ] {
        let answer = post(&path, operation, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{operation}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    assert!(host.remote().await.queues().await.unwrap().is_empty());
}

async fn post(socket: &Path, operation: &str, body: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let head = format!(
        "POST /v1/broker/{operation} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
