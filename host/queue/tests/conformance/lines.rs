//! The order within lines, and the place of what comes back.

use bulkhead_core::Priority;
use bulkhead_queue::{NewTask, TypeDepth};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    priority_orders_and_equals_keep_their_order,
    calls_are_ordered_by_their_time,
    one_named_level_is_a_head_start_of_15_minutes,
    nothing_starves_behind_what_is_urgent,
    only_asked_for_types_are_claimed,
    the_older_or_more_urgent_head_of_a_tenants_types_goes_first,
    what_is_given_back_goes_60_seconds_ahead,
    what_lost_its_lease_goes_60_seconds_ahead,
    a_retry_goes_into_line_when_it_comes_due,
    delayed_tasks_come_due,
    a_paused_queue_hands_out_nothing,
    a_paused_type_is_passed_over,
    a_pause_lets_running_attempts_settle,
];

async fn priority_orders_and_equals_keep_their_order(talk: Talk) {
    let mut expected = Vec::new();
    for (priority, task_type) in [
        (Priority::CRITICAL, "a"),
        (Priority::HIGH, "b"),
        (Priority::NORMAL, "a"),
        (Priority::LOW, "b"),
    ] {
        for _ in 0..3 {
            expected.push((priority, task_type, fresh_id()));
        }
    }
    let tasks = expected.iter().rev().map(|(priority, task_type, id)| NewTask {
        priority: *priority,
        id: Some(*id),
        ..new_task(task_type)
    });
    // Within one level the order of submission counts, which is reversed here.
    talk.submit_many(tasks.collect()).await;
    let expected: Vec<_> =
        expected.chunks(3).flat_map(|level| level.iter().rev().map(|(_, _, id)| *id)).collect();
    assert_eq!(ids(&talk.claim(100).await), expected);
}

async fn calls_are_ordered_by_their_time(talk: Talk) {
    let mut expected = Vec::new();
    for _ in 0..20 {
        expected.push(talk.submit(new_task("a")).await);
        talk.pass(1);
    }
    assert_eq!(ids(&talk.claim(7).await), expected[..7]);
    assert_eq!(ids(&talk.claim(100).await), expected[7..]);
}

async fn one_named_level_is_a_head_start_of_15_minutes(talk: Talk) {
    let first = talk.submit(new_task("a")).await;
    talk.pass(14 * MINUTE_MS);
    let urgent = NewTask { priority: Priority::HIGH, ..new_task("a") };
    let urgent = talk.submit(urgent).await;
    assert_eq!(ids(&talk.claim(10).await), [urgent, first]);
}

async fn nothing_starves_behind_what_is_urgent(talk: Talk) {
    let low = talk.submit(NewTask { priority: Priority::LOW, ..new_task("a") }).await;
    talk.pass(46 * MINUTE_MS);
    let critical = NewTask { priority: Priority::CRITICAL, ..new_task("a") };
    let critical = talk.submit(critical).await;
    assert_eq!(ids(&talk.claim(10).await), [low, critical]);
}

async fn only_asked_for_types_are_claimed(talk: Talk) {
    talk.submit(new_task("a")).await;
    let b = talk.submit(new_task("b")).await;
    assert_eq!(ids(&talk.claim_of(&["b"], 10).await), [b]);
    assert!(talk.claim_of(&["b", "c"], 10).await.is_empty());
    assert!(talk.claim_of(&[], 10).await.is_empty());
    let depth = TypeDepth { task_type: "a".into(), pending: 1, paused: false };
    assert!(talk.stats().await.by_type.contains(&depth));
}

async fn the_older_or_more_urgent_head_of_a_tenants_types_goes_first(talk: Talk) {
    let old = talk.submit(new_task("a")).await;
    talk.pass(SECOND_MS);
    let middle = talk.submit(new_task("b")).await;
    talk.pass(SECOND_MS);
    let urgent = talk.submit(NewTask { priority: Priority::HIGH, ..new_task("b") }).await;
    let claimed = [talk.claim_one().await.id, talk.claim_one().await.id, talk.claim_one().await.id];
    assert_eq!(claimed, [urgent, old, middle]);
}

async fn what_is_given_back_goes_60_seconds_ahead(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let long_ago = talk.submit(new_task("a")).await;
    talk.pass(30 * SECOND_MS);
    talk.pass(45 * SECOND_MS);
    let lately = talk.submit(new_task("a")).await;
    talk.settle(given_back(&claim)).await;
    let claims = talk.claim(10).await;
    assert_eq!(ids(&claims), [long_ago, id, lately]);
    assert_eq!(claims[1].attempt, 1, "the attempt does not count");
    assert_eq!(talk.total("returned").await, 1);
}

async fn what_lost_its_lease_goes_60_seconds_ahead(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    talk.claim_one().await;
    let long_ago = talk.submit(new_task("a")).await;
    talk.pass(HOUR_MS);
    let lately = talk.submit(new_task("a")).await;
    let claims = talk.claim(10).await;
    assert_eq!(ids(&claims), [long_ago, id, lately]);
    assert_eq!(claims[1].attempt, 2);
}

async fn a_retry_goes_into_line_when_it_comes_due(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.settle(retry(&claim, MINUTE_MS)).await;
    assert!(talk.claim(1).await.is_empty(), "not before its time");
    talk.pass(MINUTE_MS + SECOND_MS);
    let again = talk.claim_one().await;
    assert_eq!((again.id, again.attempt), (id, 2));
    assert_eq!(talk.total("retried").await, 1);
}

async fn delayed_tasks_come_due(talk: Talk) {
    let later = talk.now() + HOUR_MS;
    let id = talk.submit(with("a", starting(later))).await;
    assert_eq!(talk.view(id).await.due_at, Some(later));
    let stepped = talk.say(Say { want: 1, ..Say::default() }).await;
    assert!(stepped.claims.is_empty());
    let due_ms = stepped.next_due.unwrap().as_millis();
    assert!(due_ms <= u128::from(HOUR_MS) && due_ms > u128::from(HOUR_MS - MINUTE_MS));
    talk.pass(HOUR_MS);
    let claim = talk.claim_one().await;
    assert_eq!((claim.id, claim.attempt), (id, 1));
}

async fn a_paused_queue_hands_out_nothing(talk: Talk) {
    assert!(talk.broker.pause(&queue(), None).await.unwrap());
    assert!(!talk.broker.pause(&queue(), None).await.unwrap());
    talk.submit(new_task("a")).await;
    assert!(talk.claim(1).await.is_empty());
    assert!(talk.stats().await.paused);
    assert!(talk.broker.resume(&queue(), None).await.unwrap());
    assert!(!talk.broker.resume(&queue(), None).await.unwrap());
    assert!(!talk.stats().await.paused);
    assert_eq!(talk.claim(1).await.len(), 1);
}

async fn a_paused_type_is_passed_over(talk: Talk) {
    let a = talk.submit(new_task("a")).await;
    let b = talk.submit(new_task("b")).await;
    assert!(talk.broker.pause(&queue(), Some(&of_type("a"))).await.unwrap());
    assert!(!talk.broker.pause(&queue(), Some(&of_type("a"))).await.unwrap());
    assert_eq!(ids(&talk.claim(10).await), [b]);
    let stats = talk.stats().await;
    let depth = TypeDepth { task_type: "a".into(), pending: 1, paused: true };
    assert!(stats.by_type.contains(&depth) && !stats.paused);
    assert!(!talk.broker.resume(&queue(), None).await.unwrap());
    assert!(talk.claim(10).await.is_empty(), "a queue's resumption is not the type's");
    assert!(talk.broker.resume(&queue(), Some(&of_type("a"))).await.unwrap());
    assert!(!talk.broker.resume(&queue(), Some(&of_type("a"))).await.unwrap());
    assert_eq!(ids(&talk.claim(10).await), [a]);
}

async fn a_pause_lets_running_attempts_settle(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.broker.pause(&queue(), None).await.unwrap();
    let say = Say { renew: vec![claim.token.clone()], ..Say::default() };
    assert!(talk.say(say).await.lost.is_empty());
    talk.settle(done(&claim)).await;
    assert_eq!(talk.state(id).await, bulkhead_core::State::Completed);
}
