//! A producer: it repeats a call until it is answered, with the same ids, and notes what was
//! accepted and when.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{BatchId, OnFailedParent, Payload, TaskId, TaskRef, TaskType, Terms};
use bulkhead_queue::{Client, NewBatch, NewTask, Over, QueueError, RedisBroker, SubmitLimits};
use tokio::sync::watch;

use crate::host::{config, queues};

/// The time between two calls.
const PACE: Duration = Duration::from_millis(12);
const KEPT_MS: u64 = 86_400_000;

/// When a call was made that was answered, and when its answer had come.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) made: Instant,
    pub(crate) answered: Instant,
}

/// What a producer was told.
#[derive(Default)]
pub(crate) struct Accepted {
    pub(crate) tasks: HashMap<TaskRef, Call>,
    pub(crate) batches: usize,
    /// Callbacks of batches, which the queue itself submits, and when their batches were.
    pub(crate) callbacks: HashMap<TaskRef, Call>,
}

/// Submit until told to stop. Everything begun is finished.
pub(crate) async fn produce(url: String, stop: watch::Receiver<bool>) -> Accepted {
    let mut accepted = Accepted::default();
    let broker = persist(|| RedisBroker::connect(config(&url))).await;
    let client = Client::new(Arc::new(broker), SubmitLimits::default());
    let mut last: Option<TaskRef> = None;
    for round in 0_u64.. {
        if *stop.borrow() {
            break;
        }
        if round % 12 == 0 {
            send_batch(&client, &mut accepted).await;
        }
        let queue = queues()[round as usize % 2].clone();
        let mut tasks: Vec<NewTask> = (0..3).map(|_| task("plain", &queue)).collect();
        if let Some(parent) = last.filter(|_| round % 3 == 0) {
            let mut child = task("child", &queue);
            child.terms = Terms {
                after: vec![parent],
                on_failed_parent: [OnFailedParent::Run, OnFailedParent::Cancel][round as usize % 2],
                ..Terms::default()
            };
            tasks.push(child);
        }
        let (_, call) = noted(|| client.submit_many(tasks.clone())).await;
        accepted.tasks.extend(tasks.iter().map(|task| (reference(task), call)));
        last = Some(reference(&tasks[0]));
        tokio::time::sleep(PACE).await;
    }
    accepted
}

async fn send_batch(client: &Client, accepted: &mut Accepted) {
    let (id, queues) = (BatchId(uuid::Uuid::now_v7()), queues());
    let members: Vec<NewTask> = (0..4).map(|at| task("plain", &queues[at % 2])).collect();
    let callback = task("callback", &queues[0]);
    let batch = NewBatch {
        queue: queues[0].clone(),
        name: "chaos".into(),
        tasks: members.clone(),
        callback: Some(callback.clone()),
        over: Over::Ended,
        retention_ms: KEPT_MS,
    };
    let (_, call) = noted(|| client.submit_batch(Some(id), batch.clone())).await;
    accepted.tasks.extend(members.iter().map(|member| (reference(member), call)));
    accepted.batches += 1;
    accepted.callbacks.insert(reference(&callback), call);
}

fn task(name: &str, queue: &bulkhead_core::QueueName) -> NewTask {
    let task_type = TaskType::new(name).unwrap();
    NewTask {
        queue: queue.clone(),
        id: Some(TaskId(uuid::Uuid::new_v4())),
        ..NewTask::new(task_type, Payload::new(Payload::TEXT, "chaos"))
    }
}

fn reference(task: &NewTask) -> TaskRef {
    TaskRef { queue: task.queue.clone(), id: task.id.unwrap() }
}

/// Ask again until there is an answer.
pub(crate) async fn persist<T, F: Future<Output = Result<T, QueueError>>>(
    call: impl Fn() -> F,
) -> T {
    noted(call).await.0
}

/// Ask again until there is an answer, and note of which call it is.
async fn noted<T, F: Future<Output = Result<T, QueueError>>>(call: impl Fn() -> F) -> (T, Call) {
    loop {
        let made = Instant::now();
        match call().await {
            Ok(answer) => return (answer, Call { made, answered: Instant::now() }),
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
