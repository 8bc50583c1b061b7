//! Cancelling: what waits ends at once, what runs is asked to stop.

use std::time::Duration;

use bulkhead_core::State;
use bulkhead_queue::{CancelAnswer, Entry, Signal, Topic};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    what_waits_is_cancelled_and_what_runs_is_asked,
    a_cancelled_task_is_kept_as_long_as_asked,
    a_host_hears_of_a_cancellation_by_signal,
    cancelling_twice_is_answered_by_how_it_stands,
];

async fn what_waits_is_cancelled_and_what_runs_is_asked(talk: Talk) {
    let running = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let pending = talk.submit(new_task("a")).await;
    let scheduled = talk.submit(with("a", starting(talk.now() + DAY_MS))).await;
    let blocked = talk.submit(with("a", after(&[here(running)]))).await;
    let ended = talk.submit(new_task("b")).await;
    let claimed = talk.claim_of(&["b"], 1).await.remove(0);
    talk.settle(done(&claimed)).await;
    let asked = [running, pending, scheduled, blocked, ended, fresh_id()];
    let answers = talk.broker.cancel(&queue(), &asked, DAY_MS).await.unwrap();
    use CancelAnswer::{AlreadyEnded, Cancelled, Requested, Unknown};
    assert_eq!(answers, [Requested, Cancelled, Cancelled, Cancelled, AlreadyEnded, Unknown]);
    for id in [pending, scheduled, blocked] {
        let view = talk.view(id).await;
        assert_eq!(view.state, State::Cancelled);
        assert!(matches!(view.history[..], [Entry::Cancelled { reason: None, .. }]));
        assert!(view.due_at.is_none() && view.waits_for.is_empty());
    }
    assert!(talk.claim(10).await.is_empty(), "a cancelled task is not claimed");
    let renew = Say { renew: vec![claim.token.clone()], ..Say::default() };
    assert_eq!(talk.say(renew).await.cancel, [running]);
    assert!(talk.view(running).await.cancel_requested);
    talk.settle(cancelled(&claim)).await;
    assert_eq!(talk.state(running).await, State::Cancelled);
    assert_eq!(talk.list(State::Cancelled).await.len(), 4);
    talk.is_sound().await;
}

async fn a_cancelled_task_is_kept_as_long_as_asked(talk: Talk) {
    let kept = talk.submit(new_task("a")).await;
    let forgotten = talk.submit(new_task("a")).await;
    let mut own = with("a", Default::default());
    own.terms.retention_ms = Some(MINUTE_MS);
    let own = talk.submit(own).await;
    talk.broker.cancel(&queue(), &[kept, own], HOUR_MS).await.unwrap();
    talk.broker.cancel(&queue(), &[forgotten], 0).await.unwrap();
    assert!(talk.find(forgotten).await.is_none());
    talk.pass(2 * MINUTE_MS);
    assert!(talk.find(own).await.is_none(), "its own retention comes before its queue's");
    assert_eq!(talk.state(kept).await, State::Cancelled);
    talk.pass(HOUR_MS);
    assert!(talk.find(kept).await.is_none());
    talk.is_sound().await;
}

async fn a_host_hears_of_a_cancellation_by_signal(talk: Talk) {
    let mut signals = talk.broker.subscribe(Topic::Cancel, vec![queue()]);
    assert_eq!(signals.recv().await, Some(Signal::Connected));
    let id = talk.submit(new_task("a")).await;
    talk.claim_one().await;
    talk.broker.cancel(&queue(), &[id], DAY_MS).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(20), signals.recv()).await;
    assert_eq!(heard.unwrap(), Some(Signal::Task(queue(), id)));
}

async fn cancelling_twice_is_answered_by_how_it_stands(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    for _ in 0..2 {
        let answers = talk.broker.cancel(&queue(), &[id], DAY_MS).await.unwrap();
        assert_eq!(answers, [CancelAnswer::Requested]);
    }
    talk.settle(cancelled(&claim)).await;
    let answers = talk.broker.cancel(&queue(), &[id, id], DAY_MS).await.unwrap();
    assert_eq!(answers, [CancelAnswer::AlreadyEnded, CancelAnswer::AlreadyEnded]);
    talk.is_sound().await;
}
