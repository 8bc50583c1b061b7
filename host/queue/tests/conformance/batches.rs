//! Batches: what is counted, when a batch is over, and its callback.

use bulkhead_core::{BatchId, QueueName, State, TaskId, TaskRef, Terms};
use bulkhead_queue::{Batch, BatchView, NewBatch, NewTask, Over, SubmitAnswer, SubmittedBatch};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    a_batch_counts_how_its_members_ended,
    the_callback_is_submitted_once_with_the_counts,
    a_batch_may_be_over_at_the_first_failure,
    a_batch_that_only_completes_is_over_at_its_end,
    members_may_be_in_any_queue,
    members_that_were_never_accepted_count_as_cancelled,
    expired_and_purged_members_count,
    a_member_that_runs_again_is_not_counted_again,
    opening_a_batch_twice_opens_it_once,
    leaving_twice_counts_once,
    a_batch_that_is_repeated_is_the_same_batch,
    batches_are_listed_newest_first,
    a_batch_is_forgotten_after_its_retention,
    tasks_are_listed_by_batch,
];

fn new_batch(tasks: Vec<NewTask>) -> NewBatch {
    NewBatch {
        queue: queue(),
        name: "letters".into(),
        tasks,
        callback: Some(new_task("b")),
        over: Over::Ended,
        retention_ms: DAY_MS,
    }
}

async fn sent(talk: &Talk, batch: NewBatch) -> SubmittedBatch {
    let sent = talk.client.submit_batch(None, batch).await.unwrap();
    talk.deliver().await;
    sent
}

async fn standing(talk: &Talk, id: BatchId) -> BatchView {
    talk.broker.batch(&queue(), id).await.unwrap().expect("a known batch")
}

fn counts(view: &BatchView) -> [u64; 5] {
    [view.total, view.completed, view.failed, view.cancelled, view.expired]
}

/// The batch's counts as its callback's metadata tells them.
async fn told(talk: &Talk, id: TaskId) -> Vec<(String, String)> {
    let mut metadata = talk.view(id).await.task.unwrap().metadata;
    metadata.sort();
    metadata
}

async fn a_batch_counts_how_its_members_ended(talk: Talk) {
    let batch = sent(&talk, new_batch((0..4).map(|_| new_task("a")).collect())).await;
    let view = standing(&talk, batch.id).await;
    assert_eq!((counts(&view), view.open()), ([4, 0, 0, 0, 0], 4));
    assert_eq!(
        (view.name.as_str(), view.callback, view.over),
        ("letters", batch.callback, Over::Ended)
    );
    assert!(view.over_at.is_none() && view.queue == queue());
    let claims = talk.claim_of(&["a"], 10).await;
    talk.settle(done(&claims[0])).await;
    assert_eq!(counts(&standing(&talk, batch.id).await), [4, 1, 0, 0, 0]);
    talk.settle(dead(&claims[1])).await;
    talk.settle(cancelled(&claims[2])).await;
    let view = standing(&talk, batch.id).await;
    assert_eq!((counts(&view), view.over_at), ([4, 1, 1, 1, 0], None));
    assert!(talk.claim_of(&["b"], 1).await.is_empty(), "no callback while one is open");
    talk.settle(retry(&claims[3], 0)).await;
    assert_eq!(standing(&talk, batch.id).await.open(), 1, "a retry is no end");
    let claim = talk.claim_of(&["a"], 10).await.remove(0);
    talk.settle(done(&claim)).await;
    let view = standing(&talk, batch.id).await;
    assert_eq!((counts(&view), view.open()), ([4, 2, 1, 1, 0], 0));
    assert!(view.over_at.is_some());
    talk.is_sound().await;
}

async fn the_callback_is_submitted_once_with_the_counts(talk: Talk) {
    let batch = sent(&talk, new_batch((0..3).map(|_| new_task("a")).collect())).await;
    let callback = batch.callback.unwrap();
    assert!(talk.find(callback).await.is_none());
    let claims = talk.claim_of(&["a"], 10).await;
    for claim in &claims[..2] {
        talk.settle(done(claim)).await;
    }
    talk.settle(dead(&claims[2])).await;
    assert_eq!(talk.state(callback).await, State::Pending);
    let id = batch.id.to_string();
    let expected = [
        ("batch", id.as_str()),
        ("batch_cancelled", "0"),
        ("batch_completed", "2"),
        ("batch_expired", "0"),
        ("batch_failed", "1"),
        ("batch_total", "3"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(told(&talk, callback).await, expected);
    talk.deliver().await;
    assert_eq!(ids(&talk.claim_of(&["b"], 10).await), [callback]);
    assert_eq!(talk.total("submitted").await, 4);
}

async fn a_batch_may_be_over_at_the_first_failure(talk: Talk) {
    let tasks = (0..3).map(|_| new_task("a")).collect();
    let batch = sent(&talk, NewBatch { over: Over::FirstFailure, ..new_batch(tasks) }).await;
    let claims = talk.claim_of(&["a"], 10).await;
    talk.settle(done(&claims[0])).await;
    assert!(standing(&talk, batch.id).await.over_at.is_none());
    talk.settle(dead(&claims[1])).await;
    let view = standing(&talk, batch.id).await;
    assert!(view.over_at.is_some());
    let callback = batch.callback.unwrap();
    let failed = ("batch_failed".to_owned(), "1".to_owned());
    assert!(told(&talk, callback).await.contains(&failed));
    talk.settle(dead(&claims[2])).await;
    assert_eq!(counts(&standing(&talk, batch.id).await), [3, 1, 2, 0, 0], "it counts on");
    assert_eq!(ids(&talk.claim_of(&["b"], 10).await), [callback], "and calls back once");
    talk.is_sound().await;
}

async fn a_batch_that_only_completes_is_over_at_its_end(talk: Talk) {
    let tasks = (0..2).map(|_| new_task("a")).collect();
    let callback = None;
    let new = NewBatch { over: Over::FirstFailure, callback, ..new_batch(tasks) };
    let batch = sent(&talk, new).await;
    assert_eq!(batch.callback, None);
    for claim in talk.claim(10).await {
        talk.settle(done(&claim)).await;
    }
    let view = standing(&talk, batch.id).await;
    assert!(view.over_at.is_some() && view.callback.is_none());
    assert!(talk.claim(10).await.is_empty());
}

async fn members_may_be_in_any_queue(talk: Talk) {
    let names = ["mail", "video"].map(queue_named);
    let tasks = names.iter().map(|queue| NewTask { queue: queue.clone(), ..new_task("a") });
    let batch = sent(&talk, new_batch(tasks.collect())).await;
    for name in &names {
        let claim = talk.claim_in(name, 1).await.remove(0);
        talk.settle_in(name, done(&claim)).await;
    }
    assert_eq!(counts(&standing(&talk, batch.id).await), [2, 2, 0, 0, 0]);
    assert_eq!(ids(&talk.claim(10).await), [batch.callback.unwrap()]);
    talk.is_sound().await;
}

async fn members_that_were_never_accepted_count_as_cancelled(talk: Talk) {
    let unique = bulkhead_core::Unique {
        key: key("u"),
        window_ms: None,
        conflict: bulkhead_core::Conflict::Existing,
    };
    let once = with("a", Terms { unique: Some(unique), ..Terms::default() });
    talk.submit(once.clone()).await;
    let batch = sent(&talk, new_batch(vec![new_task("a"), once])).await;
    assert!(matches!(batch.tasks[1].answer, SubmitAnswer::Existing(_)));
    assert_eq!(counts(&standing(&talk, batch.id).await), [2, 0, 0, 1, 0]);
    for claim in talk.claim_of(&["a"], 10).await {
        talk.settle(done(&claim)).await;
    }
    assert_eq!(counts(&standing(&talk, batch.id).await), [2, 1, 0, 1, 0]);
    assert_eq!(ids(&talk.claim(10).await), [batch.callback.unwrap()]);
}

async fn expired_and_purged_members_count(talk: Talk) {
    let tasks =
        vec![with("a", expiring(talk.now() + MINUTE_MS)), with("a", starting(u64::MAX >> 12))];
    let batch = sent(&talk, new_batch(tasks)).await;
    talk.pass(2 * MINUTE_MS);
    assert!(talk.claim_of(&["a"], 10).await.is_empty());
    talk.deliver().await;
    assert_eq!(counts(&standing(&talk, batch.id).await), [2, 0, 0, 0, 1]);
    assert_eq!(talk.broker.purge(&queue(), State::Scheduled).await.unwrap(), 1);
    talk.deliver().await;
    assert_eq!(counts(&standing(&talk, batch.id).await), [2, 0, 0, 1, 1]);
    assert_eq!(ids(&talk.claim(10).await), [batch.callback.unwrap()]);
    talk.is_sound().await;
}

async fn a_member_that_runs_again_is_not_counted_again(talk: Talk) {
    let batch = sent(&talk, new_batch(vec![new_task("a"), new_task("a")])).await;
    let claim = talk.claim_of(&["a"], 1).await.remove(0);
    talk.settle(dead(&claim)).await;
    talk.broker.rerun(&queue(), &[claim.id]).await.unwrap();
    for claim in talk.claim_of(&["a"], 10).await {
        talk.settle(done(&claim)).await;
    }
    let view = standing(&talk, batch.id).await;
    assert_eq!((counts(&view), view.open()), ([2, 1, 1, 0, 0], 0));
    assert_eq!(ids(&talk.claim(10).await), [batch.callback.unwrap()]);
    talk.is_sound().await;
}

fn batch_of(members: Vec<TaskRef>) -> Batch {
    Batch {
        queue: queue(),
        id: BatchId(uuid::Uuid::now_v7()),
        name: String::new(),
        members,
        callback: None,
        over: Over::Ended,
        retention_ms: DAY_MS,
    }
}

async fn opening_a_batch_twice_opens_it_once(talk: Talk) {
    let batch = batch_of(vec![here(fresh_id()), here(fresh_id())]);
    assert!(talk.broker.open_batch(&batch).await.unwrap());
    talk.broker.leave_batch(&queue(), batch.id, &batch.members[..1]).await.unwrap();
    assert!(!talk.broker.open_batch(&batch).await.unwrap());
    assert_eq!(counts(&standing(&talk, batch.id).await), [2, 0, 0, 1, 0]);
    assert_eq!(talk.broker.batch(&queue(), BatchId(uuid::Uuid::now_v7())).await.unwrap(), None);
}

async fn leaving_twice_counts_once(talk: Talk) {
    let batch = batch_of(vec![here(fresh_id()), here(fresh_id())]);
    talk.broker.open_batch(&batch).await.unwrap();
    let stranger = [here(fresh_id())];
    for members in [&batch.members[..1], &batch.members[..1], &stranger] {
        talk.broker.leave_batch(&queue(), batch.id, members).await.unwrap();
        assert_eq!(counts(&standing(&talk, batch.id).await), [2, 0, 0, 1, 0]);
    }
    talk.broker.leave_batch(&queue(), batch.id, &batch.members).await.unwrap();
    let view = standing(&talk, batch.id).await;
    assert_eq!(counts(&view), [2, 0, 0, 2, 0]);
    assert!(view.over_at.is_some());
}

async fn a_batch_that_is_repeated_is_the_same_batch(talk: Talk) {
    let id = BatchId(uuid::Uuid::now_v7());
    let tasks = (0..3).map(|_| NewTask { id: Some(fresh_id()), ..new_task("a") }).collect();
    let callback = Some(NewTask { id: Some(fresh_id()), ..new_task("b") });
    let batch = NewBatch { callback, ..new_batch(tasks) };
    let once = talk.client.submit_batch(Some(id), batch.clone()).await.unwrap();
    for claim in talk.claim_of(&["a"], 2).await {
        talk.settle(done(&claim)).await;
    }
    // The answer was lost: its producer asks again.
    let again = talk.client.submit_batch(Some(id), batch).await.unwrap();
    assert_eq!((again.id, again.callback), (once.id, once.callback));
    assert!(again.tasks.iter().all(|task| task.answer == SubmitAnswer::Known));
    assert_eq!(counts(&standing(&talk, id).await), [3, 2, 0, 0, 0]);
    let claim = talk.claim_of(&["a"], 10).await.remove(0);
    talk.settle(done(&claim)).await;
    assert_eq!(counts(&standing(&talk, id).await), [3, 3, 0, 0, 0]);
    talk.is_sound().await;
}

async fn batches_are_listed_newest_first(talk: Talk) {
    let mut opened = Vec::new();
    for _ in 0..5 {
        let batch = batch_of(vec![here(fresh_id())]);
        talk.broker.open_batch(&batch).await.unwrap();
        opened.insert(0, batch.id);
        talk.pass(10);
    }
    let listed = async |limit| -> Vec<BatchId> {
        let batches = talk.broker.batches(&queue(), limit).await.unwrap();
        batches.into_iter().map(|batch| batch.id).collect()
    };
    assert_eq!(listed(100).await, opened);
    assert_eq!(listed(2).await, opened[..2]);
    let other: QueueName = queue_named("other");
    assert!(talk.broker.batches(&other, 10).await.unwrap().is_empty());
}

async fn a_batch_is_forgotten_after_its_retention(talk: Talk) {
    let mut batch = batch_of(vec![here(fresh_id())]);
    batch.retention_ms = HOUR_MS;
    talk.broker.open_batch(&batch).await.unwrap();
    talk.pass(30 * MINUTE_MS);
    talk.broker.leave_batch(&queue(), batch.id, &batch.members).await.unwrap();
    talk.pass(45 * MINUTE_MS);
    assert!(standing(&talk, batch.id).await.over_at.is_some(), "counted from its end");
    talk.pass(30 * MINUTE_MS);
    assert_eq!(talk.broker.batch(&queue(), batch.id).await.unwrap(), None);
    assert!(talk.broker.batches(&queue(), 10).await.unwrap().is_empty());
    talk.is_sound().await;
}

async fn tasks_are_listed_by_batch(talk: Talk) {
    talk.submit(new_task("a")).await;
    let batch = sent(&talk, new_batch(vec![new_task("a"), new_task("a")])).await;
    let filter = bulkhead_queue::ListFilter {
        batch: Some(batch.id),
        ..bulkhead_queue::ListFilter::of(State::Pending)
    };
    let mut listed = talk.list_by(&filter).await;
    listed.sort();
    let mut members: Vec<TaskId> = batch.tasks.iter().map(|task| task.id).collect();
    members.sort();
    assert_eq!(listed, members);
}
