//! Tasks that a task submits: with its completion, all of them, once.

use std::time::Duration;

use bulkhead_core::{
    Conflict, Priority, QueueName, QueuePolicy, State, Task, TaskId, TaskRef, TenantPolicy, Terms,
    Unique, child_id,
};
use bulkhead_queue::{Claim, EventKind, Lines, NewTask, Settlement};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    children_are_there_with_the_completion_and_not_before,
    a_child_can_be_claimed_by_the_step_that_submits_it,
    a_stale_claim_submits_none,
    a_settlement_that_is_repeated_submits_once,
    what_is_known_is_not_submitted_again,
    what_is_forgotten_is_submitted_again_by_a_rerun,
    children_keep_their_order_and_their_priority,
    children_keep_their_terms,
    a_childs_key_holds_it_back,
    a_child_competes_for_its_unique_key_after_its_parent_has_freed_it,
    quotas_do_not_keep_children_out,
    a_child_wakes_who_waits_for_it,
    a_delayed_child_is_due_for_a_host_that_sleeps,
    a_child_of_another_queue_gets_there_in_order_and_wakes,
    a_child_of_a_queue_that_nobody_knows_makes_it_known,
    more_children_than_a_call_holds_are_there_together,
    settlements_with_and_without_children_travel_in_one_step,
    children_of_several_queues_count_in_each,
];

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

/// The child at a place of those that a claim's task submits.
fn child(talk: &Talk, parent: &Claim, place: u32, new: NewTask) -> Task {
    let task = parent.task.as_ref().unwrap();
    let parent = TaskRef { queue: task.queue.clone(), id: task.id };
    task_of(NewTask { id: Some(child_id(&parent, place)), ..new }, talk.now())
}

/// Children of type `b`.
fn children(talk: &Talk, parent: &Claim, count: u32) -> Vec<Task> {
    (0..count).map(|place| child(talk, parent, place, new_task("b"))).collect()
}

fn ids_of(tasks: &[Task]) -> Vec<TaskId> {
    tasks.iter().map(|task| task.id).collect()
}

/// The claim of a task of type `a`.
async fn parent(talk: &Talk) -> Claim {
    talk.submit(new_task("a")).await;
    talk.claim_of(&["a"], 1).await.remove(0)
}

/// Complete a claim that must be the newest, and submit these with it.
async fn bear(talk: &Talk, parent: &Claim, children: Vec<Task>) {
    talk.settle(done_with(parent, DAY_MS, children)).await;
}

async fn children_are_there_with_the_completion_and_not_before(talk: Talk) {
    talk.set_policy(QueuePolicy { events: Some(100), ..QueuePolicy::default() }).await;
    let parent = parent(&talk).await;
    let mut children = children(&talk, &parent, 3);
    children[1].terms.depth = 2;
    for child in &children {
        assert!(talk.find(child.id).await.is_none());
    }
    bear(&talk, &parent, children.clone()).await;
    assert_eq!(talk.state(parent.id).await, State::Completed);
    for child in &children {
        let view = talk.view(child.id).await;
        assert_eq!((view.state, view.task.unwrap()), (State::Pending, child.clone()));
    }
    assert_eq!((talk.stats().await.pending, talk.total("submitted").await), (3, 4));
    let events = talk.events().await;
    let told = events.iter().filter(|event| event.kind == EventKind::Submitted);
    assert_eq!(told.count(), 4);
    talk.is_sound().await;
    let claims = talk.claim(10).await;
    assert_eq!(ids(&claims), ids_of(&children));
    assert_eq!(claims[1].task.as_ref().unwrap().terms.depth, 2);
}

async fn a_child_can_be_claimed_by_the_step_that_submits_it(talk: Talk) {
    let parent = parent(&talk).await;
    let children = children(&talk, &parent, 2);
    let settle = vec![done_with(&parent, DAY_MS, children.clone())];
    let stepped = talk.say(Say { settle, want: 5, ..Say::default() }).await;
    assert_eq!(ids(&stepped.claims), ids_of(&children));
    talk.is_sound().await;
}

async fn a_stale_claim_submits_none(talk: Talk) {
    let first = parent(&talk).await;
    let other = queue_named("other");
    let mut children = children(&talk, &first, 2);
    children[1].queue = other.clone();
    talk.pass(HOUR_MS);
    let second = talk.claim_one().await;
    assert_eq!((second.id, second.attempt), (first.id, 2));
    assert!(talk.is_stale(done_with(&first, DAY_MS, children.clone())).await);
    talk.deliver().await;
    assert!(talk.find(children[0].id).await.is_none());
    assert!(talk.find_in(&other, children[1].id).await.is_none());
    bear(&talk, &second, children.clone()).await;
    assert_eq!(talk.state(children[0].id).await, State::Pending);
    assert_eq!(talk.state_in(&other, children[1].id).await, State::Pending);
    talk.is_sound().await;
}

async fn a_settlement_that_is_repeated_submits_once(talk: Talk) {
    let parent = parent(&talk).await;
    let children = children(&talk, &parent, 2);
    let said = || done_with(&parent, DAY_MS, children.clone());
    // The answer to the first was lost.
    assert!(!talk.is_stale(said()).await);
    assert!(talk.is_stale(said()).await);
    assert_eq!(talk.total("submitted").await, 3);
    for claim in talk.claim(5).await {
        talk.settle(done_for(&claim, 0)).await;
    }
    assert!(talk.is_stale(said()).await);
    assert!(talk.find(children[0].id).await.is_none(), "it ran, and was forgotten");
    assert_eq!(talk.total("submitted").await, 3);
    talk.is_sound().await;
}

async fn what_is_known_is_not_submitted_again(talk: Talk) {
    let first = parent(&talk).await;
    let children = children(&talk, &first, 3);
    bear(&talk, &first, children.clone()).await;
    let running = talk.claim_of(&["b"], 2).await;
    talk.settle(done(&running[0])).await;
    talk.broker.rerun(&queue(), &[first.id]).await.unwrap();
    let again = talk.claim_of(&["a"], 1).await.remove(0);
    bear(&talk, &again, children.clone()).await;
    for (id, state) in
        ids_of(&children).into_iter().zip([State::Completed, State::Running, State::Pending])
    {
        assert_eq!(talk.state(id).await, state);
    }
    assert_eq!(talk.total("submitted").await, 4);
    talk.is_sound().await;
}

async fn what_is_forgotten_is_submitted_again_by_a_rerun(talk: Talk) {
    let first = parent(&talk).await;
    let children = children(&talk, &first, 1);
    bear(&talk, &first, children.clone()).await;
    let claim = talk.claim_one().await;
    talk.settle(done_for(&claim, 0)).await;
    talk.broker.rerun(&queue(), &[first.id]).await.unwrap();
    let again = talk.claim_one().await;
    bear(&talk, &again, children.clone()).await;
    assert_eq!(talk.claim_one().await.id, children[0].id);
}

async fn children_keep_their_order_and_their_priority(talk: Talk) {
    let parent = parent(&talk).await;
    let mut children = children(&talk, &parent, 20);
    children[13].priority = Priority::CRITICAL;
    children[17].priority = Priority::HIGH;
    bear(&talk, &parent, children.clone()).await;
    let mut expected = ids_of(&children);
    let (critical, high) = (expected.remove(13), expected.remove(16));
    expected.splice(0..0, [critical, high]);
    assert_eq!(ids(&talk.claim(20).await), expected);
}

async fn children_keep_their_terms(talk: Talk) {
    let parent = parent(&talk).await;
    let now = talk.now();
    let later = starting(now + MINUTE_MS);
    let soon_over = expiring(now + MINUTE_MS);
    let kept = Terms { retention_ms: Some(HOUR_MS), ..Terms::default() };
    let waiting = after(&[here(parent.id)]);
    let terms = [later, soon_over, kept, waiting];
    let children: Vec<Task> = terms
        .into_iter()
        .zip(0..)
        .map(|(terms, place)| child(&talk, &parent, place, with("b", terms)))
        .collect();
    bear(&talk, &parent, children.clone()).await;
    let view = talk.view(children[0].id).await;
    assert_eq!((view.state, view.due_at), (State::Scheduled, Some(now + MINUTE_MS)));
    assert_eq!(talk.state(children[3].id).await, State::Pending, "its parent has completed");
    talk.is_sound().await;
    talk.pass(2 * MINUTE_MS);
    let claimed = talk.drain(10).await;
    assert_eq!(talk.state(children[1].id).await, State::Expired);
    assert_eq!(claimed.len(), 3);
    talk.is_sound().await;
}

async fn a_childs_key_holds_it_back(talk: Talk) {
    let keys = [("k".into(), at_once(1))].into();
    talk.set_policy(QueuePolicy { keys, ..QueuePolicy::default() }).await;
    let parent = parent(&talk).await;
    let children: Vec<Task> =
        (0..3).map(|place| child(&talk, &parent, place, keyed("b", "k"))).collect();
    let settle = vec![done_with(&parent, DAY_MS, children.clone())];
    let claims = talk.say(Say { settle, want: 5, ..Say::default() }).await.claims;
    assert_eq!(ids(&claims), [children[0].id]);
    talk.is_sound().await;
    talk.settle(done(&claims[0])).await;
    assert_eq!(talk.claim_one().await.id, children[1].id);
}

async fn a_child_competes_for_its_unique_key_after_its_parent_has_freed_it(talk: Talk) {
    let unique = Unique { key: key("u"), window_ms: None, conflict: Conflict::Reject };
    let terms = Terms { unique: Some(unique), ..Terms::default() };
    talk.submit(with("a", terms.clone())).await;
    let claim = talk.claim_one().await;
    let children: Vec<Task> =
        (0..2).map(|place| child(&talk, &claim, place, with("b", terms.clone()))).collect();
    bear(&talk, &claim, children.clone()).await;
    assert_eq!(talk.state(children[0].id).await, State::Pending);
    assert!(talk.find(children[1].id).await.is_none(), "its sibling has the key");
    talk.is_sound().await;
}

async fn quotas_do_not_keep_children_out(talk: Talk) {
    let parent = parent(&talk).await;
    let narrow =
        TenantPolicy { pending: Some(1), payload_bytes: Some(40), ..TenantPolicy::default() };
    talk.set_policy(QueuePolicy { other_tenants: Some(narrow), ..QueuePolicy::default() }).await;
    bear(&talk, &parent, children(&talk, &parent, 4)).await;
    let stats = talk.stats().await;
    assert_eq!((stats.pending, stats.by_tenant[0].open), (4, 4));
    assert!(!talk.offer(new_task("b")).await.is_new(), "others are kept out");
    talk.is_sound().await;
}

async fn a_child_wakes_who_waits_for_it(talk: Talk) {
    let parent = parent(&talk).await;
    let lines: [Lines; 1] = [(queue(), vec![of_type("b").into()])];
    assert!(!talk.broker.await_work(&lines, SHORT).await.unwrap());
    let bearing = bear(&talk, &parent, children(&talk, &parent, 1));
    let (heard, ()) = tokio::join!(talk.broker.await_work(&lines, LONG), bearing);
    assert!(heard.unwrap());
}

async fn a_delayed_child_is_due_for_a_host_that_sleeps(talk: Talk) {
    let parent = parent(&talk).await;
    let lines: [Lines; 1] = [(queue(), vec![of_type("b").into()])];
    talk.broker.await_work(&lines, SHORT).await.unwrap();
    let delayed = child(&talk, &parent, 0, with("b", starting(talk.now() + MINUTE_MS)));
    let settle = vec![done_with(&parent, DAY_MS, vec![delayed])];
    let next_due = talk.say(Say { settle, ..Say::default() }).await.next_due.unwrap();
    assert!(next_due <= Duration::from_secs(60), "{next_due:?}");
    assert!(talk.broker.await_work(&lines, LONG).await.unwrap(), "to look when it is due");
}

async fn a_child_of_another_queue_gets_there_in_order_and_wakes(talk: Talk) {
    let other = queue_named("other");
    let parent = parent(&talk).await;
    let lines: [Lines; 1] = [(other.clone(), vec![of_type("b").into()])];
    assert!(!talk.broker.await_work(&lines, SHORT).await.unwrap());
    let mut children = children(&talk, &parent, 150);
    children.iter_mut().for_each(|child| child.queue = other.clone());
    let bearing = bear(&talk, &parent, children.clone());
    let (heard, ()) = tokio::join!(talk.broker.await_work(&lines, LONG), bearing);
    assert!(heard.unwrap());
    let view = talk.find_in(&other, children[0].id).await.unwrap();
    assert_eq!(view.task.unwrap(), children[0]);
    assert!(talk.find(children[0].id).await.is_none(), "only there");
    assert_eq!(ids(&talk.claim_in(&other, 200).await), ids_of(&children));
    talk.is_sound().await;
}

async fn a_child_of_a_queue_that_nobody_knows_makes_it_known(talk: Talk) {
    let parent = parent(&talk).await;
    let mut children = children(&talk, &parent, 1);
    children[0].queue = queue_named("fresh");
    bear(&talk, &parent, children).await;
    let mut queues = talk.broker.queues().await.unwrap();
    queues.sort();
    assert_eq!(queues, [queue(), queue_named("fresh")]);
}

async fn more_children_than_a_call_holds_are_there_together(talk: Talk) {
    let parent = parent(&talk).await;
    let children = children(&talk, &parent, 700);
    bear(&talk, &parent, children.clone()).await;
    assert_eq!(talk.stats().await.pending, 700);
    assert_eq!(ids(&talk.drain(1_000).await), ids_of(&children));
    talk.is_sound().await;
}

async fn settlements_with_and_without_children_travel_in_one_step(talk: Talk) {
    talk.submit_many((0..300).map(|_| new_task("a")).collect()).await;
    let claims = talk.drain(300).await;
    assert_eq!(claims.len(), 300);
    // One that is stale stands among those with children, of whom each fifth has some.
    talk.settle(done(&claims[105])).await;
    let settle: Vec<Settlement> = (claims.iter().enumerate())
        .map(|(at, claim)| match at % 5 {
            0 => done_with(claim, DAY_MS, children(&talk, claim, 7)),
            1 => retry(claim, HOUR_MS),
            _ => done(claim),
        })
        .collect();
    let stale = talk.say(Say { settle, ..Say::default() }).await.stale;
    assert_eq!(stale, [105]);
    let stats = talk.stats().await;
    assert_eq!((stats.running, stats.scheduled, stats.pending), (0, 60, 59 * 7));
    talk.is_sound().await;
}

async fn children_of_several_queues_count_in_each(talk: Talk) {
    let queues: Vec<QueueName> = ["one", "two"].map(queue_named).into();
    let parent = parent(&talk).await;
    let mut children = children(&talk, &parent, 6);
    for (child, queue) in children.iter_mut().zip([0, 1, 1].into_iter().cycle()) {
        child.queue = queues[queue].clone();
    }
    bear(&talk, &parent, children.clone()).await;
    talk.deliver().await;
    for (queue, expected) in queues.iter().zip([2, 4]) {
        let stats = talk.broker.stats(queue).await.unwrap();
        assert_eq!((stats.pending, stats.totals["submitted"]), (expected, expected));
        assert_eq!(stats.by_tenant[0].open, expected);
    }
    talk.is_sound().await;
}
