//! Waiting for work without asking again and again.

use std::time::Duration;

use bulkhead_queue::{Lines, NewTask};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    a_wait_ends_with_work,
    work_that_is_there_already_ends_a_wait_at_once,
    a_full_claim_passes_the_wake_up_on,
    one_wait_is_for_several_queues,
    a_child_that_leaves_its_parents_wakes,
    a_rerun_wakes,
];

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

fn lines(types: &[&str]) -> [Lines; 1] {
    [(queue(), types.iter().map(|name| serves(name)).collect())]
}

async fn a_wait_ends_with_work(talk: Talk) {
    let lines = lines(&["a"]);
    assert!(!talk.broker.await_work(&lines, SHORT).await.unwrap());
    let (heard, _) = tokio::join!(talk.broker.await_work(&lines, LONG), talk.submit(new_task("a")));
    assert!(heard.unwrap());
    // Work of another type wakes nobody here.
    talk.submit(new_task("b")).await;
    assert!(!talk.broker.await_work(&lines, SHORT).await.unwrap());
}

async fn work_that_is_there_already_ends_a_wait_at_once(talk: Talk) {
    talk.submit(new_task("a")).await;
    assert!(talk.broker.await_work(&lines(&["b", "a"]), LONG).await.unwrap());
}

async fn a_full_claim_passes_the_wake_up_on(talk: Talk) {
    talk.submit_many((0..3).map(|_| new_task("a")).collect()).await;
    let lines = lines(&["a"]);
    assert!(talk.broker.await_work(&lines, SHORT).await.unwrap());
    assert_eq!(talk.claim(2).await.len(), 2);
    assert!(talk.broker.await_work(&lines, SHORT).await.unwrap(), "one is left");
    assert_eq!(talk.claim(2).await.len(), 1);
    assert!(!talk.broker.await_work(&lines, SHORT).await.unwrap());
}

async fn one_wait_is_for_several_queues(talk: Talk) {
    let other = queue_named("other");
    let lines = [(queue(), vec![serves("a")]), (other.clone(), vec![serves("a")])];
    let task = NewTask { queue: other, ..new_task("a") };
    let (heard, _) = tokio::join!(talk.broker.await_work(&lines, LONG), talk.submit(task));
    assert!(heard.unwrap());
}

async fn a_child_that_leaves_its_parents_wakes(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    talk.submit(with("b", after(&[here(parent)]))).await;
    let claim = talk.claim_one().await;
    let lines = lines(&["b"]);
    assert!(!talk.broker.await_work(&lines, SHORT).await.unwrap());
    let (heard, ()) = tokio::join!(talk.broker.await_work(&lines, LONG), talk.settle(done(&claim)));
    assert!(heard.unwrap());
}

async fn a_rerun_wakes(talk: Talk) {
    let id = talk.completed(new_task("a")).await;
    let lines = lines(&["a"]);
    // Whatever marker the first run left is taken first.
    talk.broker.await_work(&lines, SHORT).await.unwrap();
    talk.broker.rerun(&queue(), &[id]).await.unwrap();
    assert!(talk.broker.await_work(&lines, LONG).await.unwrap());
}
