//! Tasks that wait for others: when they leave `blocked`, and for where.

use bulkhead_core::{OnFailedParent, Outcome, Payload, QueueName, State, TaskId, TaskRef, Terms};
use bulkhead_queue::{CancelReason, End, Entry, NewTask, RerunAnswer, Settlement};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    a_task_waits_for_all_of_its_parents,
    it_gets_its_parents_outputs,
    parents_in_other_queues_are_heard_of,
    an_end_is_carried_by_whoever_looks_and_carrying_it_twice_changes_nothing,
    a_parent_that_has_ended_already_counts_at_once,
    a_parent_that_is_unknown_counts_as_not_completed,
    a_failed_parent_fails_its_child_at_once,
    a_failed_parent_cancels_its_child_if_asked,
    a_failed_parent_counts_as_ended_if_asked,
    every_way_of_not_completing_counts,
    failures_travel_down_a_chain,
    a_parent_may_come_in_the_same_call,
    a_parent_that_ends_at_once_is_heard_of_in_the_same_call,
    a_parent_that_runs_again_takes_nothing_back,
    a_rerun_of_a_blocked_task_starts_it,
    a_blocked_task_can_be_cancelled,
    a_parent_that_others_wait_for_is_kept_until_they_are_told,
    a_task_may_have_a_thousand_parents,
    long_outputs_of_ended_parents_are_all_heard_of,
    a_diamond_ends,
];

fn other() -> QueueName {
    queue_named("other")
}

fn there(id: TaskId) -> TaskRef {
    TaskRef { queue: other(), id }
}

fn waiting(parents: &[TaskRef], on_failed_parent: OnFailedParent) -> NewTask {
    with("b", Terms { on_failed_parent, ..after(parents) })
}

/// Claim a task that must be the next one of type `a`, and end it.
async fn end(
    talk: &Talk,
    id: TaskId,
    how: impl Fn(&bulkhead_queue::Claim) -> bulkhead_queue::Settlement,
) {
    let claims = talk.claim_of(&["a"], 1).await;
    assert_eq!(ids(&claims), [id]);
    talk.settle(how(&claims[0])).await;
}

async fn a_task_waits_for_all_of_its_parents(talk: Talk) {
    let one = talk.submit(new_task("a")).await;
    talk.pass(1);
    let two = talk.submit(new_task("a")).await;
    let child = talk.submit(waiting(&[here(one), here(two)], OnFailedParent::Fail)).await;
    let view = talk.view(child).await;
    assert_eq!(view.state, State::Blocked);
    let mut waits_for = view.waits_for;
    waits_for.sort();
    let mut parents = [here(one), here(two)];
    parents.sort();
    assert_eq!(waits_for, parents);
    assert_eq!(talk.stats().await.blocked, 1);
    assert_eq!(talk.list(State::Blocked).await, [child]);

    end(&talk, one, done).await;
    let view = talk.view(child).await;
    assert_eq!((view.state, view.waits_for), (State::Blocked, vec![here(two)]));
    assert!(talk.claim_of(&["b"], 1).await.is_empty());
    end(&talk, two, done).await;
    assert_eq!(talk.state(child).await, State::Pending);
    assert!(talk.view(child).await.waits_for.is_empty());
    assert_eq!(ids(&talk.claim(10).await), [child]);
    talk.is_sound().await;
}

async fn it_gets_its_parents_outputs(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    let child = talk.submit(waiting(&[here(parent)], OnFailedParent::Fail)).await;
    end(&talk, parent, |claim| done_for(claim, 0)).await;
    let entry = Entry::Parent {
        parent: here(parent),
        state: Some(State::Completed),
        output: Some(Payload::new(Payload::TEXT, "out")),
    };
    assert_eq!(talk.history(child).await, std::slice::from_ref(&entry));
    assert!(talk.find(parent).await.is_none(), "the parent itself is not kept");
    let claim = talk.claim_one().await;
    talk.settle(retry(&claim, 0)).await;
    let claim = talk.claim_one().await;
    assert_eq!(claim.attempt, 2, "a parent's end is no attempt");
    assert!(talk.history(child).await.contains(&entry));
}

async fn parents_in_other_queues_are_heard_of(talk: Talk) {
    let parent = talk.submit(NewTask { queue: other(), ..new_task("a") }).await;
    let child = talk.submit(waiting(&[there(parent)], OnFailedParent::Fail)).await;
    assert_eq!(talk.state(child).await, State::Blocked);
    let claim = talk.claim_in(&other(), 1).await.remove(0);
    let say = Say { queue: other(), settle: vec![done(&claim)], ..Say::default() };
    let stepped = talk.say(say).await;
    // A broker that keeps all queues in one place has nothing to carry.
    let carried = talk.broker.deliver(&other()).await.unwrap();
    assert_eq!(stepped.outbox, carried > 0, "a host is told exactly when it must carry");
    assert_eq!(talk.state(child).await, State::Pending);
    assert!(matches!(
        &talk.history(child).await[..],
        [Entry::Parent { parent: p, output: Some(_), .. }] if *p == there(parent)
    ));
    talk.is_sound().await;
}

async fn an_end_is_carried_by_whoever_looks_and_carrying_it_twice_changes_nothing(talk: Talk) {
    let parent = talk.submit(NewTask { queue: other(), ..new_task("a") }).await;
    let child = talk.submit(waiting(&[there(parent)], OnFailedParent::Fail)).await;
    let claim = talk.claim_in(&other(), 1).await.remove(0);
    let say = Say { queue: other(), settle: vec![done(&claim)], ..Say::default() };
    let waits = talk.say(say).await.outbox;
    // Its host died; the next one hears of it.
    let next = talk.say(Say { queue: other(), host: "h2", ..Say::default() }).await;
    assert_eq!(next.outbox, waits);
    let queue = other();
    let (one, two) = tokio::join!(talk.broker.deliver(&queue), talk.broker.deliver(&queue));
    assert_eq!(one.unwrap() + two.unwrap() > 0, waits);
    assert_eq!(talk.broker.deliver(&queue).await.unwrap(), 0);
    assert_eq!(talk.history(child).await.len(), 1);
    assert_eq!(talk.claim_one().await.id, child);
    assert!(!talk.say(Say { queue, ..Say::default() }).await.outbox);
    talk.is_sound().await;
}

async fn a_parent_that_has_ended_already_counts_at_once(talk: Talk) {
    let parent = talk.completed(new_task("a")).await;
    let remote = talk.submit(NewTask { queue: other(), ..new_task("a") }).await;
    let claim = talk.claim_in(&other(), 1).await.remove(0);
    talk.settle_in(&other(), done(&claim)).await;
    let child = talk.submit(waiting(&[here(parent), there(remote)], OnFailedParent::Fail)).await;
    talk.deliver().await;
    assert_eq!(talk.state(child).await, State::Pending);
    assert_eq!(talk.history(child).await.len(), 2);
    talk.is_sound().await;
}

async fn a_parent_that_is_unknown_counts_as_not_completed(talk: Talk) {
    for parent in [here(fresh_id()), there(fresh_id())] {
        let child = |how| waiting(std::slice::from_ref(&parent), how);
        let failed = talk.submit(child(OnFailedParent::Fail)).await;
        let cancelled = talk.submit(child(OnFailedParent::Cancel)).await;
        let runs = talk.submit(child(OnFailedParent::Run)).await;
        talk.deliver().await;
        assert_eq!(talk.state(failed).await, State::Failed);
        assert_eq!(talk.state(cancelled).await, State::Cancelled);
        assert_eq!(talk.state(runs).await, State::Pending);
        let entry = Entry::Parent { parent, state: None, output: None };
        assert_eq!(talk.history(runs).await, [entry]);
    }
    talk.is_sound().await;
}

async fn a_failed_parent_fails_its_child_at_once(talk: Talk) {
    let one = talk.submit(new_task("a")).await;
    let two = talk.submit(with("a", starting(talk.now() + DAY_MS))).await;
    let child = talk.submit(waiting(&[here(one), here(two)], OnFailedParent::Fail)).await;
    end(&talk, one, dead).await;
    let view = talk.view(child).await;
    assert_eq!(view.state, State::Failed);
    let why =
        |entry: &Entry| matches!(entry, Entry::ParentFailed { parent, .. } if *parent == here(one));
    assert!(view.history.iter().any(why), "{:?}", view.history);
    assert!(view.waits_for.is_empty() && view.kept_until.is_some());
    assert_eq!(talk.stats().await.failed, 2);
    // What its other parent comes to no longer matters.
    talk.broker.cancel(&queue(), &[two], DAY_MS).await.unwrap();
    talk.deliver().await;
    assert_eq!(talk.history(child).await, view.history);
    talk.is_sound().await;
}

async fn a_failed_parent_cancels_its_child_if_asked(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    let child = talk.submit(waiting(&[here(parent)], OnFailedParent::Cancel)).await;
    end(&talk, parent, dead).await;
    let view = talk.view(child).await;
    assert_eq!(view.state, State::Cancelled);
    let reason = Some(CancelReason::Parent(here(parent)));
    let why = |entry: &Entry| matches!(entry, Entry::Cancelled { reason: r, .. } if *r == reason);
    assert!(view.history.iter().any(why), "{:?}", view.history);
    talk.is_sound().await;
}

async fn a_failed_parent_counts_as_ended_if_asked(talk: Talk) {
    let one = talk.submit(new_task("a")).await;
    talk.pass(1);
    let two = talk.submit(new_task("a")).await;
    let child = talk.submit(waiting(&[here(one), here(two)], OnFailedParent::Run)).await;
    end(&talk, one, dead).await;
    assert_eq!(talk.state(child).await, State::Blocked);
    end(&talk, two, done).await;
    assert_eq!(talk.state(child).await, State::Pending);
    let history = talk.history(child).await;
    assert_eq!(history.len(), 2);
    assert!(matches!(
        &history[0],
        Entry::Parent { state: Some(State::Failed), output: None, parent } if *parent == here(one)
    ));
    talk.is_sound().await;
}

async fn every_way_of_not_completing_counts(talk: Talk) {
    let ways = [dead, cancelled];
    for way in ways {
        let parent = talk.submit(new_task("a")).await;
        let child = talk.submit(waiting(&[here(parent)], OnFailedParent::Fail)).await;
        end(&talk, parent, way).await;
        assert_eq!(talk.state(child).await, State::Failed);
    }
    let parent = talk.submit(new_task("a")).await;
    let child = talk.submit(waiting(&[here(parent)], OnFailedParent::Fail)).await;
    assert_eq!(talk.broker.purge(&queue(), State::Pending).await.unwrap(), 1);
    talk.deliver().await;
    assert_eq!(talk.state(child).await, State::Failed);
    talk.is_sound().await;
}

async fn failures_travel_down_a_chain(talk: Talk) {
    let first = talk.submit(new_task("a")).await;
    let mut chain = vec![first];
    for at in 0..30 {
        let queue = if at % 2 == 0 { other() } else { queue() };
        let last = chain[chain.len() - 1];
        let parent = if at % 2 == 0 { here(last) } else { there(last) };
        let next = NewTask { queue, ..waiting(&[parent], OnFailedParent::Cancel) };
        chain.push(talk.submit(next).await);
    }
    end(&talk, first, dead).await;
    for (at, id) in chain.iter().enumerate().skip(1) {
        let queue = if at % 2 == 1 { other() } else { queue() };
        assert_eq!(talk.state_in(&queue, *id).await, State::Cancelled, "link {at}");
    }
    talk.is_sound().await;
}

async fn a_parent_may_come_in_the_same_call(talk: Talk) {
    let parent = fresh_id();
    let child = waiting(&[here(parent)], OnFailedParent::Fail);
    let parent = NewTask { id: Some(parent), ..new_task("a") };
    let sent = talk.submit_many(vec![parent, child]).await;
    assert_eq!(talk.state(sent[1]).await, State::Blocked);
    end(&talk, sent[0], done).await;
    assert_eq!(talk.state(sent[1]).await, State::Pending);
}

async fn a_parent_that_ends_at_once_is_heard_of_in_the_same_call(talk: Talk) {
    let unknown = here(fresh_id());
    let id = fresh_id();
    let mut parent = NewTask { id: Some(id), ..waiting(&[unknown], OnFailedParent::Cancel) };
    parent.terms.retention_ms = Some(0);
    let child = waiting(&[here(id)], OnFailedParent::Run);
    let child = talk.submit_many(vec![parent, child]).await[1];
    talk.deliver().await;
    assert!(talk.find(id).await.is_none(), "it is not kept");
    let heard = Entry::Parent { parent: here(id), state: Some(State::Cancelled), output: None };
    assert_eq!(talk.history(child).await, [heard]);
    assert_eq!(talk.state(child).await, State::Pending);
}

async fn a_parent_that_runs_again_takes_nothing_back(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    let child = talk.submit(waiting(&[here(parent)], OnFailedParent::Fail)).await;
    end(&talk, parent, dead).await;
    talk.broker.rerun(&queue(), &[parent]).await.unwrap();
    assert_eq!(talk.state(child).await, State::Failed);
    end(&talk, parent, done).await;
    assert_eq!(talk.state(child).await, State::Failed);
    assert_eq!(talk.broker.rerun(&queue(), &[child]).await.unwrap(), [RerunAnswer::InLine]);
    assert_eq!(talk.state(child).await, State::Pending, "put in line without waiting further");
    talk.is_sound().await;
}

async fn a_rerun_of_a_blocked_task_starts_it(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    let child = talk.submit(waiting(&[here(parent)], OnFailedParent::Fail)).await;
    assert_eq!(talk.broker.rerun(&queue(), &[child]).await.unwrap(), [RerunAnswer::InLine]);
    assert_eq!(talk.state(child).await, State::Pending);
    let claim = talk.claim_of(&["b"], 1).await.remove(0);
    end(&talk, parent, dead).await;
    assert_eq!(talk.state(child).await, State::Running, "its parent no longer matters");
    talk.settle(done(&claim)).await;
    talk.is_sound().await;
}

async fn a_blocked_task_can_be_cancelled(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    let child = talk.submit(waiting(&[here(parent)], OnFailedParent::Run)).await;
    let grandchild = talk.submit(waiting(&[here(child)], OnFailedParent::Cancel)).await;
    talk.broker.cancel(&queue(), &[child], DAY_MS).await.unwrap();
    talk.deliver().await;
    assert_eq!(talk.state(child).await, State::Cancelled);
    assert_eq!(talk.state(grandchild).await, State::Cancelled);
    end(&talk, parent, done).await;
    assert_eq!(talk.state(child).await, State::Cancelled);
    talk.is_sound().await;
}

async fn a_parent_that_others_wait_for_is_kept_until_they_are_told(talk: Talk) {
    let parent = talk.submit(NewTask { queue: other(), ..new_task("a") }).await;
    let child = talk.submit(waiting(&[there(parent)], OnFailedParent::Fail)).await;
    let claim = talk.claim_in(&other(), 1).await.remove(0);
    let settle = vec![done_for(&claim, 0)];
    talk.say(Say { queue: other(), settle, ..Say::default() }).await;
    talk.pass(SECOND_MS);
    talk.deliver().await;
    assert!(matches!(
        &talk.history(child).await[..],
        [Entry::Parent { output: Some(output), .. }] if output.data == b"out"
    ));
    assert_eq!(talk.state(child).await, State::Pending);
}

async fn a_task_may_have_a_thousand_parents(talk: Talk) {
    let parents = talk.submit_many((0..Terms::MAX_PARENTS).map(|_| new_task("a")).collect()).await;
    let refs: Vec<TaskRef> = parents.iter().map(|id| here(*id)).collect();
    let child = talk.submit(waiting(&refs, OnFailedParent::Fail)).await;
    assert_eq!(talk.view(child).await.waits_for.len(), Terms::MAX_PARENTS);
    while talk.state(child).await == State::Blocked {
        let claims = talk.claim_of(&["a"], 250).await;
        assert!(!claims.is_empty());
        let settle = claims.iter().map(done).collect();
        talk.say(Say { settle, ..Say::default() }).await;
        talk.deliver().await;
    }
    let outputs = |entry: &&Entry| matches!(entry, Entry::Parent { output: Some(_), .. });
    let history = talk.history(child).await;
    assert_eq!(history.iter().filter(outputs).count(), Terms::MAX_PARENTS);
    talk.is_sound().await;
}

async fn a_diamond_ends(talk: Talk) {
    let top = talk.submit(new_task("a")).await;
    let left = with("a", after(&[here(top)]));
    let right = NewTask { queue: other(), ..with("a", after(&[here(top)])) };
    let (left, right) = (talk.submit(left).await, talk.submit(right).await);
    let bottom = talk.submit(waiting(&[here(left), there(right)], OnFailedParent::Fail)).await;
    end(&talk, top, done).await;
    end(&talk, left, done).await;
    let claim = talk.claim_in(&other(), 1).await.remove(0);
    talk.settle_in(&other(), done(&claim)).await;
    assert_eq!(talk.claim_one().await.id, bottom);
    talk.is_sound().await;
}

async fn long_outputs_of_ended_parents_are_all_heard_of(talk: Talk) {
    const LONG_BYTES: usize = 1_500_000;
    let mut parents = Vec::new();
    for number in 0..7_u8 {
        let id = talk.submit(new_task("a")).await;
        let claim = talk.claim_one().await;
        let data = vec![number; LONG_BYTES];
        let report = report(1, Outcome::Done(Payload::new(Payload::BINARY, data)));
        let end = End::Complete { report, retention_ms: DAY_MS, children: Vec::new() };
        talk.settle(Settlement { token: claim.token, end, plugin: None }).await;
        parents.push(here(id));
    }
    let children = talk.submit_many((0..3).map(|_| with("a", after(&parents))).collect()).await;
    for child in children {
        talk.deliver().await;
        assert_eq!(talk.state(child).await, State::Pending);
        let history = talk.history(child).await;
        let mut heard: Vec<_> = history
            .iter()
            .map(|entry| match entry {
                Entry::Parent { output: Some(output), .. } => (output.data[0], output.data.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        heard.sort_unstable();
        let all: Vec<_> = (0..7_u8).map(|number| (number, LONG_BYTES)).collect();
        assert_eq!(heard, all);
    }
    talk.is_sound().await;
}
