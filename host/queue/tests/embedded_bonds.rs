//! What binds tasks to time and to each other, on the embedded broker, in memory and with a
//! file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod embedded_stage;

use bulkhead_core::{
    BatchId, Conflict, Missed, OnFailedParent, Payload, Priority, QueueName, Schedule, State, Task,
    TaskId, TaskRef, Terms, Timing, Unique,
};
use bulkhead_queue::{
    Broker, CancelReason, Entry, Fire, FireAnswer, NewBatch, NewTask, Over, RerunAnswer,
    SubmitAnswer,
};
use bulkhead_stage::{eventually, words};
use embedded_stage::*;

in_both_modes! {
    unique_keys_reject_name_or_replace
    a_task_that_is_not_started_in_time_expires
    parents_outputs_reach_the_child_across_queues
    a_failed_parent_fails_cancels_or_lets_run
    a_batch_counts_its_members_and_calls_back_once
    a_fire_happens_once_and_exclusive_ones_do_not_overlap
    results_are_remembered_for_their_time
}

fn unique(conflict: Conflict, window_ms: Option<u64>) -> NewTask {
    let key = bulkhead_core::TermKey::new("only").unwrap();
    with_terms(Terms { unique: Some(Unique { key, window_ms, conflict }), ..Terms::default() })
}

async fn unique_keys_reject_name_or_replace(talk: Talk) {
    let first = talk.submit(unique(Conflict::Reject, None)).await;
    assert_eq!(talk.answer(unique(Conflict::Reject, None)).await, SubmitAnswer::Taken(first));
    assert_eq!(talk.answer(unique(Conflict::Existing, None)).await, SubmitAnswer::Existing(first));
    let second = unique(Conflict::Replace, None);
    let second = NewTask { id: Some(fresh_id()), ..second };
    assert_eq!(talk.answer(second.clone()).await, SubmitAnswer::Replaced(first));
    let replaced = talk.view(first).await;
    assert_eq!(replaced.state, State::Cancelled);
    let reason = Some(CancelReason::ReplacedBy(second.id.unwrap()));
    assert!(matches!(&replaced.history[0], Entry::Cancelled { reason: r, .. } if *r == reason));
    let claim = talk.claim_one().await;
    let existing = SubmitAnswer::Existing(claim.id);
    assert_eq!(talk.answer(unique(Conflict::Replace, None)).await, existing, "it runs");
    talk.settle(done(&claim)).await;
    let third = talk.submit(unique(Conflict::Reject, Some(60_000))).await;
    let claim = talk.claim_one().await;
    talk.settle(done(&claim)).await;
    let taken = talk.answer(unique(Conflict::Reject, None)).await;
    assert_eq!(taken, SubmitAnswer::Taken(third), "its window goes on");
    talk.examined().await;
}

async fn a_task_that_is_not_started_in_time_expires(talk: Talk) {
    let expiring = |at| with_terms(Terms { expires_at: Some(at), ..Terms::default() });
    let late = talk.submit(expiring(now_ms() - 1)).await;
    assert_eq!(talk.state(late).await, State::Expired);
    let soon = talk.submit(expiring(now_ms() + 50)).await;
    let in_time = talk.submit(expiring(now_ms() + DAY_MS)).await;
    eventually("it expires", || async {
        talk.step(vec![], &[], 0, &[]).await;
        (talk.state(soon).await == State::Expired).then_some(())
    })
    .await;
    assert_eq!(talk.claim(10).await.iter().map(|claim| claim.id).collect::<Vec<_>>(), [in_time]);
    assert_eq!(talk.list(State::Expired).await, [soon, late]);
}

fn task_in(queue: &QueueName, after: &[(QueueName, TaskId)], policy: OnFailedParent) -> NewTask {
    let after = after.iter().map(|(queue, id)| TaskRef { queue: queue.clone(), id: *id });
    let terms = Terms { after: after.collect(), on_failed_parent: policy, ..Terms::default() };
    NewTask { queue: queue.clone(), ..with_terms(terms) }
}

async fn parents_outputs_reach_the_child_across_queues(talk: Talk) {
    let other = QueueName::new("other").unwrap();
    let parents = [talk.submit(new_task("a")).await, talk.submit(new_task("a")).await];
    let ended = talk.claim_one().await;
    talk.settle(done_with(&ended, "first", DAY_MS)).await;
    let after = parents.map(|id| (queue(), id));
    let child = talk.submit(task_in(&other, &after, OnFailedParent::Fail)).await;
    let blocked = talk.view_in(&other, child).await;
    assert_eq!(blocked.state, State::Blocked);
    assert_eq!(blocked.waits_for.len(), 1, "the one that has ended is not waited for");
    let claim = talk.claim_one().await;
    // The output is the child's, however long the parent's own is kept.
    talk.settle(done_with(&claim, "second", 0)).await;
    let ready = talk.view_in(&other, child).await;
    assert_eq!((ready.state, ready.waits_for.len()), (State::Pending, 0));
    let outputs: Vec<&[u8]> = ready
        .history
        .iter()
        .filter_map(|entry| match entry {
            Entry::Parent { output: Some(output), .. } => Some(output.data.as_slice()),
            _ => None,
        })
        .collect();
    assert_eq!(outputs, [&b"first"[..], b"second"]);
    assert_eq!(talk.broker.examine(&other, false).await.unwrap(), []);
}

async fn a_failed_parent_fails_cancels_or_lets_run(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    let open = talk.submit(NewTask { priority: Priority::LOW, ..new_task("a") }).await;
    let mut children = Vec::new();
    for policy in [OnFailedParent::Fail, OnFailedParent::Cancel, OnFailedParent::Run] {
        let after = [(queue(), parent), (queue(), open)];
        children.push(talk.submit(task_in(&queue(), &after, policy)).await);
    }
    let after = [(queue(), children[0])];
    let grandchild = talk.submit(task_in(&queue(), &after, OnFailedParent::Fail)).await;
    let claim = talk.claim_one().await;
    assert_eq!(claim.id, parent);
    talk.settle(dead(&claim)).await;
    assert_eq!(talk.state(children[0]).await, State::Failed);
    assert_eq!(talk.state(children[1]).await, State::Cancelled);
    assert_eq!(talk.state(children[2]).await, State::Blocked);
    assert_eq!(talk.state(grandchild).await, State::Failed);
    let rerun = talk.broker.rerun(&queue(), &[children[2]]).await.unwrap();
    assert_eq!(rerun, [RerunAnswer::InLine]);
    assert_eq!(talk.state(children[2]).await, State::Pending);
    let unknown = [(queue(), fresh_id())];
    let child = talk.submit(task_in(&queue(), &unknown, OnFailedParent::Run)).await;
    assert_eq!(talk.state(child).await, State::Pending, "an unknown parent counts as ended");
    talk.examined().await;
}

async fn a_batch_counts_its_members_and_calls_back_once(talk: Talk) {
    for (over, dead_ones) in [(Over::Ended, 0), (Over::FirstFailure, 1)] {
        let callback = NewTask { priority: Priority::LOW, ..new_task("b") };
        let new = NewBatch {
            queue: queue(),
            name: "three".into(),
            tasks: (0..3).map(|_| new_task("a")).collect(),
            callback: Some(callback),
            over,
            retention_ms: DAY_MS,
        };
        let batch = talk.client.submit_batch(None, new).await.unwrap();
        let claims = talk.step(vec![], &[], 3, &["a"]).await.claims;
        for (at, claim) in claims.iter().enumerate() {
            let before = talk.broker.batch(&queue(), batch.id).await.unwrap().unwrap();
            assert_eq!(before.open(), 3 - at as u64);
            talk.settle(if at < dead_ones { dead(claim) } else { done(claim) }).await;
        }
        let view = talk.broker.batch(&queue(), batch.id).await.unwrap().unwrap();
        assert_eq!((view.completed, view.failed), (3 - dead_ones as u64, dead_ones as u64));
        assert!(view.over_at.is_some());
        let claim = talk.claim_one().await;
        assert_eq!(Some(claim.id), batch.callback);
        let counts = claim.task.as_ref().unwrap().metadata.clone();
        let completed = if dead_ones > 0 { "0" } else { "3" };
        assert!(counts.contains(&("batch_completed".into(), completed.into())), "{counts:?}");
        talk.settle(done(&claim)).await;
        assert!(talk.claim(10).await.is_empty(), "it is called back once");
        // A member run again is not counted again.
        talk.broker.rerun(&queue(), &[claims[0].id]).await.unwrap();
        let again = talk.claim_one().await;
        talk.settle(done(&again)).await;
        assert_eq!(talk.broker.batch(&queue(), batch.id).await.unwrap(), Some(view));
    }
    assert_eq!(talk.broker.batches(&queue(), 10).await.unwrap().len(), 2);
    let unknown = BatchId(uuid::Uuid::now_v7());
    assert_eq!(talk.broker.batch(&queue(), unknown).await.unwrap(), None);
}

fn schedule(exclusive: bool) -> Schedule {
    let timing = Timing::Every { interval_ms: 1_000, jitter_ms: 0, start: 0 };
    Schedule { timing, exclusive, missed: Missed::Once, ..words::schedule("tick") }
}

async fn a_fire_happens_once_and_exclusive_ones_do_not_overlap(talk: Talk) {
    let (broker, queue) = (&talk.broker, queue());
    assert!(broker.put_schedule(&queue, &schedule(true), Some(1_000)).await.unwrap());
    assert!(!broker.put_schedule(&queue, &schedule(true), Some(9_000)).await.unwrap());
    let due = broker.due_schedules(&queue, 10).await.unwrap();
    assert_eq!((due.due.len(), due.due[0].next, due.next), (1, Some(1_000), None));
    let fire = |expected: u64, by_hand| Fire {
        schedule: "tick".into(),
        expected: Some(expected),
        next: Some(expected + 1_000),
        fires: vec![(expected, Task { submitted_at: expected, ..task("a", fresh_id()) })],
        exclusive: true,
        by_hand,
    };
    let fired = broker.fire(&queue, &fire(1_000, false)).await.unwrap();
    assert_eq!(fired, FireAnswer::Fired(1));
    let late = broker.fire(&queue, &fire(1_000, false)).await.unwrap();
    assert_eq!(late, FireAnswer::Superseded);
    let overlapping = broker.fire(&queue, &fire(2_000, false)).await.unwrap();
    assert_eq!(overlapping, FireAnswer::Overlapping);
    let claim = talk.claim_one().await;
    talk.settle(done(&claim)).await;
    assert_eq!(broker.fire(&queue, &fire(7, true)).await.unwrap(), FireAnswer::Fired(1));
    let view = broker.schedules(&queue).await.unwrap().remove(0);
    assert_eq!((view.next, view.fired, view.skipped), (Some(3_000), 2, 1));
    assert!(broker.pause_schedule(&queue, "tick", true, Some(3_000)).await.unwrap());
    assert!(broker.due_schedules(&queue, 10).await.unwrap().due.is_empty());
    let paused = broker.fire(&queue, &fire(3_000, false)).await.unwrap();
    assert_eq!(paused, FireAnswer::Superseded);
    assert!(broker.remove_schedule(&queue, "tick").await.unwrap());
    assert!(!broker.remove_schedule(&queue, "tick").await.unwrap());
    assert_eq!(broker.fire(&queue, &fire(3_000, false)).await.unwrap(), FireAnswer::Unknown);
}

async fn results_are_remembered_for_their_time(talk: Talk) {
    let output = Payload::new(Payload::TEXT, "42");
    talk.broker.remember(&queue(), "k", &output, 60_000).await.unwrap();
    talk.broker.remember(&queue(), "short", &output, 1).await.unwrap();
    assert_eq!(talk.broker.recall(&queue(), "k").await.unwrap(), Some(output));
    assert_eq!(talk.broker.recall(&queue(), "other").await.unwrap(), None);
    eventually("it is forgotten", || async {
        talk.broker.recall(&queue(), "short").await.unwrap().is_none().then_some(())
    })
    .await;
}
