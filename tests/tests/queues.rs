//! One host that serves several queues.

use std::time::{Duration, Instant};

use bulkhead_core::{QueueName, State};
use bulkhead_queue::NewTask;
use bulkhead_tests::{Site, task};

const QUEUES: [&str; 3] = ["first", "second", "third"];

#[tokio::test]
async fn work_in_one_queue_is_not_held_up_by_idle_ones() {
    let site = Site::new().await;
    let flags: Vec<&str> = QUEUES.iter().flat_map(|queue| ["--queue", queue]).collect();
    let _host = site.host("host", &flags).await;
    for round in 0..12 {
        let queue = QueueName::new(QUEUES[round % QUEUES.len()]).unwrap();
        let tasks = (0..22).map(|_| NewTask { queue: queue.clone(), ..task("noop", "") }).collect();
        let began = Instant::now();
        let submitted = site.client.submit_many(tasks).await.unwrap();
        let ids: Vec<_> = submitted.iter().map(|s| s.id).collect();
        let mut completed = 0;
        let count = |view: bulkhead_queue::TaskView| {
            completed += usize::from(view.state == State::Completed);
        };
        let open = site.client.wait_each(&queue, &ids, Duration::from_secs(30), count).await;
        assert_eq!((open.unwrap().len(), completed), (0, 22));
        // A line that waits for its renewal or its idle look would take seconds.
        assert!(began.elapsed() < Duration::from_secs(2), "round {round}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_flooded_queue_leaves_room_for_the_others() {
    let site = Site::new().await;
    let flags: Vec<&str> =
        QUEUES.iter().flat_map(|queue| ["--queue", queue]).chain(["--concurrency", "4"]).collect();
    let _host = site.host("host", &flags).await;
    let flood = |n: usize| {
        (0..n).map(|_| NewTask { queue: QueueName::new("first").unwrap(), ..task("sleep", "50") })
    };
    let flooded = site.client.submit_many(flood(2_000).collect()).await.unwrap();
    let small = QueueName::new("second").unwrap();
    let id =
        site.client.submit(NewTask { queue: small.clone(), ..task("noop", "") }).await.unwrap().id;
    let view = site.client.wait(&small, id, Duration::from_secs(20)).await.unwrap().unwrap();
    assert_eq!(view.state, State::Completed);
    let last = flooded.last().unwrap().id;
    let first = QueueName::new("first").unwrap();
    let waiting = site.client.broker().inspect(&first, &[last]).await.unwrap().remove(0).unwrap();
    assert_eq!(waiting.state, State::Pending, "the flood is not over yet");
}
