//! Lifecycle events: one line for each edge, in order, capped.

use std::time::Duration;

use bulkhead_core::{QueuePolicy, TaskId};
use bulkhead_queue::{EventKind, NewTask};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    without_a_policy_nothing_is_recorded,
    every_edge_is_told_in_order,
    reading_goes_on_where_it_stopped,
    only_the_newest_are_kept,
    a_reader_waits_for_the_next_event,
    an_event_says_whose_and_of_which_type,
];

async fn record(talk: &Talk, events: u32) {
    talk.set_policy(QueuePolicy { events: Some(events), ..QueuePolicy::default() }).await;
}

async fn told(talk: &Talk, id: TaskId) -> Vec<EventKind> {
    let of = |event: bulkhead_queue::Event| (event.task == id).then_some(event.kind);
    talk.events().await.into_iter().filter_map(of).collect()
}

async fn without_a_policy_nothing_is_recorded(talk: Talk) {
    talk.completed(new_task("a")).await;
    assert!(talk.events().await.is_empty());
}

async fn every_edge_is_told_in_order(talk: Talk) {
    use EventKind::{
        Cancelled, Completed, Expired, Failed, LeaseLost, Rerun, Retried, Returned, Started,
        Submitted, Unblocked,
    };
    record(&talk, 1_000).await;
    let first = talk.submit(new_task("a")).await;
    let child = talk.submit(with("b", after(&[here(first)]))).await;
    let claim = talk.claim_one().await;
    talk.settle(given_back(&claim)).await;
    let claim = talk.claim_one().await;
    talk.settle(retry(&claim, 0)).await;
    talk.claim_one().await;
    talk.pass(HOUR_MS);
    let claim = talk.claim_one().await;
    talk.settle(done(&claim)).await;
    let expected =
        [Submitted, Started, Returned, Started, Retried, Started, LeaseLost, Started, Completed];
    assert_eq!(told(&talk, first).await, expected);

    let claim = talk.claim_one().await;
    talk.settle(dead(&claim)).await;
    talk.broker.rerun(&queue(), &[child]).await.unwrap();
    talk.broker.cancel(&queue(), &[child], DAY_MS).await.unwrap();
    assert_eq!(told(&talk, child).await, [Submitted, Unblocked, Started, Failed, Rerun, Cancelled]);
    let late = talk.submit(with("a", expiring(talk.now() - 1))).await;
    assert_eq!(told(&talk, late).await, [Submitted, Expired]);
    let times: Vec<u64> = talk.events().await.iter().map(|event| event.at).collect();
    assert!(times.is_sorted());
}

async fn reading_goes_on_where_it_stopped(talk: Talk) {
    record(&talk, 1_000).await;
    let sent = talk.submit_many((0..10).map(|_| new_task("a")).collect()).await;
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let some = talk.broker.events(&queue(), after.as_ref(), 3, Duration::ZERO).await.unwrap();
        assert!(some.len() <= 3);
        let Some(last) = some.last() else { break };
        after = Some(last.id.clone());
        read.extend(some.iter().map(|event| event.task));
    }
    assert_eq!(read, sent);
}

async fn only_the_newest_are_kept(talk: Talk) {
    record(&talk, 20).await;
    let mut sent = Vec::new();
    for _ in 0..300 {
        sent.push(talk.submit(new_task("a")).await);
    }
    let kept: Vec<TaskId> = talk.events().await.iter().map(|event| event.task).collect();
    assert!(kept.len() >= 20 && kept.len() < 300, "{} are kept", kept.len());
    assert_eq!(kept, sent[300 - kept.len()..]);
}

async fn a_reader_waits_for_the_next_event(talk: Talk) {
    record(&talk, 100).await;
    talk.submit(new_task("a")).await;
    let last = talk.events().await.pop().unwrap().id;
    let queue = queue();
    let (heard, id) = tokio::join!(
        talk.broker.events(&queue, Some(&last), 10, Duration::from_secs(20)),
        talk.submit(new_task("a"))
    );
    let heard = heard.unwrap();
    assert_eq!((heard.len(), heard[0].task), (1, id));
    let last = &heard[0].id;
    let none = talk.broker.events(&queue, Some(last), 10, Duration::from_millis(20)).await;
    assert!(none.unwrap().is_empty());
}

async fn an_event_says_whose_and_of_which_type(talk: Talk) {
    record(&talk, 100).await;
    let task = NewTask { tenant: tenant("acme"), ..new_task("b") };
    let id = talk.submit(task).await;
    talk.claim_one().await;
    let events = talk.events().await;
    assert_eq!(events.len(), 2);
    for event in events {
        let said = (event.task, event.task_type.as_str(), event.tenant.as_str());
        assert_eq!(said, (id, "b", "acme"));
        assert!(event.at <= talk.now() && event.at + MINUTE_MS > talk.now());
    }
}
