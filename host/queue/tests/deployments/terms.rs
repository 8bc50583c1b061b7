//! What binds tasks to others, and what a queue keeps besides tasks: the second half of the
//! main flow.

use std::time::Duration;

use bulkhead_core::{Payload, QueuePolicy, Rate, State, TaskRef, Terms};
use bulkhead_queue::{
    Broker, Client, Day, EventKind, Fire, FireAnswer, NewBatch, NewTask, Over, Submitted,
};
use bulkhead_stage::eventually;
use bulkhead_stage::words::schedule;

use crate::flow::{new_task, of_type, queue};
use crate::worker::{DAY_MS, Worker};

/// Claim and complete all that is in line in a queue; how many.
async fn finish(broker: &dyn Broker, name: &str) -> usize {
    let worker = Worker::new("h1", name);
    let claims = worker.claim(broker, 100).await.unwrap();
    let stepped = worker.complete(broker, &claims).await.unwrap();
    assert!(stepped.stale.is_empty());
    if stepped.outbox {
        while broker.deliver(&queue(name)).await.unwrap() > 0 {}
    }
    claims.len()
}

async fn state(broker: &dyn Broker, name: &str, task: Submitted) -> State {
    broker.inspect(&queue(name), &[task.id]).await.unwrap().remove(0).unwrap().state
}

/// A child and a batch in the queue `near`, parents and members there and in `far`.
pub(crate) async fn across(client: &Client, near: &str, far: &str) {
    let broker = &**client.broker();
    let parents =
        client.submit_many(vec![new_task(near), new_task(far), new_task(far)]).await.unwrap();
    let places = [near, far, far];
    let mut child = new_task(near);
    child.terms.after = parents
        .iter()
        .zip(places)
        .map(|(parent, place)| TaskRef { queue: queue(place), id: parent.id })
        .collect();
    let child = client.submit(child).await.unwrap();
    assert_eq!(state(broker, near, child).await, State::Blocked);
    assert_eq!(finish(broker, near).await, 1);
    assert_eq!(state(broker, near, child).await, State::Blocked);
    assert_eq!(finish(broker, far).await, 2);
    assert_eq!(state(broker, near, child).await, State::Pending);
    let claim = Worker::new("h1", near).claim_one(broker).await;
    assert_eq!(claim.id, child.id);
    let view = broker.inspect(&queue(near), &[child.id]).await.unwrap().remove(0).unwrap();
    assert_eq!(view.history.len(), 3, "each parent's end is told: {:?}", view.history);
    Worker::new("h1", near).complete(broker, &[claim]).await.unwrap();

    let batch = NewBatch {
        queue: queue(near),
        name: "both".into(),
        tasks: vec![new_task(near), new_task(far), new_task(far)],
        callback: Some(NewTask { task_type: of_type("b"), ..new_task(near) }),
        over: Over::Ended,
        retention_ms: DAY_MS,
    };
    let batch = client.submit_batch(None, batch).await.unwrap();
    assert_eq!(finish(broker, far).await, 2);
    assert_eq!(finish(broker, near).await, 1);
    let view = broker.batch(&queue(near), batch.id).await.unwrap().unwrap();
    assert_eq!((view.completed, view.total, view.over_at.is_some()), (3, 3, true));
    assert!(broker.batches(&queue(near), 10).await.unwrap().iter().any(|b| b.id == batch.id));
    let callback = Worker::new("h1", near).claim_one(broker).await;
    assert_eq!(Some(callback.id), batch.callback);
    Worker::new("h1", near).complete(broker, &[callback]).await.unwrap();
}

/// Policies and limits, schedules, events, results, usage, what a host holds, repair.
pub(crate) async fn kept(client: &Client, name: &str) {
    let broker = &**client.broker();
    let q = queue(name);
    limits(client, name).await;
    schedules(broker, name).await;

    let events = broker.events(&q, None, 1_000, Duration::ZERO).await.unwrap();
    assert!(events.iter().any(|event| event.kind == EventKind::Submitted), "{events:?}");
    let last = &events.last().unwrap().id;
    let (waited, _) = tokio::join!(
        broker.events(&q, Some(last), 10, Duration::from_secs(20)),
        client.submit(new_task(name))
    );
    assert!(!waited.unwrap().is_empty(), "a wait ends with an event");
    let worker = Worker::new("h1", name);
    let claim = worker.claim_one(broker).await;
    let held = broker.held(&q, "h1").await.unwrap();
    assert_eq!(held.iter().map(|claim| claim.id).collect::<Vec<_>>(), [claim.id]);
    worker.complete(broker, &[claim]).await.unwrap();

    let output = Payload::new(Payload::TEXT, "same");
    assert_eq!(broker.recall(&q, "k").await.unwrap(), None);
    broker.remember(&q, "k", &output, DAY_MS).await.unwrap();
    assert_eq!(broker.recall(&q, "k").await.unwrap(), Some(output));
    let today = Day::of(now_ms());
    assert!(!broker.usage(&q, today, today).await.unwrap().is_empty());
    for repair in [false, true] {
        assert_eq!(broker.examine(&q, repair).await.unwrap(), []);
    }
    broker.set_policy(&q, &QueuePolicy::default()).await.unwrap();
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

async fn limits(client: &Client, name: &str) {
    let broker = &**client.broker();
    let q = queue(name);
    let policy = QueuePolicy {
        rate: Some(Rate { interval_us: 1, burst: 1_000 }),
        events: Some(1_000),
        keys: [("smtp".to_owned(), bulkhead_core::Bounds { concurrency: Some(1), rate: None })]
            .into(),
        ..QueuePolicy::default()
    };
    broker.set_policy(&q, &policy).await.unwrap();
    assert_eq!(broker.policy(&q).await.unwrap(), policy);
    let mut keyed = new_task(name);
    keyed.terms.key = Some(bulkhead_core::TermKey::new("smtp").unwrap());
    client.submit_many(vec![keyed.clone(), keyed]).await.unwrap();
    let worker = Worker::new("h1", name);
    let first = worker.claim(broker, 10).await.unwrap();
    assert_eq!(first.len(), 1, "one of a key at a time");
    worker.complete(broker, &first).await.unwrap();
    let second = eventually("the key's next task", || async {
        worker.claim(broker, 10).await.unwrap().pop()
    })
    .await;
    worker.complete(broker, &[second]).await.unwrap();
}

async fn schedules(broker: &dyn Broker, name: &str) {
    let q = queue(name);
    let schedule = schedule("s");
    assert!(broker.put_schedule(&q, &schedule, Some(1_000)).await.unwrap());
    assert_eq!(broker.schedules(&q).await.unwrap().len(), 1);
    let due = broker.due_schedules(&q, 10).await.unwrap();
    assert_eq!(due.due.len(), 1);
    let new = new_task(name);
    let task = bulkhead_core::Task {
        id: bulkhead_core::TaskId(uuid::Uuid::now_v7()),
        task_type: new.task_type,
        queue: q.clone(),
        tenant: new.tenant,
        priority: new.priority,
        payload: new.payload,
        metadata: Vec::new(),
        trace: None,
        limits: Default::default(),
        submitted_at: due.now,
        terms: Terms { schedule: Some("s".into()), ..Terms::default() },
    };
    let fire = Fire {
        schedule: "s".into(),
        expected: Some(1_000),
        next: Some(61_000),
        fires: vec![(1_000, task)],
        exclusive: true,
        by_hand: false,
    };
    assert_eq!(broker.fire(&q, &fire).await.unwrap(), FireAnswer::Fired(1));
    assert_eq!(broker.fire(&q, &fire).await.unwrap(), FireAnswer::Superseded);
    assert!(broker.pause_schedule(&q, "s", true, Some(61_000)).await.unwrap());
    assert!(broker.remove_schedule(&q, "s").await.unwrap());
    let claim = Worker::new("h1", name).claim_one(broker).await;
    Worker::new("h1", name).complete(broker, &[claim]).await.unwrap();
}
