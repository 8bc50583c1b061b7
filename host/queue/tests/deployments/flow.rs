//! The main flow: every call of the broker that a deployment could make fail.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{Digest, Outcome, Payload, PluginName, State, TaskId, TenantName};
use bulkhead_queue::{
    Broker, CancelAnswer, Client, Document, DocumentId, DocumentKind, End, Expected, HostInfo,
    HostLatency, JournalLine, JournalRange, KvBound, KvEdit, KvOwner, KvQuota, KvRange, KvUsage,
    KvWrite, KvWritten, ListFilter, NewTask, RedisBroker, RedisConfig, RerunAnswer, Resolution,
    Serves, ServingVersion, Signal, SubmitLimits, Topic,
};
use bulkhead_stage::eventually;
use bulkhead_stage::words::report;
pub(crate) use bulkhead_stage::words::{of_type, queue_named as queue};

use crate::terms;
use crate::worker::{DAY_MS, Worker};

pub(crate) fn new_task(queue_name: &str) -> NewTask {
    let mut task = NewTask::new(of_type("a"), Payload::new(Payload::TEXT, "hello"));
    task.queue = queue(queue_name);
    task
}

/// A broker that gives up soon, so that a test of silence takes seconds. On a busy machine it
/// gives up without a reason too: its caller asks again.
pub(crate) async fn impatient(url: impl Into<String>) -> RedisBroker {
    let config = RedisConfig {
        response_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        ..RedisConfig::new(url)
    };
    let connect = || async { RedisBroker::connect(config.clone()).await.ok() };
    eventually("a connection", connect).await
}

/// Live through what a queue is for, in two queues, and look at everything.
pub(crate) async fn main_flow(broker: RedisBroker) {
    let broker: Arc<dyn Broker> = Arc::new(broker);
    let client = Client::new(broker.clone(), SubmitLimits::default());
    broker.check().await.unwrap();
    for name in ["first", "second"] {
        work(&client, name).await;
        edges(&client, name).await;
    }
    terms::across(&client, "first", "second").await;
    terms::kept(&client, "first").await;
    waking(&client).await;
    values(&*broker).await;
    hosts(&*broker).await;
    archive(&*broker).await;
    assert_eq!(broker.queues().await.unwrap(), [queue("first"), queue("second")]);
}

/// What plugins keep, for tenants in several slots.
async fn values(broker: &dyn Broker) {
    for tenant in ["acme", "other", "third"] {
        let owner = KvOwner {
            tenant: TenantName::new(tenant).unwrap(),
            plugin: PluginName::new("p").unwrap().into(),
        };
        let write = async |key: &str, edit, ttl_ms| {
            let quota = KvQuota { keys: 2, total_bytes: 100, storage_bytes: Some(50) };
            let write = KvWrite { key: key.to_owned(), edit, ttl_ms, quota };
            broker.kv_write(&owner, &write).await.unwrap()
        };
        let set = |value: &str| KvEdit::Set(value.into());
        assert_eq!(write("k", set("v"), None).await, KvWritten::Stored(1));
        let swap = KvEdit::Swap { expected: Some(1), value: b"5".to_vec() };
        assert_eq!(write("k", swap, None).await, KvWritten::Stored(2));
        assert_eq!(write("k", KvEdit::Add(5), None).await, KvWritten::Sum(10));
        assert_eq!(write("k", set("v"), None).await, KvWritten::Stored(4));
        assert_eq!(write("k", KvEdit::Add(5), None).await, KvWritten::NotANumber);
        let large = set(&"x".repeat(50));
        assert_eq!(write("l", large, None).await, KvWritten::Over(KvBound::Storage));
        assert_eq!(write("l", set("v"), Some(1)).await, KvWritten::Stored(5));
        let range = KvRange { limit: 10, ..KvRange::default() };
        eventually("a value has gone", || async {
            let page = broker.kv_list(&owner, &range).await.unwrap();
            (page.keys == ["k"]).then_some(())
        })
        .await;
        assert_eq!(write("k", KvEdit::Delete, None).await, KvWritten::Deleted(true));
        assert_eq!(broker.kv_get(&owner, "k").await.unwrap(), None);
        assert_eq!(broker.kv_usage(&owner).await.unwrap(), KvUsage::default(), "all was swept");
    }
}

/// Submission to completion, with a waiter that hears of it.
async fn work(client: &Client, name: &str) {
    let broker = &**client.broker();
    let tasks = (0..20).map(|_| new_task(name)).collect();
    let submitted = client.submit_many(tasks).await.unwrap();
    let ids: Vec<TaskId> = submitted.iter().map(|one| one.id).collect();
    assert!(submitted.iter().all(|one| one.answer.is_new()));
    let mut pending = list(broker, name, State::Pending).await;
    pending.sort();
    let mut wanted = ids.clone();
    wanted.sort();
    assert_eq!(pending, wanted);

    let worker = Worker::new("h1", name);
    let claims = worker.claim(broker, 100).await.unwrap();
    assert_eq!(claims.len(), 20);
    assert_eq!(list(broker, name, State::Running).await.len(), 20);
    let renewed = worker.renew(broker, &claims).await.unwrap();
    assert!(renewed.lost.is_empty());
    let q = queue(name);
    let waiting = client.wait_each(&q, &ids, Duration::from_secs(20), |view| {
        assert_eq!(view.state, State::Completed);
    });
    let (open, settled) = tokio::join!(waiting, worker.complete(broker, &claims));
    assert!(settled.unwrap().stale.is_empty());
    assert!(open.unwrap().is_empty(), "all are heard of");
    assert_eq!(worker.complete(broker, &claims[..1]).await.unwrap().stale, [0]);
    let view = broker.inspect(&q, &ids[..1]).await.unwrap().remove(0).unwrap();
    assert!(matches!(&view.last_report().unwrap().outcome, Outcome::Done(o) if o.data == b"out"));
    let stats = broker.stats(&q).await.unwrap();
    assert_eq!((stats.pending, stats.running, stats.totals["completed"]), (0, 0, 20));
    assert_eq!(list(broker, name, State::Completed).await.len(), 20);
}

/// Retry, return, dead letter, cancel, rerun, pause, purge.
async fn edges(client: &Client, name: &str) {
    let broker = &**client.broker();
    let (q, worker) = (queue(name), Worker::new("h1", name));
    let id = client.submit(new_task(name)).await.unwrap().id;
    let claim = worker.claim_one(broker).await;
    let outcome = Outcome::Done(Payload::new(Payload::TEXT, "out"));
    let retry =
        End::Retry { report: report(1, outcome.clone()), delay_ms: 1, retention_ms: DAY_MS };
    worker.settle(broker, &claim, retry).await;
    let claim =
        eventually("the retry is due", || async { worker.claim(broker, 1).await.unwrap().pop() })
            .await;
    let task = claim.task.as_ref().unwrap();
    let back = End::Return {
        task_type: task.task_type.clone(),
        tenant: task.tenant.clone(),
        priority: task.priority,
        retention_ms: DAY_MS,
    };
    worker.settle(broker, &claim, back).await;
    let claim = worker.claim_one(broker).await;
    let dead = End::DeadLetter { report: report(2, outcome.clone()), retention_ms: DAY_MS };
    worker.settle(broker, &claim, dead).await;
    assert_eq!(list(broker, name, State::Failed).await, [id]);
    assert_eq!(broker.rerun(&q, &[id]).await.unwrap(), [RerunAnswer::InLine]);
    assert_eq!(broker.cancel(&q, &[id], DAY_MS).await.unwrap(), [CancelAnswer::Cancelled]);
    assert_eq!(list(broker, name, State::Cancelled).await, [id]);

    let mut signals = broker.subscribe(Topic::Cancel, vec![q.clone()]);
    assert_eq!(signals.recv().await, Some(Signal::Connected));
    client.submit(new_task(name)).await.unwrap();
    let claim = worker.claim_one(broker).await;
    let asked = broker.cancel(&q, &[claim.id], DAY_MS).await.unwrap();
    assert_eq!(asked, [CancelAnswer::Requested]);
    assert_eq!(signals.recv().await, Some(Signal::Task(q.clone(), claim.id)));
    let stop = End::Cancel { report: report(1, outcome.clone()), retention_ms: DAY_MS };
    worker.settle(broker, &claim, stop).await;

    assert!(broker.pause(&q, None).await.unwrap());
    client.submit(new_task(name)).await.unwrap();
    assert!(worker.claim(broker, 1).await.unwrap().is_empty());
    assert!(broker.resume(&q, None).await.unwrap());
    assert_eq!(broker.purge(&q, State::Pending).await.unwrap(), 1);

    let mut later = new_task(name);
    later.terms.not_before = Some(u64::MAX >> 16);
    let id = client.submit(later).await.unwrap().id;
    assert_eq!(list(broker, name, State::Scheduled).await, [id]);
    assert_eq!(broker.rerun(&q, &[id]).await.unwrap(), [RerunAnswer::InLine]);
    let claim = worker.claim_one(broker).await;
    let dead = End::DeadLetter { report: report(1, outcome.clone()), retention_ms: DAY_MS };
    worker.settle(broker, &claim, dead).await;
    assert_eq!(broker.drop_dead(&q, &[id]).await.unwrap(), 1);
    assert_eq!(client.find(id).await.unwrap(), None);
}

/// A wait over both queues ends with work in either, again and again.
async fn waking(client: &Client) {
    let broker = &**client.broker();
    let serves: Vec<Serves> = vec![of_type("a").into(), of_type("b").into()];
    let lines = ["first", "second"].map(|name| (queue(name), serves.clone()));
    eventually("no marker is left", || async {
        let heard = broker.await_work(&lines, Duration::from_millis(20)).await;
        (!heard.unwrap()).then_some(())
    })
    .await;
    for name in ["first", "second", "second", "first"] {
        let (heard, id) = tokio::join!(
            broker.await_work(&lines, Duration::from_secs(20)),
            client.submit(new_task(name))
        );
        assert!(heard.unwrap(), "work in {name}");
        assert_eq!(broker.cancel(&queue(name), &[id.unwrap().id], 1).await.unwrap().len(), 1);
    }
    let dropped = tokio::time::timeout(
        Duration::from_millis(30),
        broker.await_work(&lines, Duration::from_secs(20)),
    );
    assert!(dropped.await.is_err());
    client.submit(new_task("second")).await.unwrap();
    assert!(broker.await_work(&lines, Duration::from_secs(20)).await.unwrap());
    assert_eq!(Worker::new("h1", "second").claim(broker, 5).await.unwrap().len(), 1);
}

async fn hosts(broker: &dyn Broker) {
    let info = HostInfo {
        name: "h1".into(),
        version: "0.1.0".into(),
        pid: 1,
        started_at: 1,
        seen_at: u64::MAX >> 16,
        concurrency: 1,
        in_flight: 0,
        memory: None,
        queues: vec!["first".into()],
        plugins: vec![bulkhead_queue::PluginInfo {
            name: "p".into(),
            owner: None,
            serving: Some(ServingVersion {
                version: "1".into(),
                digest: Digest::default(),
                kind: "component".into(),
                task_types: vec!["a".into()],
                tenants: vec!["*".into()],
                contested: Vec::new(),
                loaded_at: 1,
                attempts: 40,
                failed: 2,
            }),
            rejected: None,
            by_fleet: false,
            shadowed: false,
            pushed: Vec::new(),
        }],
        rescans: 0,
        isolation: Vec::new(),
        fleet: false,
        scaling: None,
        draining: false,
        refusing: Vec::new(),
        types: Vec::new(),
        tenants: Vec::new(),
        latency: HostLatency::default(),
    };
    broker.announce_host(&info, Duration::from_secs(60)).await.unwrap();
    assert_eq!(broker.hosts().await.unwrap(), [info]);
    let mut signals = broker.subscribe(Topic::Rescan, Vec::new());
    assert_eq!(signals.recv().await, Some(Signal::Connected));
    assert_eq!(broker.request_rescan().await.unwrap(), 1);
    assert_eq!(signals.recv().await, Some(Signal::Rescan));
    broker.withdraw_host("h1").await.unwrap();
    assert!(broker.hosts().await.unwrap().is_empty());
}

async fn archive(broker: &dyn Broker) {
    let archive = broker.archive();
    let id = DocumentId::new(DocumentKind::Version, "p");
    let document = Document(b"x".to_vec());
    for expected in [Expected::Nothing, Expected::Exactly(document.clone())] {
        let put = archive.put_document(&id, &document, &expected, Some(60_000));
        assert!(put.await.unwrap());
    }
    assert_eq!(archive.document(&id).await.unwrap(), Some(document));
    assert_eq!(archive.documents(DocumentKind::Version).await.unwrap().len(), 1);
    assert!(archive.delete_document(&id).await.unwrap());
    let bytes = vec![7; (1 << 20) + 1];
    let digest = archive.put_blob(&bytes).await.unwrap();
    assert_eq!(archive.blob(&digest).await.unwrap().as_deref(), Some(&bytes[..]));
    assert_eq!(archive.blobs().await.unwrap().len(), 1);
    assert!(archive.delete_blob(&digest).await.unwrap());
    archive.journal(&JournalLine::new("ann", "plugin.push", "p", "")).await.unwrap();
    let newest = archive.journal_entries(&JournalRange::newest(9)).await.unwrap();
    let after = JournalRange { after: Some(newest[0].id.clone()), ..JournalRange::newest(9) };
    assert!(archive.journal_entries(&after).await.unwrap().is_empty());
    let queue = queue("first");
    assert!(archive.sample(&queue).await.unwrap());
    let minutes = archive.history(&queue, 0, u64::MAX, Resolution::Minute).await.unwrap();
    assert_eq!(minutes.len(), 1);
}

pub(crate) async fn list(broker: &dyn Broker, name: &str, state: State) -> Vec<TaskId> {
    let views = broker.list(&queue(name), &ListFilter::of(state), None).await.unwrap().tasks;
    views.into_iter().map(|view| view.id).collect()
}
