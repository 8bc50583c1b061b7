//! Reruns: fresh attempts for what has ended, a start now for what waits.

use bulkhead_core::{Payload, QueuePolicy, State, TenantPolicy};
use bulkhead_queue::{Entry, RerunAnswer};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    ended_tasks_get_fresh_attempts_and_keep_their_history,
    every_ended_state_can_be_run_again,
    a_scheduled_task_starts_now,
    what_is_in_line_or_runs_is_left_alone,
    an_ended_task_may_get_another_payload,
    a_task_that_has_not_ended_keeps_its_payload,
    a_rerun_is_not_bound_by_quotas_and_counts_again,
    a_rerun_no_longer_expires,
    a_rerun_is_kept_anew_after_its_end,
    a_rerun_goes_through_its_lane,
];

async fn ended_tasks_get_fresh_attempts_and_keep_their_history(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    for _ in 0..2 {
        let claim = talk.claim_one().await;
        talk.settle(retry(&claim, 0)).await;
    }
    let claim = talk.claim_one().await;
    talk.settle(dead(&claim)).await;
    let answers = talk.broker.rerun(&queue(), &[id, fresh_id()]).await.unwrap();
    assert_eq!(answers, [RerunAnswer::InLine, RerunAnswer::Unknown]);
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts(), view.kept_until), (State::Pending, 0, None));
    assert!(matches!(view.history[3], Entry::Rerun { .. }));
    let claim = talk.claim_one().await;
    assert_eq!((claim.id, claim.attempt), (id, 1), "fresh attempts");
    talk.settle(done(&claim)).await;
    assert_eq!(talk.history(id).await.len(), 5);
    assert_eq!(talk.stats().await.failed, 0);
    assert_eq!(talk.total("replayed").await, 1);
    talk.is_sound().await;
}

async fn every_ended_state_can_be_run_again(talk: Talk) {
    let mut ended = Vec::new();
    for end in [done, dead, cancelled] {
        ended.push(talk.submit(new_task("a")).await);
        let claim = talk.claim_one().await;
        talk.settle(end(&claim)).await;
    }
    ended.push(talk.submit(with("a", expiring(talk.now() - 1))).await);
    let answers = talk.broker.rerun(&queue(), &ended).await.unwrap();
    assert_eq!(answers, [RerunAnswer::InLine; 4]);
    assert_eq!(talk.drain(10).await.len(), 4);
    for state in [State::Completed, State::Failed, State::Cancelled, State::Expired] {
        assert!(talk.list(state).await.is_empty(), "{state}");
    }
    talk.is_sound().await;
}

async fn a_scheduled_task_starts_now(talk: Talk) {
    let id = talk.submit(with("a", starting(talk.now() + DAY_MS))).await;
    let answers = talk.broker.rerun(&queue(), &[id]).await.unwrap();
    assert_eq!(answers, [RerunAnswer::InLine]);
    let view = talk.view(id).await;
    assert_eq!((view.state, view.due_at), (State::Pending, None));
    assert_eq!(talk.claim_one().await.id, id);
    talk.is_sound().await;
}

async fn what_is_in_line_or_runs_is_left_alone(talk: Talk) {
    let running = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let pending = talk.submit(new_task("a")).await;
    let answers = talk.broker.rerun(&queue(), &[running, pending]).await.unwrap();
    assert_eq!(answers, [RerunAnswer::Active; 2]);
    assert!(talk.history(running).await.is_empty());
    talk.settle(done(&claim)).await;
    talk.is_sound().await;
}

async fn an_ended_task_may_get_another_payload(talk: Talk) {
    let id = talk.submit(of_tenant("a", "acme")).await;
    let claim = talk.claim_one().await;
    let before = claim.task.as_deref().unwrap().clone();
    talk.settle(dead(&claim)).await;
    let payload = Payload::new(Payload::JSON, "{}");
    let answer = talk.broker.rerun_edited(&queue(), id, payload.clone()).await.unwrap();
    assert_eq!(answer, RerunAnswer::InLine);
    let claim = talk.claim_one().await;
    assert_eq!(claim.attempt, 1);
    let expected = bulkhead_core::Task { payload, ..before };
    assert_eq!(claim.task.as_deref().unwrap(), &expected);
    assert_eq!(talk.history(id).await.len(), 2, "the old attempt stays on record");
    let unknown = talk.broker.rerun_edited(&queue(), fresh_id(), Payload::default()).await;
    assert_eq!(unknown.unwrap(), RerunAnswer::Unknown);
    talk.is_sound().await;
}

async fn a_task_that_has_not_ended_keeps_its_payload(talk: Talk) {
    let scheduled = talk.submit(with("a", starting(talk.now() + DAY_MS))).await;
    let pending = talk.submit(new_task("a")).await;
    for id in [scheduled, pending] {
        let before = talk.view(id).await;
        let answer = talk.broker.rerun_edited(&queue(), id, Payload::default()).await.unwrap();
        assert_eq!(answer, RerunAnswer::Active);
        assert_eq!(talk.view(id).await, before);
    }
}

async fn a_rerun_is_not_bound_by_quotas_and_counts_again(talk: Talk) {
    let id = talk.completed(new_task("a")).await;
    let quota = TenantPolicy { pending: Some(1), ..TenantPolicy::default() };
    talk.set_policy(QueuePolicy { other_tenants: Some(quota), ..QueuePolicy::default() }).await;
    talk.submit(new_task("a")).await;
    assert_eq!(talk.broker.rerun(&queue(), &[id]).await.unwrap(), [RerunAnswer::InLine]);
    assert_eq!(talk.stats().await.by_tenant[0].open, 2);
    for claim in talk.claim(10).await {
        talk.settle(done(&claim)).await;
    }
    assert!(talk.offer(new_task("a")).await.is_new());
    talk.is_sound().await;
}

async fn a_rerun_no_longer_expires(talk: Talk) {
    let id = talk.submit(with("a", expiring(talk.now() - 1))).await;
    assert_eq!(talk.state(id).await, State::Expired);
    talk.broker.rerun(&queue(), &[id]).await.unwrap();
    talk.pass(HOUR_MS);
    assert_eq!(talk.claim_one().await.id, id);
}

async fn a_rerun_is_kept_anew_after_its_end(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.settle(done_for(&claim, HOUR_MS)).await;
    talk.broker.rerun(&queue(), &[id]).await.unwrap();
    talk.pass(2 * HOUR_MS);
    assert_eq!(talk.state(id).await, State::Pending, "what has not ended is not forgotten");
    let claim = talk.claim_one().await;
    talk.settle(done_for(&claim, HOUR_MS)).await;
    assert_eq!(talk.list(State::Completed).await, [id]);
    talk.pass(30 * MINUTE_MS);
    assert_eq!(talk.state(id).await, State::Completed);
}

async fn a_rerun_goes_through_its_lane(talk: Talk) {
    let keys = [("k".to_owned(), at_once(1))].into();
    talk.set_policy(QueuePolicy { keys, ..QueuePolicy::default() }).await;
    let first = talk.submit(keyed("a", "k")).await;
    let claim = talk.claim_one().await;
    talk.settle(dead(&claim)).await;
    talk.submit(keyed("a", "k")).await;
    let claim = talk.claim_one().await;
    talk.broker.rerun(&queue(), &[first]).await.unwrap();
    assert!(talk.claim(10).await.is_empty());
    talk.settle(done(&claim)).await;
    assert_eq!(ids(&talk.claim(10).await), [first]);
    talk.is_sound().await;
}
