//! Expiry: a task that no attempt was claimed of in time ends.

use bulkhead_core::{QueuePolicy, State};
use bulkhead_queue::{Entry, NewTask};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    a_pending_task_expires_instead_of_being_handed_out,
    a_scheduled_task_expires,
    a_blocked_task_expires,
    a_task_in_a_lane_expires,
    a_task_that_nobody_serves_expires,
    a_task_claimed_in_time_no_longer_expires,
    expiry_makes_room_for_what_is_in_time,
    what_waits_for_an_expired_task_is_told,
];

/// Steps until a task has ended; each step is bounded, so it may take a few.
async fn ends(talk: &Talk, id: bulkhead_core::TaskId) -> State {
    for _ in 0..5 {
        assert!(talk.claim(10).await.is_empty());
        let state = talk.state(id).await;
        if state.is_terminal() {
            return state;
        }
    }
    panic!("it is still {}", talk.state(id).await);
}

async fn a_pending_task_expires_instead_of_being_handed_out(talk: Talk) {
    let id = talk.submit(with("a", expiring(talk.now() + MINUTE_MS))).await;
    assert_eq!(talk.state(id).await, State::Pending);
    talk.pass(2 * MINUTE_MS);
    assert_eq!(ends(&talk, id).await, State::Expired);
    let view = talk.view(id).await;
    assert!(matches!(view.history[..], [Entry::Expired { .. }]));
    assert!(view.kept_until.is_some());
    assert_eq!(talk.list(State::Expired).await, [id]);
    assert_eq!(talk.total("expired").await, 1);
    assert_eq!(talk.stats().await.pending, 0);
    talk.is_sound().await;
}

async fn a_scheduled_task_expires(talk: Talk) {
    let now = talk.now();
    let mut terms = starting(now + MINUTE_MS);
    terms.expires_at = Some(now + 2 * MINUTE_MS);
    let id = talk.submit(with("a", terms)).await;
    assert_eq!(talk.state(id).await, State::Scheduled);
    talk.pass(3 * MINUTE_MS);
    assert_eq!(ends(&talk, id).await, State::Expired);
    talk.is_sound().await;
}

async fn a_blocked_task_expires(talk: Talk) {
    let parent = talk.submit(with("a", starting(talk.now() + DAY_MS))).await;
    let mut terms = after(&[here(parent)]);
    terms.expires_at = Some(talk.now() + MINUTE_MS);
    let id = talk.submit(with("a", terms)).await;
    assert_eq!(talk.state(id).await, State::Blocked);
    talk.pass(2 * MINUTE_MS);
    assert_eq!(ends(&talk, id).await, State::Expired);
    assert_eq!(talk.stats().await.blocked, 0);
    talk.is_sound().await;
}

async fn a_task_in_a_lane_expires(talk: Talk) {
    let keys = [("k".to_owned(), at_once(1))].into();
    talk.set_policy(QueuePolicy { keys, ..QueuePolicy::default() }).await;
    talk.submit(keyed("a", "k")).await;
    talk.claim_one().await;
    let mut held_back = keyed("a", "k");
    held_back.terms.expires_at = Some(talk.now() + MINUTE_MS);
    let id = talk.submit(held_back).await;
    talk.pass(2 * MINUTE_MS);
    assert_eq!(ends(&talk, id).await, State::Expired);
    talk.is_sound().await;
}

async fn a_task_that_nobody_serves_expires(talk: Talk) {
    let id = talk.submit(with("nobody", expiring(talk.now() + MINUTE_MS))).await;
    talk.pass(2 * MINUTE_MS);
    assert_eq!(ends(&talk, id).await, State::Expired);
    talk.is_sound().await;
}

async fn a_task_claimed_in_time_no_longer_expires(talk: Talk) {
    let retried = talk.submit(with("a", expiring(talk.now() + MINUTE_MS))).await;
    let claim = talk.claim_one().await;
    talk.settle(retry(&claim, 2 * MINUTE_MS)).await;
    let returned = talk.submit(with("a", expiring(talk.now() + MINUTE_MS))).await;
    let claim = talk.claim_one().await;
    talk.settle(given_back(&claim)).await;
    let lost = talk.submit(with("b", expiring(talk.now() + MINUTE_MS))).await;
    assert_eq!(talk.claim_of(&["b"], 1).await.len(), 1);
    talk.pass(HOUR_MS);
    let mut claimed = ids(&talk.claim(10).await);
    claimed.sort();
    let mut expected = [retried, returned, lost];
    expected.sort();
    assert_eq!(claimed, expected);
    talk.is_sound().await;
}

async fn expiry_makes_room_for_what_is_in_time(talk: Talk) {
    let late: Vec<NewTask> = (0..40).map(|_| with("a", expiring(talk.now() + MINUTE_MS))).collect();
    talk.submit_many(late).await;
    talk.pass(2 * MINUTE_MS);
    let id = talk.submit(new_task("a")).await;
    let mut claimed = Vec::new();
    for _ in 0..50 {
        claimed.extend(ids(&talk.claim(1).await));
    }
    assert_eq!(claimed, [id]);
    assert_eq!(talk.total("expired").await, 40);
}

async fn what_waits_for_an_expired_task_is_told(talk: Talk) {
    let parent = talk.submit(with("a", expiring(talk.now() + MINUTE_MS))).await;
    let child = talk.submit(with("b", after(&[here(parent)]))).await;
    talk.pass(2 * MINUTE_MS);
    assert!(talk.say(Say { want: 1, types: &["a"], ..Say::default() }).await.claims.is_empty());
    talk.deliver().await;
    assert_eq!(talk.state(child).await, State::Failed);
}
