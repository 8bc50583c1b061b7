//! Results that are remembered, and waiting for results.

use std::time::Duration;

use bulkhead_core::{Payload, State};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    a_result_is_remembered_for_so_long,
    results_are_their_queues_own,
    waiters_hear_of_ends,
    waiting_for_many_hands_each_over_once,
    waiting_ends_with_its_time,
    watching_tells_what_is_known,
];

async fn a_result_is_remembered_for_so_long(talk: Talk) {
    let recall = async |key| talk.broker.recall(&queue(), key).await.unwrap();
    assert_eq!(recall("k").await, None);
    let output = Payload::new("image/png", vec![0, 255]);
    talk.broker.remember(&queue(), "k", &output, HOUR_MS).await.unwrap();
    assert_eq!(recall("k").await, Some(output.clone()));
    assert_eq!(recall("kk").await, None);
    let newer = Payload::new(Payload::TEXT, "newer");
    talk.broker.remember(&queue(), "k", &newer, HOUR_MS).await.unwrap();
    assert_eq!(recall("k").await, Some(newer.clone()));
    talk.pass(59 * MINUTE_MS);
    assert_eq!(recall("k").await, Some(newer));
    talk.pass(2 * MINUTE_MS);
    assert_eq!(recall("k").await, None);
}

async fn results_are_their_queues_own(talk: Talk) {
    let output = Payload::new(Payload::TEXT, "x");
    talk.broker.remember(&queue(), "k", &output, HOUR_MS).await.unwrap();
    assert_eq!(talk.broker.recall(&queue_named("other"), "k").await.unwrap(), None);
}

async fn waiters_hear_of_ends(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let queue = queue();
    let wait = talk.client.wait(&queue, id, Duration::from_secs(20));
    let (waited, ()) = tokio::join!(wait, async {
        let claim = talk.claim_one().await;
        talk.settle(done(&claim)).await;
    });
    assert_eq!(waited.unwrap().unwrap().state, State::Completed);
    let late = talk.client.wait(&queue, id, Duration::from_secs(20)).await.unwrap();
    assert_eq!(late.unwrap().state, State::Completed, "waiting for what has ended");
    let never = talk.client.wait(&queue, fresh_id(), Duration::from_secs(20)).await.unwrap();
    assert!(never.is_none(), "waiting for what is not there ends at once");
}

async fn waiting_for_many_hands_each_over_once(talk: Talk) {
    let sent = talk.submit_many((0..4).map(|_| new_task("a")).collect()).await;
    let late = talk.submit(with("a", expiring(talk.now() - 1))).await;
    let waiting: Vec<_> = sent.iter().copied().chain([late]).collect();
    let mut heard = Vec::new();
    let queue = queue();
    let wait = talk.client.wait_each(&queue, &waiting, Duration::from_secs(20), |view| {
        heard.push((view.id, view.state));
    });
    let (open, ()) = tokio::join!(wait, async {
        let claims = talk.claim(10).await;
        let ends = [done, dead, cancelled];
        let settle = claims.iter().zip(ends).map(|(claim, end)| end(claim)).collect();
        talk.say(Say { settle, ..Say::default() }).await;
        talk.broker.cancel(&queue, &[claims[3].id], DAY_MS).await.unwrap();
        talk.settle(given_back(&claims[3])).await;
    });
    assert!(open.unwrap().is_empty());
    heard.sort_by_key(|(id, _)| *id);
    let mut states: Vec<State> = heard.iter().map(|(_, state)| *state).collect();
    states.sort_by_key(|state| state.as_str());
    use State::{Cancelled, Completed, Expired, Failed};
    assert_eq!(states, [Cancelled, Cancelled, Completed, Expired, Failed]);
    heard.dedup_by_key(|(id, _)| *id);
    assert_eq!(heard.len(), 5);
}

async fn waiting_ends_with_its_time(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let waited = talk.client.wait(&queue(), id, Duration::from_millis(50)).await.unwrap();
    assert!(waited.is_none());
}

async fn watching_tells_what_is_known(talk: Talk) {
    let open = talk.submit(new_task("a")).await;
    let ended = talk.submit(with("a", expiring(talk.now() - 1))).await;
    let known = talk.broker.watch(&queue(), &[open, fresh_id(), ended]).await.unwrap();
    assert_eq!(known, [true, false, true]);
}
