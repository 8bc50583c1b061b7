//! Purging states, dropping dead letters.

use bulkhead_core::{QueuePolicy, State};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    purging_removes_one_state_only,
    each_waiting_state_can_be_purged,
    what_a_lane_holds_back_is_purged_with_what_is_pending,
    only_some_states_can_be_purged,
    purged_tasks_count_no_longer,
    dead_letters_are_dropped_and_nothing_else,
];

async fn purging_removes_one_state_only(talk: Talk) {
    let dead_letter = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.settle(dead(&claim)).await;
    talk.submit_many((0..1_203).map(|_| new_task("a")).collect()).await;
    talk.submit_many((0..7).map(|_| of_tenant("b", "acme")).collect()).await;
    assert_eq!(talk.broker.purge(&queue(), State::Pending).await.unwrap(), 1_210);
    assert!(talk.claim(10).await.is_empty());
    assert_eq!(talk.state(dead_letter).await, State::Failed);
    assert_eq!(talk.broker.purge(&queue(), State::Failed).await.unwrap(), 1);
    assert!(talk.find(dead_letter).await.is_none());
    assert_eq!(talk.total("purged").await, 1_211);
    talk.is_sound().await;
}

async fn each_waiting_state_can_be_purged(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    let blocked = talk.submit(with("a", after(&[here(parent)]))).await;
    let scheduled = talk.submit(with("a", starting(talk.now() + DAY_MS))).await;
    for (state, id) in
        [(State::Scheduled, scheduled), (State::Blocked, blocked), (State::Pending, parent)]
    {
        assert_eq!(talk.broker.purge(&queue(), state).await.unwrap(), 1, "{state}");
        assert!(talk.find(id).await.is_none(), "{state}");
        assert_eq!(talk.broker.purge(&queue(), state).await.unwrap(), 0, "{state}");
    }
    talk.deliver().await;
    talk.is_sound().await;
}

async fn what_a_lane_holds_back_is_purged_with_what_is_pending(talk: Talk) {
    let keys = [("k".to_owned(), at_once(1))].into();
    talk.set_policy(QueuePolicy { keys, ..QueuePolicy::default() }).await;
    talk.submit_many((0..5).map(|_| keyed("a", "k")).collect()).await;
    let claim = talk.claim_one().await;
    assert_eq!(talk.broker.purge(&queue(), State::Pending).await.unwrap(), 4);
    let next = talk.submit(keyed("a", "k")).await;
    talk.settle(done(&claim)).await;
    assert_eq!(talk.claim_one().await.id, next);
    talk.is_sound().await;
}

async fn only_some_states_can_be_purged(talk: Talk) {
    for state in [State::Running, State::Completed, State::Cancelled, State::Expired] {
        assert!(talk.broker.purge(&queue(), state).await.is_err(), "{state}");
    }
}

async fn purged_tasks_count_no_longer(talk: Talk) {
    talk.submit_many((0..5).map(|_| of_tenant("a", "acme")).collect()).await;
    talk.broker.purge(&queue(), State::Pending).await.unwrap();
    let stats = talk.stats().await;
    assert_eq!(stats.pending, 0);
    assert!(stats.by_tenant.iter().all(|tenant| tenant.open == 0));
}

async fn dead_letters_are_dropped_and_nothing_else(talk: Talk) {
    let mut sent = Vec::new();
    for end in [dead, dead, done] {
        sent.push(talk.submit(new_task("a")).await);
        let claim = talk.claim_one().await;
        talk.settle(end(&claim)).await;
    }
    let pending = talk.submit(new_task("a")).await;
    let asked = [sent[0], sent[2], pending, fresh_id()];
    assert_eq!(talk.broker.drop_dead(&queue(), &asked).await.unwrap(), 1);
    assert!(talk.find(sent[0]).await.is_none());
    assert_eq!(talk.state(sent[1]).await, State::Failed);
    assert_eq!(talk.state(sent[2]).await, State::Completed);
    assert_eq!(talk.state(pending).await, State::Pending);
    assert_eq!(talk.stats().await.failed, 1);
    talk.is_sound().await;
}
