//! Dependencies, batches and the outbox between queues.

use bulkhead_core::{
    BatchId, BatchRef, OnFailedParent, Outcome, QueueName, State, Task, TaskRef, Terms,
};
use bulkhead_queue::{Batch, Broker, CancelReason, Entry, Over, RerunAnswer, SubmitAnswer};

use crate::stage::*;

fn other() -> QueueName {
    QueueName::new("other").unwrap()
}

fn after(parents: &[&Task], policy: OnFailedParent) -> Task {
    let after = parents.iter().map(|parent| parent.task_ref()).collect();
    task(Terms { after, on_failed_parent: policy, ..Terms::default() })
}

fn elsewhere(task: Task) -> Task {
    Task { queue: other(), ..task }
}

/// Parents told in a task's record: whom, how, and what they gave.
fn parents(history: &[Entry]) -> Vec<(TaskRef, Option<State>, Option<Vec<u8>>)> {
    let told = history.iter().filter_map(|entry| match entry {
        Entry::Parent { parent, state, output } => {
            Some((parent.clone(), *state, output.as_ref().map(|output| output.data.clone())))
        }
        _ => None,
    });
    told.collect()
}

#[tokio::test]
async fn a_child_waits_for_all_its_parents_and_reads_their_outputs() {
    let talk = Talk::new().await;
    let near = plain();
    let far = elsewhere(plain());
    let ended = plain();
    talk.store(&ended).await;
    talk.settle(done(&talk.claim_one().await)).await;
    talk.store(&near).await;
    talk.store(&far).await;
    let mut child = after(&[&near, &far, &ended], OnFailedParent::Fail);
    child.terms.after.push(near.task_ref());
    assert_eq!(talk.submit(&child).await, SubmitAnswer::Accepted);
    let view = talk.view(child.id).await;
    assert_eq!((view.state, view.waits_for.len()), (State::Blocked, 3));
    assert_eq!(talk.broker.stats(&queue()).await.unwrap().blocked, 1);
    talk.deliver(&queue()).await;
    assert_eq!(talk.view(child.id).await.waits_for.len(), 2, "one had ended before");

    // A result that nobody keeps is kept until the child has it.
    let claim = talk.claim_one().await;
    assert!(talk.settle(kept(&claim, 0)).await.outbox);
    assert!(talk.view_in(&near.task_ref()).await.is_some());
    talk.deliver(&queue()).await;
    assert!(talk.view_in(&near.task_ref()).await.is_none(), "and no longer");
    assert_eq!(talk.state(child.id).await, State::Blocked);
    let claim = talk.step_in(&other(), vec![], &[], 1).await.claims.remove(0);
    talk.step_in(&other(), vec![done(&claim)], &[], 0).await;
    talk.deliver(&other()).await;

    let claim = talk.claim_one().await;
    assert_eq!(claim.id, child.id);
    let mut told = parents(&talk.view(child.id).await.history);
    told.sort_by(|a, b| a.0.cmp(&b.0));
    let mut expected: Vec<_> = [&near, &far, &ended]
        .map(|parent| {
            let output = format!("out of {}", parent.id).into_bytes();
            (parent.task_ref(), Some(State::Completed), Some(output))
        })
        .into();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(told, expected);
    talk.assert_sound(&queue()).await;
    talk.assert_sound(&other()).await;
}

#[tokio::test]
async fn a_failed_parent_does_what_the_child_asked_for_all_the_way_down() {
    let talk = Talk::new().await;
    let parent = plain();
    talk.store(&parent).await;
    let fails = after(&[&parent], OnFailedParent::Fail);
    let cancels = elsewhere(after(&[&parent], OnFailedParent::Cancel));
    let runs = after(&[&parent], OnFailedParent::Run);
    let grandchild = elsewhere(after(&[&fails], OnFailedParent::Fail));
    let unknown = after(&[&plain()], OnFailedParent::Cancel);
    for task in [&fails, &cancels, &runs, &grandchild, &unknown] {
        talk.store(task).await;
    }
    assert_eq!(talk.state(unknown.id).await, State::Cancelled, "an unknown parent is no success");
    let claim = talk.claim_one().await;
    assert_eq!(claim.id, parent.id);
    talk.settle(dead(&claim)).await;
    talk.deliver(&queue()).await;

    let view = talk.view(fails.id).await;
    assert_eq!(view.state, State::Failed);
    assert!(matches!(view.history.last(), Some(Entry::ParentFailed { parent: p, .. })
        if *p == parent.task_ref()));
    let view = talk.view_in(&cancels.task_ref()).await.unwrap();
    assert_eq!(view.state, State::Cancelled);
    assert!(matches!(view.history.last(), Some(Entry::Cancelled { reason: Some(reason), .. })
        if *reason == CancelReason::Parent(parent.task_ref())));
    assert_eq!(talk.view_in(&grandchild.task_ref()).await.unwrap().state, State::Failed);
    assert_eq!(talk.claim_one().await.id, runs.id);
    talk.assert_sound(&queue()).await;
    talk.assert_sound(&other()).await;
}

#[tokio::test]
async fn carrying_twice_and_carrying_late_change_nothing() {
    let talk = Talk::new().await;
    let mut redis = talk.server.connection();
    let outbox = "{bulkhead:default}:outbox";
    let mut events = || -> Vec<(String, f64)> {
        redis::cmd("ZRANGE").arg(outbox).arg(0).arg(-1).arg("WITHSCORES").query(&mut redis).unwrap()
    };
    let parent = plain();
    let child = after(&[&parent], OnFailedParent::Fail);
    talk.submit(&parent).await;
    talk.submit(&child).await;
    let links = events();
    assert_eq!(links.len(), 1);
    talk.deliver(&queue()).await;
    talk.settle(done(&talk.claim_one().await)).await;
    let ends = events();
    assert_eq!(ends.len(), 1);
    talk.deliver(&queue()).await;
    assert!(events().is_empty());
    // A carrier that died before it took its events out leaves them to the next.
    let mut again = talk.server.connection();
    for (event, at) in links.iter().chain(&ends) {
        redis::cmd("ZADD").arg(outbox).arg(*at).arg(event).exec(&mut again).unwrap();
    }
    talk.deliver(&queue()).await;
    assert_eq!(parents(&talk.view(child.id).await.history).len(), 1);
    let claim = talk.claim_one().await;
    assert_eq!(claim.id, child.id);
    talk.settle(done(&claim)).await;
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_blocked_task_is_cancelled_rerun_and_purged() {
    let talk = Talk::new().await;
    let parent = plain();
    talk.store(&parent).await;
    let [cancelled, rerun, purged] = [(); 3].map(|()| after(&[&parent], OnFailedParent::Fail));
    let of_purged = after(&[&purged], OnFailedParent::Cancel);
    for task in [&cancelled, &rerun, &purged, &of_purged] {
        talk.store(task).await;
    }
    talk.broker.cancel(&queue(), &[cancelled.id], DAY_MS).await.unwrap();
    assert_eq!(talk.state(cancelled.id).await, State::Cancelled);
    let answers = talk.broker.rerun(&queue(), &[rerun.id]).await.unwrap();
    assert_eq!(answers, [RerunAnswer::InLine]);
    assert_eq!(talk.claim(10).await.len(), 2, "the parent, and the child without waiting");
    assert_eq!(talk.broker.purge(&queue(), State::Blocked).await.unwrap(), 2);
    assert!(talk.view_in(&of_purged.task_ref()).await.is_none());
    assert_eq!(talk.open().await, 2);
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_child_with_a_start_waits_for_both() {
    let talk = Talk::new().await;
    let parent = plain();
    let mut child = after(&[&parent], OnFailedParent::Fail);
    child.terms.not_before = Some(now() + 60_000);
    talk.store(&parent).await;
    talk.store(&child).await;
    talk.settle(done(&talk.claim_one().await)).await;
    talk.deliver(&queue()).await;
    let view = talk.view(child.id).await;
    assert_eq!((view.state, view.due_at), (State::Scheduled, child.terms.not_before));
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_thousand_dependants_of_one_parent_are_told() {
    let talk = Talk::new().await;
    let parent = plain();
    talk.store(&parent).await;
    let children: Vec<Task> = (0..1_300).map(|_| after(&[&parent], OnFailedParent::Fail)).collect();
    talk.broker.submit(&children).await.unwrap();
    talk.deliver(&queue()).await;
    talk.settle(done(&talk.claim_one().await)).await;
    assert!(talk.broker.deliver(&queue()).await.unwrap() <= 1_300);
    talk.deliver(&queue()).await;
    let stats = talk.broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.blocked, stats.pending), (0, 1_300));
    talk.assert_sound(&queue()).await;
}

fn batch(members: &mut [Task], callback: Option<Task>, over: Over) -> Batch {
    let id = BatchId(uuid::Uuid::now_v7());
    for member in members.iter_mut() {
        member.terms.batch = Some(BatchRef { queue: queue(), id });
    }
    Batch {
        queue: queue(),
        id,
        name: "nightly".into(),
        members: members.iter().map(Task::task_ref).collect(),
        callback,
        over,
        retention_ms: DAY_MS,
    }
}

#[tokio::test]
async fn a_batch_counts_its_members_and_calls_back_once() {
    let talk = Talk::new().await;
    let mut members = vec![plain(), elsewhere(plain()), plain(), plain(), plain()];
    members[3].terms.expires_at = Some(now() - 1);
    let mut callback = plain();
    callback.metadata = vec![("mine".into(), "kept".into())];
    callback.terms.deadline_at = Some(now() + DAY_MS);
    let batch = batch(&mut members, Some(callback.clone()), Over::Ended);
    assert!(talk.broker.open_batch(&batch).await.unwrap());
    assert!(!talk.broker.open_batch(&batch).await.unwrap());
    let look = || async { talk.broker.batch(&queue(), batch.id).await.unwrap().unwrap() };
    assert_eq!((look().await.total, look().await.open()), (5, 5));
    for member in &members[..4] {
        talk.store(member).await;
    }
    talk.broker.leave_batch(&queue(), batch.id, &[members[4].task_ref()]).await.unwrap();
    talk.broker.leave_batch(&queue(), batch.id, &[members[4].task_ref()]).await.unwrap();
    let view = look().await;
    assert_eq!((view.expired, view.cancelled, view.open()), (1, 1, 3));

    let claims = talk.claim(10).await;
    talk.step_in(&queue(), vec![done(&claims[0]), dead(&claims[1])], &[], 0).await;
    talk.deliver(&queue()).await;
    assert!(look().await.over_at.is_none() && talk.claim(10).await.is_empty());
    let far = talk.step_in(&other(), vec![], &[], 1).await.claims.remove(0);
    talk.step_in(&other(), vec![done(&far)], &[], 0).await;
    talk.deliver(&other()).await;

    let view = look().await;
    assert!(view.over_at.is_some() && view.open() == 0);
    let counts = (view.completed, view.failed, view.cancelled, view.expired);
    assert_eq!(counts, (2, 1, 1, 1));
    assert_eq!((view.name.as_str(), view.callback), ("nightly", Some(callback.id)));
    assert_eq!(talk.broker.batches(&queue(), 10).await.unwrap(), [view]);
    let claim = talk.claim_one().await;
    let called = claim.task.as_ref().unwrap();
    assert_eq!(claim.id, callback.id);
    let expected = [
        ("mine", "kept".to_owned()),
        ("batch", batch.id.to_string()),
        ("batch_total", "5".into()),
        ("batch_completed", "2".into()),
        ("batch_failed", "1".into()),
        ("batch_cancelled", "1".into()),
        ("batch_expired", "1".into()),
    ]
    .map(|(key, value)| (key.to_owned(), value));
    assert_eq!(called.metadata, expected);
    assert_eq!((&called.payload, &called.terms), (&callback.payload, &callback.terms));

    // A member given fresh attempts is not counted again.
    talk.broker.rerun(&queue(), &[claims[1].id]).await.unwrap();
    talk.settle(done(&talk.claim_one().await)).await;
    talk.deliver(&queue()).await;
    assert_eq!(look().await.completed, 2);
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_batch_may_be_over_at_its_first_failure() {
    let talk = Talk::new().await;
    let mut members = vec![plain(), plain()];
    let callback = plain();
    let batch = batch(&mut members, Some(callback.clone()), Over::FirstFailure);
    talk.broker.open_batch(&batch).await.unwrap();
    talk.broker.submit(&members).await.unwrap();
    let claims = talk.claim(10).await;
    talk.settle(dead(&claims[0])).await;
    talk.deliver(&queue()).await;
    let view = talk.broker.batch(&queue(), batch.id).await.unwrap().unwrap();
    assert!(view.over_at.is_some() && view.open() == 1);
    assert_eq!(talk.claim_one().await.id, callback.id);
    talk.settle(done(&claims[1])).await;
    talk.deliver(&queue()).await;
    let view = talk.broker.batch(&queue(), batch.id).await.unwrap().unwrap();
    assert_eq!((view.completed, view.failed), (1, 1));
    assert!(talk.claim(10).await.is_empty(), "it is called back once");
    assert_eq!(talk.broker.batch(&queue(), BatchId(uuid::Uuid::nil())).await.unwrap(), None);
}

#[tokio::test]
async fn a_parents_later_fresh_attempts_change_nothing_for_its_children() {
    let talk = Talk::new().await;
    let parent = plain();
    talk.store(&parent).await;
    let child = after(&[&parent], OnFailedParent::Fail);
    talk.store(&child).await;
    talk.settle(dead(&talk.claim_one().await)).await;
    // Not yet carried when the parent is given fresh attempts.
    talk.broker.rerun(&queue(), &[parent.id]).await.unwrap();
    let later = after(&[&parent], OnFailedParent::Fail);
    talk.submit(&later).await;
    talk.deliver(&queue()).await;
    assert_eq!(talk.state(child.id).await, State::Failed);
    assert_eq!(talk.state(later.id).await, State::Blocked);
    talk.settle(done(&talk.claim_one().await)).await;
    talk.deliver(&queue()).await;
    let claim = talk.claim_one().await;
    assert_eq!(claim.id, later.id);
    let told = talk.view(later.id).await.history;
    assert!(matches!(&told[..], [Entry::Parent { state: Some(State::Completed), .. }]));
    assert!(matches!(talk.view(parent.id).await.last_report().unwrap().outcome, Outcome::Done(_)));
}
