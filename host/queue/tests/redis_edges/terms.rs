//! Unique keys, expiry, quotas, retention, edits.

use bulkhead_core::{
    Conflict, Payload, QueuePolicy, State, Task, TenantPolicy, TermKey, Terms, Unique,
};
use bulkhead_queue::{Broker, CancelAnswer, CancelReason, Entry, RerunAnswer, SubmitAnswer};
use bulkhead_stage::eventually;

use crate::stage::*;

const HOUR_MS: u64 = 3_600_000;

fn unique(conflict: Conflict, window_ms: Option<u64>) -> Task {
    let unique = Unique { key: TermKey::new("only").unwrap(), window_ms, conflict };
    task(Terms { unique: Some(unique), ..Terms::default() })
}

#[tokio::test]
async fn a_unique_key_is_held_until_the_end() {
    let talk = Talk::new().await;
    let first = unique(Conflict::Reject, None);
    let second = unique(Conflict::Reject, None);
    let third = unique(Conflict::Existing, None);
    // Tasks of one call see each other.
    let answers = talk.broker.submit(&[first.clone(), second.clone(), third]).await.unwrap();
    let of_first = [SubmitAnswer::Taken(first.id), SubmitAnswer::Existing(first.id)];
    assert_eq!(answers, [SubmitAnswer::Accepted, of_first[0], of_first[1]]);
    assert_eq!(talk.submit(&first).await, SubmitAnswer::Known);
    let claim = talk.claim_one().await;
    assert_eq!(talk.submit(&second).await, of_first[0], "a running holder");
    talk.settle(retry(&claim, 60_000)).await;
    assert_eq!(talk.submit(&second).await, of_first[0], "a holder that will be retried");
    assert_eq!(
        talk.broker.cancel(&queue(), &[first.id], DAY_MS).await.unwrap(),
        [CancelAnswer::Cancelled]
    );
    assert_eq!(talk.submit(&second).await, SubmitAnswer::Accepted);
    talk.settle(done(&talk.claim_one().await)).await;
    assert_eq!(talk.open().await, 0);
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_replaced_holder_is_cancelled_and_a_running_one_stays() {
    let talk = Talk::new().await;
    let [first, second, third] = [(); 3].map(|()| unique(Conflict::Replace, None));
    let answers = talk.broker.submit(&[first.clone(), second.clone()]).await.unwrap();
    assert_eq!(answers, [SubmitAnswer::Accepted, SubmitAnswer::Replaced(first.id)]);
    let view = talk.view(first.id).await;
    assert_eq!(view.state, State::Cancelled);
    let Some(Entry::Cancelled { reason, .. }) = view.history.last() else { panic!("{view:?}") };
    assert_eq!(*reason, Some(CancelReason::ReplacedBy(second.id)));
    let claim = talk.claim_one().await;
    assert_eq!(claim.id, second.id);
    assert_eq!(talk.submit(&third).await, SubmitAnswer::Existing(second.id));
    talk.settle(done(&claim)).await;
    // A rerun takes the free key again.
    talk.broker.rerun(&queue(), &[first.id]).await.unwrap();
    assert_eq!(talk.submit(&third).await, SubmitAnswer::Replaced(first.id));
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_window_holds_a_key_beyond_the_end_and_no_longer() {
    let talk = Talk::new().await;
    let first = unique(Conflict::Reject, Some(HOUR_MS));
    let second = unique(Conflict::Reject, Some(HOUR_MS));
    assert!(talk.submit(&first).await.is_new());
    talk.settle(done(&talk.claim_one().await)).await;
    assert_eq!(talk.submit(&second).await, SubmitAnswer::Taken(first.id));
    talk.pass(2 * HOUR_MS);
    assert!(talk.submit(&second).await.is_new());
    // A holder that is no longer kept holds nothing.
    talk.settle(kept(&talk.claim_one().await, 0)).await;
    assert!(talk.submit(&unique(Conflict::Reject, None)).await.is_new());
}

#[tokio::test]
async fn what_is_not_started_in_time_expires() {
    let talk = Talk::new().await;
    let expiring = |at| task(Terms { expires_at: Some(at), ..Terms::default() });
    let late = expiring(talk.now() - 1);
    assert_eq!(talk.submit(&late).await, SubmitAnswer::Accepted);
    assert_eq!(talk.state(late.id).await, State::Expired);

    let soon = expiring(talk.now() + HOUR_MS);
    let mut delayed = expiring(talk.now() + HOUR_MS);
    delayed.terms.not_before = Some(talk.now() + DAY_MS);
    talk.broker.submit(&[soon.clone(), delayed.clone()]).await.unwrap();
    talk.broker.pause(&queue(), None).await.unwrap();
    assert!(talk.claim(1).await.is_empty());
    assert_eq!(talk.state(soon.id).await, State::Pending);
    talk.pass(2 * HOUR_MS);
    eventually("both expire", || async {
        let stepped = talk.step_in(&queue(), vec![], &[], 1).await;
        assert!(stepped.claims.is_empty());
        let states = [talk.state(soon.id).await, talk.state(delayed.id).await];
        (states == [State::Expired; 2]).then_some(())
    })
    .await;
    talk.broker.resume(&queue(), None).await.unwrap();
    assert!(matches!(talk.view(soon.id).await.history[..], [Entry::Expired { .. }]));
    let stats = talk.broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.totals["expired"], stats.pending, stats.scheduled), (3, 0, 0));
    assert_eq!(talk.open().await, 0);

    // A rerun is not concerned, nor is a task that was claimed in time.
    assert_eq!(talk.broker.rerun(&queue(), &[soon.id]).await.unwrap(), [RerunAnswer::InLine]);
    let claim = talk.claim_one().await;
    assert_eq!(claim.id, soon.id);
    talk.settle(done(&claim)).await;
    let claimed = expiring(talk.now() + HOUR_MS);
    talk.submit(&claimed).await;
    let claim = talk.claim_one().await;
    talk.settle(retry(&claim, 2 * HOUR_MS)).await;
    talk.pass(2 * HOUR_MS);
    let again = talk.claim_one().await;
    assert_eq!((again.id, again.attempt), (claimed.id, 2));
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_tenants_quotas_refuse_what_is_over_them() {
    let talk = Talk::new().await;
    let small = TenantPolicy { pending: Some(2), payload_bytes: Some(200), ..Default::default() };
    let tenants = [(tenant("small"), small)].into();
    talk.policy(QueuePolicy { tenants, ..Default::default() }).await;
    let of_small = || Task { tenant: tenant("small"), ..plain() };
    let mut large = of_small();
    large.payload.data = vec![b'x'; 300];
    let answers = [of_small(), large, of_small(), of_small(), plain()];
    let answers = talk.broker.submit(&answers).await.unwrap();
    use SubmitAnswer::{Accepted, OverPayload, OverPending};
    assert_eq!(answers, [Accepted, OverPayload, Accepted, OverPending, Accepted]);
    // Running tasks count, ended ones do not.
    let claims = talk.claim(3).await;
    assert_eq!(talk.submit(&of_small()).await, OverPending);
    let of_tenant =
        |claim: &&bulkhead_queue::Claim| claim.task.as_ref().unwrap().tenant == tenant("small");
    talk.settle(done(claims.iter().find(of_tenant).unwrap())).await;
    assert_eq!(talk.submit(&of_small()).await, Accepted);
    let open = talk.broker.stats(&queue()).await.unwrap().by_tenant;
    assert_eq!(
        open.iter().map(|t| (&*t.tenant, t.open)).collect::<Vec<_>>(),
        [("small", 2), ("default", 1)]
    );
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_tasks_own_retention_counts_when_nobody_settles_it() {
    let talk = Talk::new().await;
    let forgotten = task(Terms { retention_ms: Some(0), ..Terms::default() });
    let long = task(Terms { retention_ms: Some(2 * DAY_MS), ..Terms::default() });
    let ids = [talk.store(&forgotten).await, talk.store(&long).await];
    talk.broker.cancel(&queue(), &ids, DAY_MS).await.unwrap();
    assert!(talk.view_in(&forgotten.task_ref()).await.is_none());
    assert!(talk.view(long.id).await.kept_until.unwrap() > talk.now() + DAY_MS + HOUR_MS);
}

#[tokio::test]
async fn an_ended_task_runs_again_with_another_payload() {
    let talk = Talk::new().await;
    let id = talk.store(&plain()).await;
    let payload = || Payload::new(Payload::TEXT, "edited and longer");
    let queue = queue();
    let edit = || talk.broker.rerun_edited(&queue, id, payload());
    assert_eq!(edit().await.unwrap(), RerunAnswer::Active);
    let claim = talk.claim_one().await;
    assert_eq!(edit().await.unwrap(), RerunAnswer::Active);
    talk.settle(dead(&claim)).await;
    assert_eq!(edit().await.unwrap(), RerunAnswer::InLine);
    let claim = talk.claim_one().await;
    assert_eq!((claim.id, claim.attempt), (id, 1));
    assert_eq!(claim.task.as_ref().unwrap().payload, payload());
    assert_eq!(talk.view(id).await.history.len(), 2, "the old attempt and the rerun");
    let unknown = talk.broker.rerun_edited(&queue, crate::stage::fresh_id(), payload()).await;
    assert_eq!(unknown.unwrap(), RerunAnswer::Unknown);
}

#[tokio::test]
async fn more_settlements_than_one_call_holds_are_all_told_apart() {
    let talk = Talk::new().await;
    let tasks: Vec<Task> = (0..1_200).map(|_| plain()).collect();
    talk.broker.submit(&tasks).await.unwrap();
    let mut claims = talk.claim(1_000).await;
    claims.extend(talk.claim(1_000).await);
    assert_eq!(claims.len(), 1_200);
    for stale in [3, 700] {
        talk.settle(done(&claims[stale])).await;
    }
    let stepped = talk.step_in(&queue(), claims.iter().map(done).collect(), &[], 0).await;
    assert_eq!(stepped.stale, [3, 700]);
    assert_eq!(talk.broker.stats(&queue()).await.unwrap().totals["completed"], 1_200);
    assert_eq!(talk.open().await, 0);
}
