//! Unique keys: who holds one, when it is free, what becomes of the second task.

use bulkhead_core::{Conflict, State, TaskId, Terms, Unique};
use bulkhead_queue::{CancelReason, Entry, NewTask, RerunAnswer, SubmitAnswer};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    the_second_task_is_refused_or_makes_way_as_it_asks,
    a_key_is_free_when_its_task_has_ended_however_it_ended,
    a_key_stays_taken_through_retries_and_lost_leases,
    a_window_outlasts_the_end_and_ends_before_it,
    a_holder_that_is_no_longer_kept_holds_nothing,
    a_later_task_of_a_forgotten_holders_id_holds_nothing,
    replace_takes_the_place_of_what_has_not_started,
    replace_leaves_alone_what_runs_or_has_ended_in_its_window,
    what_waits_for_a_replaced_task_is_told,
    a_key_belongs_to_the_newest_task_stored_with_it,
    keys_are_their_queues_own,
    a_rerun_takes_its_key_again_if_it_is_free,
    a_rerun_leaves_its_key_if_it_is_taken,
];

fn unique(conflict: Conflict) -> NewTask {
    windowed(conflict, None)
}

fn windowed(conflict: Conflict, window_ms: Option<u64>) -> NewTask {
    let unique = Unique { key: key("u"), window_ms, conflict };
    with("a", Terms { unique: Some(unique), ..Terms::default() })
}

async fn is_held_by(talk: &Talk, id: TaskId) -> bool {
    talk.offer(unique(Conflict::Existing)).await == SubmitAnswer::Existing(id)
}

async fn the_second_task_is_refused_or_makes_way_as_it_asks(talk: Talk) {
    let holder = talk.submit(unique(Conflict::Reject)).await;
    assert_eq!(talk.offer(unique(Conflict::Reject)).await, SubmitAnswer::Taken(holder));
    assert_eq!(talk.offer(unique(Conflict::Existing)).await, SubmitAnswer::Existing(holder));
    assert_eq!(talk.drain(10).await.len(), 1);
    assert_eq!(talk.total("submitted").await, 1);
    assert!(is_held_by(&talk, holder).await, "while it runs");
    talk.is_sound().await;
}

async fn a_key_is_free_when_its_task_has_ended_however_it_ended(talk: Talk) {
    for end in [done, dead, cancelled] {
        let id = talk.submit(unique(Conflict::Reject)).await;
        let claim = talk.claim_one().await;
        assert_eq!(claim.id, id);
        talk.settle(end(&claim)).await;
    }
    let id = talk.submit(unique(Conflict::Reject)).await;
    talk.broker.cancel(&queue(), &[id], DAY_MS).await.unwrap();
    let mut expiring = unique(Conflict::Reject);
    expiring.terms.expires_at = Some(talk.now() + MINUTE_MS);
    talk.submit(expiring).await;
    talk.pass(2 * MINUTE_MS);
    assert!(talk.claim(1).await.is_empty());
    let mut orphan = unique(Conflict::Reject);
    orphan.terms.after = vec![here(fresh_id())];
    talk.submit(orphan).await;
    talk.deliver().await;
    talk.submit(unique(Conflict::Reject)).await;
    assert_eq!(talk.broker.purge(&queue(), State::Pending).await.unwrap(), 1);
    talk.submit(unique(Conflict::Reject)).await;
    talk.is_sound().await;
}

async fn a_key_stays_taken_through_retries_and_lost_leases(talk: Talk) {
    let id = talk.submit(unique(Conflict::Reject)).await;
    let claim = talk.claim_one().await;
    talk.settle(retry(&claim, MINUTE_MS)).await;
    assert!(is_held_by(&talk, id).await, "while it waits for its retry");
    talk.pass(2 * MINUTE_MS);
    talk.claim_one().await;
    talk.pass(HOUR_MS);
    let claim = talk.claim_one().await;
    assert_eq!(claim.attempt, 3, "the second lease was lost");
    assert!(is_held_by(&talk, id).await);
    talk.settle(given_back(&claim)).await;
    assert!(is_held_by(&talk, id).await);
}

async fn a_window_outlasts_the_end_and_ends_before_it(talk: Talk) {
    let id = talk.submit(windowed(Conflict::Reject, Some(HOUR_MS))).await;
    let claim = talk.claim_one().await;
    talk.settle(done(&claim)).await;
    let second = windowed(Conflict::Reject, Some(HOUR_MS));
    assert_eq!(talk.offer(second.clone()).await, SubmitAnswer::Taken(id), "it ended in its window");
    talk.pass(HOUR_MS + SECOND_MS);
    let second = talk.submit(second).await;
    assert_eq!(talk.claim_one().await.id, second);
    talk.pass(MINUTE_MS);
    assert!(is_held_by(&talk, second).await);
    talk.pass(HOUR_MS);
    let third = talk.submit(windowed(Conflict::Reject, Some(HOUR_MS))).await;
    assert!(is_held_by(&talk, third).await, "its window passed although it has not ended");
    talk.is_sound().await;
}

async fn a_holder_that_is_no_longer_kept_holds_nothing(talk: Talk) {
    talk.submit(windowed(Conflict::Reject, Some(DAY_MS))).await;
    let claim = talk.claim_one().await;
    talk.settle(done_for(&claim, 0)).await;
    let id = talk.submit(windowed(Conflict::Reject, Some(DAY_MS))).await;
    let claim = talk.claim_one().await;
    assert_eq!(claim.id, id);
    talk.settle(done_for(&claim, MINUTE_MS)).await;
    assert_eq!(talk.offer(unique(Conflict::Reject)).await, SubmitAnswer::Taken(id));
    talk.pass(2 * MINUTE_MS);
    talk.submit(unique(Conflict::Reject)).await;
}

async fn a_later_task_of_a_forgotten_holders_id_holds_nothing(talk: Talk) {
    let id = talk.submit(windowed(Conflict::Reject, Some(DAY_MS))).await;
    let claim = talk.claim_one().await;
    talk.settle(done_for(&claim, 0)).await;
    talk.submit(NewTask { id: Some(id), ..new_task("a") }).await;
    assert_eq!(talk.offer(unique(Conflict::Replace)).await, SubmitAnswer::Accepted);
    assert_eq!(talk.state(id).await, State::Pending);
}

async fn replace_takes_the_place_of_what_has_not_started(talk: Talk) {
    let parent = talk.submit(new_task("b")).await;
    let mut blocked = unique(Conflict::Reject);
    blocked.terms.after = vec![here(parent)];
    let blocked = talk.submit(blocked).await;
    let mut scheduled = unique(Conflict::Replace);
    scheduled.terms.not_before = Some(talk.now() + HOUR_MS);
    let id = fresh_id();
    scheduled.id = Some(id);
    assert_eq!(talk.offer(scheduled).await, SubmitAnswer::Replaced(blocked));
    let scheduled = id;
    let id = fresh_id();
    let pending = NewTask { id: Some(id), ..unique(Conflict::Replace) };
    assert_eq!(talk.offer(pending).await, SubmitAnswer::Replaced(scheduled));
    let pending = id;
    let last = fresh_id();
    let task = NewTask { id: Some(last), ..unique(Conflict::Replace) };
    assert_eq!(talk.offer(task).await, SubmitAnswer::Replaced(pending));
    for (old, new) in [(blocked, scheduled), (scheduled, pending), (pending, last)] {
        let view = talk.view(old).await;
        assert_eq!(view.state, State::Cancelled);
        let [Entry::Cancelled { reason, .. }] = &view.history[..] else {
            panic!("{:?}", view.history)
        };
        assert_eq!(*reason, Some(CancelReason::ReplacedBy(new)));
    }
    assert_eq!(ids(&talk.claim_of(&["a"], 10).await), [last]);
    assert_eq!(talk.total("cancelled").await, 3);
    talk.is_sound().await;
}

async fn replace_leaves_alone_what_runs_or_has_ended_in_its_window(talk: Talk) {
    let id = talk.submit(windowed(Conflict::Reject, Some(HOUR_MS))).await;
    let claim = talk.claim_one().await;
    assert_eq!(talk.offer(unique(Conflict::Replace)).await, SubmitAnswer::Existing(id));
    talk.settle(done(&claim)).await;
    assert_eq!(talk.offer(unique(Conflict::Replace)).await, SubmitAnswer::Existing(id));
    assert_eq!(talk.state(id).await, State::Completed);
}

async fn what_waits_for_a_replaced_task_is_told(talk: Talk) {
    let parent = talk.submit(unique(Conflict::Reject)).await;
    let child = talk.submit(with("b", after(&[here(parent)]))).await;
    assert!(talk.offer(unique(Conflict::Replace)).await.is_new());
    talk.deliver().await;
    assert_eq!(talk.state(child).await, State::Failed);
}

async fn a_key_belongs_to_the_newest_task_stored_with_it(talk: Talk) {
    let old = talk.submit(windowed(Conflict::Reject, Some(MINUTE_MS))).await;
    let claim = talk.claim_one().await;
    talk.pass(2 * MINUTE_MS);
    let new = talk.submit(unique(Conflict::Reject)).await;
    talk.settle(done(&claim)).await;
    assert_eq!(talk.state(old).await, State::Completed);
    assert!(is_held_by(&talk, new).await, "the end of the old holder frees nothing");
}

async fn keys_are_their_queues_own(talk: Talk) {
    talk.submit(unique(Conflict::Reject)).await;
    talk.submit(NewTask { queue: queue_named("other"), ..unique(Conflict::Reject) }).await;
}

async fn a_rerun_takes_its_key_again_if_it_is_free(talk: Talk) {
    let id = talk.submit(unique(Conflict::Reject)).await;
    let claim = talk.claim_one().await;
    talk.settle(dead(&claim)).await;
    talk.broker.rerun(&queue(), &[id]).await.unwrap();
    assert_eq!(talk.offer(unique(Conflict::Reject)).await, SubmitAnswer::Taken(id));
    let claim = talk.claim_one().await;
    talk.settle(done(&claim)).await;
    talk.submit(unique(Conflict::Reject)).await;
    talk.is_sound().await;
}

async fn a_rerun_leaves_its_key_if_it_is_taken(talk: Talk) {
    let old = talk.submit(unique(Conflict::Reject)).await;
    let claim = talk.claim_one().await;
    talk.settle(dead(&claim)).await;
    let new = talk.submit(unique(Conflict::Reject)).await;
    assert_eq!(talk.broker.rerun(&queue(), &[old]).await.unwrap(), [RerunAnswer::InLine]);
    let claims = talk.claim(10).await;
    assert_eq!(claims.len(), 2);
    let of_old = claims.iter().find(|claim| claim.id == old).unwrap();
    let say = Say { settle: vec![done(of_old)], ..Say::default() };
    assert!(talk.say(say).await.stale.is_empty());
    assert!(is_held_by(&talk, new).await);
    talk.is_sound().await;
}
