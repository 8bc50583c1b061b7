//! Lanes: what a bounded key holds back, in which order it lets go, what goes on beside it.

use bulkhead_core::{Bounds, Priority, QueuePolicy, State};
use bulkhead_queue::NewTask;

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    a_bounded_key_runs_so_many_at_once_in_line_order,
    a_lane_is_ordered_by_priority,
    the_rate_of_a_key_is_a_token_bucket_taken_at_the_claim,
    a_limited_key_occupies_no_place_in_any_line,
    the_longest_match_bounds_a_key,
    each_key_of_a_prefix_is_bounded_by_itself,
    what_waits_in_a_lane_is_pending_and_counted_as_held_back,
    every_end_of_a_claim_moves_the_lane_on,
    what_leaves_without_running_moves_the_lane_on,
    a_delayed_task_goes_through_its_lane,
    a_key_without_bounds_any_more_is_let_in_at_once,
    a_new_bound_counts_what_runs_and_what_is_in_line,
    a_lane_spans_types_and_tenants,
];

async fn bound(talk: &Talk, bounds: &[(&str, Bounds)]) {
    let keys = bounds.iter().map(|(key, bounds)| ((*key).to_owned(), *bounds)).collect();
    talk.set_policy(QueuePolicy { keys, ..QueuePolicy::default() }).await;
}

async fn a_bounded_key_runs_so_many_at_once_in_line_order(talk: Talk) {
    bound(&talk, &[("k", at_once(2))]).await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(talk.submit(keyed("a", "k")).await);
        talk.pass(1);
    }
    let claims = talk.claim(10).await;
    assert_eq!(ids(&claims), sent[..2]);
    assert!(talk.claim(10).await.is_empty());
    talk.settle(done(&claims[1])).await;
    let third = talk.claim(10).await;
    assert_eq!(ids(&third), sent[2..3]);
    talk.settle(done(&claims[0])).await;
    talk.settle(done(&third[0])).await;
    assert_eq!(ids(&talk.claim(10).await), sent[3..]);
    talk.is_sound().await;
}

async fn a_lane_is_ordered_by_priority(talk: Talk) {
    bound(&talk, &[("k", at_once(1))]).await;
    talk.submit(keyed("a", "k")).await;
    let first = talk.claim_one().await;
    let normal = talk.submit(keyed("a", "k")).await;
    let urgent = talk.submit(NewTask { priority: Priority::CRITICAL, ..keyed("a", "k") }).await;
    talk.settle(done(&first)).await;
    let second = talk.claim_one().await;
    assert_eq!(second.id, urgent);
    talk.settle(done(&second)).await;
    assert_eq!(talk.claim_one().await.id, normal);
}

async fn the_rate_of_a_key_is_a_token_bucket_taken_at_the_claim(talk: Talk) {
    bound(&talk, &[("k", per("1/m burst 2"))]).await;
    talk.submit_many((0..6).map(|_| keyed("a", "k")).collect()).await;
    assert_eq!(talk.claim(10).await.len(), 2);
    assert!(talk.claim(10).await.is_empty());
    talk.pass(MINUTE_MS);
    let claims = talk.claim(10).await;
    assert_eq!(claims.len(), 1);
    talk.settle(retry(&claims[0], 0)).await;
    assert!(talk.claim(10).await.is_empty(), "an attempt more needs a token more");
    talk.pass(2 * MINUTE_MS);
    assert_eq!(talk.claim(10).await.len(), 2);
    talk.is_sound().await;
}

async fn a_limited_key_occupies_no_place_in_any_line(talk: Talk) {
    bound(&talk, &[("slow", at_once(1))]).await;
    talk.submit_many((0..300).map(|_| keyed("a", "slow")).collect()).await;
    let plain = talk.submit(new_task("a")).await;
    let claims = talk.claim(2).await;
    assert_eq!(claims.len(), 2);
    assert!(ids(&claims).contains(&plain));
}

async fn the_longest_match_bounds_a_key(talk: Talk) {
    bound(&talk, &[("s*", at_once(1)), ("smtp*", at_once(2)), ("smtp:x", at_once(3))]).await;
    for (name, expected) in [("smtp:x", 3), ("smtp:y", 2), ("sms", 1), ("free", 5)] {
        talk.submit_many((0..5).map(|_| keyed("a", name)).collect()).await;
        assert_eq!(talk.claim(10).await.len(), expected, "{name}");
    }
}

async fn each_key_of_a_prefix_is_bounded_by_itself(talk: Talk) {
    bound(&talk, &[("user:*", at_once(1))]).await;
    for name in ["user:1", "user:2", "user:3"] {
        talk.submit_many((0..3).map(|_| keyed("a", name)).collect()).await;
    }
    assert_eq!(talk.claim(10).await.len(), 3);
    talk.is_sound().await;
}

async fn what_waits_in_a_lane_is_pending_and_counted_as_held_back(talk: Talk) {
    bound(&talk, &[("k", at_once(1))]).await;
    let sent = talk.submit_many((0..4).map(|_| keyed("a", "k")).collect()).await;
    for id in &sent {
        assert_eq!(talk.state(*id).await, State::Pending);
    }
    assert_eq!(talk.claim(10).await.len(), 1);
    let stats = talk.stats().await;
    assert_eq!((stats.running, stats.pending, stats.held_back), (1, 3, 3));
    let mut listed = talk.list(State::Pending).await;
    listed.sort();
    let mut waiting = sent[1..].to_vec();
    waiting.sort();
    assert_eq!(listed, waiting);
}

async fn every_end_of_a_claim_moves_the_lane_on(talk: Talk) {
    bound(&talk, &[("k", at_once(1))]).await;
    let ends = [done, dead, cancelled, given_back, |claim: &_| retry(claim, DAY_MS)];
    talk.submit_many((0..6).map(|_| keyed("a", "k")).collect()).await;
    for end in ends {
        let claims = talk.claim(10).await;
        assert_eq!(claims.len(), 1);
        talk.settle(end(&claims[0])).await;
        talk.is_sound().await;
    }
    assert_eq!(talk.claim(10).await.len(), 1);
    talk.pass(HOUR_MS);
    assert_eq!(talk.claim(10).await.len(), 1, "a lost lease does as well");
    talk.is_sound().await;
}

async fn what_leaves_without_running_moves_the_lane_on(talk: Talk) {
    bound(&talk, &[("k", at_once(1))]).await;
    let mut late = keyed("a", "k");
    late.terms.expires_at = Some(talk.now() + MINUTE_MS);
    talk.submit(late).await;
    talk.pass(1);
    let second = talk.submit(keyed("a", "k")).await;
    talk.pass(1);
    let third = talk.submit(keyed("a", "k")).await;
    talk.pass(2 * MINUTE_MS);
    let mut claims = talk.claim(10).await;
    if claims.is_empty() {
        // The place that the expired task held is given on by the step that noticed it.
        claims = talk.claim(10).await;
    }
    assert_eq!(ids(&claims), [second]);
    talk.settle(given_back(&claims[0])).await;
    talk.broker.cancel(&queue(), &[second], DAY_MS).await.unwrap();
    assert_eq!(ids(&talk.claim(10).await), [third]);
    talk.is_sound().await;
}

async fn a_delayed_task_goes_through_its_lane(talk: Talk) {
    bound(&talk, &[("k", at_once(1))]).await;
    let mut delayed = keyed("a", "k");
    delayed.terms.not_before = Some(talk.now() + MINUTE_MS);
    let delayed = talk.submit(delayed).await;
    let first = talk.submit(keyed("a", "k")).await;
    let claims = talk.claim(10).await;
    assert_eq!(ids(&claims), [first]);
    talk.pass(2 * MINUTE_MS);
    assert!(talk.claim(10).await.is_empty());
    assert_eq!(talk.state(delayed).await, State::Pending);
    talk.settle(done(&claims[0])).await;
    assert_eq!(ids(&talk.claim(10).await), [delayed]);
}

async fn a_key_without_bounds_any_more_is_let_in_at_once(talk: Talk) {
    bound(&talk, &[("k", at_once(1))]).await;
    talk.submit_many((0..5).map(|_| keyed("a", "k")).collect()).await;
    assert_eq!(talk.claim(10).await.len(), 1);
    talk.set_policy(QueuePolicy::default()).await;
    assert_eq!(talk.drain(10).await.len(), 4);
    talk.is_sound().await;
}

async fn a_new_bound_counts_what_runs_and_what_is_in_line(talk: Talk) {
    talk.submit_many((0..5).map(|_| keyed("a", "k")).collect()).await;
    let claims = talk.claim(3).await;
    bound(&talk, &[("k", at_once(3))]).await;
    talk.submit_many((0..5).map(|_| keyed("a", "k")).collect()).await;
    let more = talk.claim(10).await;
    assert!(more.len() <= 2, "only what was in line before may come: {}", more.len());
    for claim in claims.iter().chain(&more) {
        talk.settle(done(claim)).await;
    }
    for _ in 0..4 {
        let claims = talk.claim(10).await;
        assert!(claims.len() <= 3);
        for claim in &claims {
            talk.settle(done(claim)).await;
        }
    }
    assert_eq!(talk.total("completed").await, 10);
    talk.is_sound().await;
}

async fn a_lane_spans_types_and_tenants(talk: Talk) {
    bound(&talk, &[("k", at_once(1))]).await;
    talk.submit(keyed("a", "k")).await;
    let mut other = keyed("b", "k");
    other.tenant = tenant("acme");
    let other = talk.submit(other).await;
    let claims = talk.claim(10).await;
    assert_eq!(claims.len(), 1);
    talk.settle(done(&claims[0])).await;
    assert_eq!(ids(&talk.claim(10).await), [other]);
}
