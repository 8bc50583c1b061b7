//! Retention: how long what has ended is kept.

use bulkhead_core::State;
use bulkhead_queue::{End, Settlement};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    a_completed_task_is_kept_for_its_retention,
    a_result_with_no_retention_is_forgotten_at_once,
    a_dead_letter_is_kept_at_least_a_second,
    a_dead_letter_is_forgotten_after_its_retention,
    an_expired_task_is_kept_for_its_own_retention,
    what_was_forgotten_is_listed_nowhere,
];

async fn a_completed_task_is_kept_for_its_retention(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.settle(done_for(&claim, HOUR_MS)).await;
    let kept_until = talk.view(id).await.kept_until.unwrap();
    let expected = talk.now() + HOUR_MS;
    assert!(kept_until <= expected && kept_until > expected - MINUTE_MS);
    talk.pass(59 * MINUTE_MS);
    assert_eq!(talk.state(id).await, State::Completed);
    talk.pass(2 * MINUTE_MS);
    assert!(talk.find(id).await.is_none());
    talk.is_sound().await;
}

async fn a_result_with_no_retention_is_forgotten_at_once(talk: Talk) {
    for end in [done_for as fn(&_, _) -> Settlement, |claim, retention_ms| {
        failed(claim, |report| End::Cancel { report, retention_ms })
    }] {
        let id = talk.submit(new_task("a")).await;
        let claim = talk.claim_one().await;
        talk.settle(end(&claim, 0)).await;
        assert!(talk.find(id).await.is_none());
    }
    talk.is_sound().await;
}

async fn a_dead_letter_is_kept_at_least_a_second(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.settle(failed(&claim, |report| End::DeadLetter { report, retention_ms: 0 })).await;
    assert_eq!(talk.state(id).await, State::Failed);
    talk.pass(2 * SECOND_MS);
    assert!(talk.find(id).await.is_none());
    talk.is_sound().await;
}

async fn a_dead_letter_is_forgotten_after_its_retention(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.settle(failed(&claim, |report| End::DeadLetter { report, retention_ms: HOUR_MS })).await;
    talk.pass(59 * MINUTE_MS);
    assert_eq!(talk.state(id).await, State::Failed);
    talk.pass(2 * MINUTE_MS);
    assert!(talk.find(id).await.is_none());
    talk.claim(1).await;
    assert_eq!(talk.stats().await.failed, 0);
    talk.is_sound().await;
}

async fn an_expired_task_is_kept_for_its_own_retention(talk: Talk) {
    let mut terms = expiring(talk.now() - 1);
    terms.retention_ms = Some(HOUR_MS);
    let id = talk.submit(with("a", terms)).await;
    talk.pass(59 * MINUTE_MS);
    assert_eq!(talk.state(id).await, State::Expired);
    talk.pass(2 * MINUTE_MS);
    assert!(talk.find(id).await.is_none());
}

async fn what_was_forgotten_is_listed_nowhere(talk: Talk) {
    for end in [
        |claim: &_| done_for(claim, MINUTE_MS),
        |claim: &_| failed(claim, |report| End::DeadLetter { report, retention_ms: MINUTE_MS }),
        |claim: &_| failed(claim, |report| End::Cancel { report, retention_ms: MINUTE_MS }),
    ] as [fn(&bulkhead_queue::Claim) -> Settlement; 3]
    {
        talk.submit(new_task("a")).await;
        let claim = talk.claim_one().await;
        talk.settle(end(&claim)).await;
    }
    talk.pass(HOUR_MS);
    for state in [State::Completed, State::Failed, State::Cancelled] {
        assert!(talk.list(state).await.is_empty(), "{state}");
    }
}
