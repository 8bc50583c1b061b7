//! Bounds of queue, type, tenant and key; pauses; weights.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bulkhead_core::{Bounds, QueuePolicy, Rate, State, Task, TenantPolicy, TermKey, Terms};
use bulkhead_queue::{Broker, Claim, ListFilter};
use bulkhead_stage::eventually;

use crate::stage::*;

fn at_once(n: u32) -> Bounds {
    Bounds { concurrency: Some(n), rate: None }
}

fn rate(text: &str) -> Option<Rate> {
    Some(text.parse().unwrap())
}

fn keyed(key: &str) -> Task {
    task(Terms { key: Some(TermKey::new(key).unwrap()), ..Terms::default() })
}

fn of(name: &str) -> Task {
    Task { tenant: tenant(name), ..plain() }
}

fn typed(name: &str) -> Task {
    Task { task_type: of_type(name), ..plain() }
}

fn key_of(claim: &Claim) -> &str {
    claim.task.as_ref().unwrap().terms.key.as_ref().map_or("", TermKey::as_str)
}

async fn fill(talk: &Talk, n: usize, make: impl Fn() -> Task) {
    let tasks: Vec<Task> = (0..n).map(|_| make()).collect();
    assert!(talk.broker.submit(&tasks).await.unwrap().iter().all(|answer| answer.is_new()));
}

#[tokio::test]
async fn a_policy_is_kept_whole() {
    let talk = Talk::new().await;
    assert_eq!(talk.broker.policy(&queue()).await.unwrap(), QueuePolicy::default());
    let policy = QueuePolicy {
        concurrency: Some(9),
        rate: rate("10/s burst 20"),
        types: [(of_type("a"), at_once(2))].into(),
        keys: [("smtp:*".to_owned(), at_once(1))].into(),
        tenants: [(tenant("t"), TenantPolicy { weight: 3, ..Default::default() })].into(),
        other_tenants: Some(TenantPolicy::default()),
        events: Some(10),
    };
    talk.policy(policy.clone()).await;
    assert_eq!(talk.broker.policy(&queue()).await.unwrap(), policy);
    assert_eq!(talk.broker.stats(&queue()).await.unwrap().concurrency, Some(9));
    assert_eq!(talk.broker.queues().await.unwrap(), [queue()]);
    let many = (0..=QueuePolicy::MAX_KEY_PREFIXES).map(|n| (format!("{n}*"), at_once(1)));
    let over = QueuePolicy { keys: many.collect(), ..Default::default() };
    assert!(talk.broker.set_policy(&queue(), &over).await.is_err());
}

#[tokio::test]
async fn a_queues_rate_bounds_its_claims() {
    let talk = Talk::new().await;
    talk.policy(QueuePolicy { rate: rate("1/300ms burst 3"), ..Default::default() }).await;
    fill(&talk, 10, plain).await;
    let started = Instant::now();
    let first = talk.step_in(&queue(), vec![], &[], 10).await;
    assert_eq!(first.claims.len(), 3);
    assert!(first.next_due.unwrap() <= Duration::from_millis(301), "{:?}", first.next_due);
    let mut taken = 3;
    eventually("the others follow", || async { (talk.claim(10).await.len() == 1).then_some(()) })
        .await;
    taken += 1;
    let tokens = 3 + started.elapsed().as_millis() / 300;
    assert!(taken <= tokens, "{taken} of {tokens}");
}

#[tokio::test]
async fn a_bounded_type_is_passed_over() {
    let talk = Talk::new().await;
    fill(&talk, 4, || typed("a")).await;
    // What runs already counts.
    let running = talk.claim_one().await;
    talk.policy(QueuePolicy { types: [(of_type("a"), at_once(2))].into(), ..Default::default() })
        .await;
    fill(&talk, 4, || typed("b")).await;
    let types = |claims: &[Claim]| {
        let mut count = BTreeMap::new();
        for claim in claims {
            *count.entry(claim.task.as_ref().unwrap().task_type.to_string()).or_insert(0) += 1;
        }
        count
    };
    let claims = talk.claim(10).await;
    assert_eq!(types(&claims), [("a".to_owned(), 1), ("b".to_owned(), 4)].into());
    let next = talk.step_in(&queue(), vec![done(&running)], &[], 10).await.claims;
    assert_eq!(types(&next), [("a".to_owned(), 1)].into());
    talk.assert_sound(&queue()).await;
    talk.policy(QueuePolicy::default()).await;
    assert_eq!(talk.claim(10).await.len(), 1);
}

#[tokio::test]
async fn a_paused_type_waits_while_others_go_on() {
    let talk = Talk::new().await;
    let a = of_type("a");
    assert!(talk.broker.pause(&queue(), Some(&a)).await.unwrap());
    assert!(!talk.broker.pause(&queue(), Some(&a)).await.unwrap());
    fill(&talk, 2, || typed("a")).await;
    fill(&talk, 1, || typed("b")).await;
    assert_eq!(talk.claim(10).await.len(), 1);
    let stats = talk.broker.stats(&queue()).await.unwrap();
    let depths: Vec<_> =
        stats.by_type.iter().map(|t| (&*t.task_type, t.pending, t.paused)).collect();
    assert_eq!(depths, [("a", 2, true), ("b", 0, false)]);
    assert!(!stats.paused);
    assert!(talk.broker.resume(&queue(), Some(&a)).await.unwrap());
    assert!(!talk.broker.resume(&queue(), Some(&a)).await.unwrap());
    assert_eq!(talk.claim(10).await.len(), 2);
}

#[tokio::test]
async fn a_tenant_at_its_bound_leaves_its_place_to_others() {
    let talk = Talk::new().await;
    let limited = TenantPolicy { in_flight: Some(2), ..Default::default() };
    talk.policy(QueuePolicy { tenants: [(tenant("l"), limited)].into(), ..Default::default() })
        .await;
    fill(&talk, 50, || of("l")).await;
    fill(&talk, 50, || of("free")).await;
    let claims = talk.claim(30).await;
    let of_l: Vec<&Claim> =
        claims.iter().filter(|c| c.task.as_ref().unwrap().tenant == tenant("l")).collect();
    assert_eq!((claims.len(), of_l.len()), (30, 2));
    let stats = talk.broker.stats(&queue()).await.unwrap();
    assert_eq!(stats.pending, 70, "what a limit holds back is pending");
    let filter = ListFilter { tenant: Some(tenant("l")), ..ListFilter::of(State::Pending) };
    assert_eq!(talk.broker.list(&queue(), &filter, None).await.unwrap().tasks.len(), 48);
    talk.assert_sound(&queue()).await;
    // Two of its tasks are settled, in different ways: two more may go.
    let stepped =
        talk.step_in(&queue(), vec![done(of_l[0]), retry(of_l[1], 60_000)], &[], 100).await;
    let again = stepped.claims.iter().filter(|c| c.task.as_ref().unwrap().tenant == tenant("l"));
    assert_eq!(again.count(), 2);
    talk.policy(QueuePolicy::default()).await;
    assert_eq!(talk.claim(100).await.len(), 46, "without a bound the rest goes");
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_tenants_rate_comes_back_with_time() {
    let talk = Talk::new().await;
    let limited = TenantPolicy { rate: rate("1/200ms burst 2"), ..Default::default() };
    talk.policy(QueuePolicy { other_tenants: Some(limited), ..Default::default() }).await;
    fill(&talk, 5, || of("x")).await;
    fill(&talk, 5, || of("y")).await;
    let first = talk.step_in(&queue(), vec![], &[], 10).await;
    assert_eq!(first.claims.len(), 4);
    assert!(first.next_due.unwrap() <= Duration::from_millis(201), "{:?}", first.next_due);
    eventually("the tokens come back", || async {
        (!talk.claim(10).await.is_empty()).then_some(())
    })
    .await;
    assert!(talk.broker.stats(&queue()).await.unwrap().pending < 6);
}

#[tokio::test]
async fn heavier_tenants_get_more_turns() {
    let talk = Talk::new().await;
    let heavy = TenantPolicy { weight: 30, ..Default::default() };
    talk.policy(QueuePolicy { tenants: [(tenant("heavy"), heavy)].into(), ..Default::default() })
        .await;
    fill(&talk, 400, || of("heavy")).await;
    fill(&talk, 400, || of("normal")).await;
    let claims = talk.claim(320).await;
    let heavy = claims.iter().filter(|c| c.task.as_ref().unwrap().tenant == tenant("heavy"));
    let heavy = heavy.count();
    assert!((224..=256).contains(&heavy), "{heavy} of 320 are the heavy tenant's");
}

#[tokio::test]
async fn a_limited_key_waits_in_its_lane() {
    let talk = Talk::new().await;
    let keys = [("k*".to_owned(), at_once(2)), ("k2".to_owned(), at_once(1))].into();
    talk.policy(QueuePolicy { keys, ..Default::default() }).await;
    fill(&talk, 5, || keyed("k1")).await;
    fill(&talk, 5, || keyed("k2")).await;
    fill(&talk, 5, || keyed("free")).await;
    let stats = talk.broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.pending, stats.held_back), (15, 7));
    let listed =
        talk.broker.list(&queue(), &ListFilter::of(State::Pending), None).await.unwrap().tasks;
    assert_eq!(listed.len(), 15);
    let claims = talk.claim(100).await;
    let of_key = |key: &str| claims.iter().filter(|claim| key_of(claim) == key).count();
    assert_eq!((of_key("k1"), of_key("k2"), of_key("free")), (2, 1, 5));
    talk.assert_sound(&queue()).await;

    // A settlement of any kind lets the next one in.
    let k1: Vec<&Claim> = claims.iter().filter(|claim| key_of(claim) == "k1").collect();
    let settle = vec![done(k1[0]), retry(k1[1], 60_000)];
    let next = talk.step_in(&queue(), settle, &[], 100).await.claims;
    assert_eq!(next.iter().map(key_of).collect::<Vec<_>>(), ["k1", "k1"]);
    let next = talk.step_in(&queue(), vec![give_back(&next[0])], &[], 100).await.claims;
    assert_eq!(next.iter().map(key_of).collect::<Vec<_>>(), ["k1"]);
    talk.assert_sound(&queue()).await;

    // One that waits in the lane can be cancelled; one that was let in makes room.
    let lane =
        talk.broker.list(&queue(), &ListFilter::of(State::Pending), None).await.unwrap().tasks;
    assert_eq!(lane.len(), 5);
    let ids: Vec<_> = lane.iter().map(|view| view.id).collect();
    talk.broker.cancel(&queue(), &ids[..2], DAY_MS).await.unwrap();
    assert_eq!(talk.broker.stats(&queue()).await.unwrap().held_back, 3);
    talk.assert_sound(&queue()).await;

    // Without bounds all are let in at once.
    talk.policy(QueuePolicy::default()).await;
    assert_eq!(talk.claim(100).await.len(), 3);
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_keys_rate_lets_in_what_it_has_tokens_for() {
    let talk = Talk::new().await;
    let bounds = Bounds { concurrency: None, rate: rate("1/250ms burst 2") };
    let keys = [("k".to_owned(), bounds)].into();
    talk.policy(QueuePolicy { keys, ..Default::default() }).await;
    fill(&talk, 6, || keyed("k")).await;
    fill(&talk, 3, plain).await;
    assert_eq!(talk.broker.stats(&queue()).await.unwrap().held_back, 4);
    let first = talk.step_in(&queue(), vec![], &[], 100).await;
    assert_eq!(first.claims.len(), 5);
    assert!(first.next_due.unwrap() <= Duration::from_millis(251), "{:?}", first.next_due);
    eventually("a token comes back", || async { talk.claim(100).await.pop() }).await;
    assert!(talk.broker.stats(&queue()).await.unwrap().held_back <= 3);
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_new_bound_holds_for_what_is_in_line_and_running() {
    let talk = Talk::new().await;
    fill(&talk, 6, || keyed("k")).await;
    let running = talk.claim(2).await;
    talk.policy(QueuePolicy { keys: [("k".to_owned(), at_once(3))].into(), ..Default::default() })
        .await;
    let more = talk.claim(10).await;
    assert_eq!(more.len(), 1, "two run already");
    assert_eq!(talk.broker.stats(&queue()).await.unwrap().held_back, 3);
    assert!(talk.claim(10).await.is_empty());
    talk.assert_sound(&queue()).await;
    let next = talk.step_in(&queue(), running.iter().map(done).collect(), &[], 10).await.claims;
    assert_eq!(next.len(), 2);
}

#[tokio::test]
async fn a_lost_lease_makes_room_in_all_its_bounds() {
    let mut talk = Talk::new().await;
    talk.policy(QueuePolicy {
        types: [(of_type("a"), at_once(1))].into(),
        keys: [("k".to_owned(), at_once(1))].into(),
        other_tenants: Some(TenantPolicy { in_flight: Some(1), ..Default::default() }),
        ..Default::default()
    })
    .await;
    fill(&talk, 2, || keyed("k")).await;
    talk.lease = Duration::from_millis(1);
    let first = talk.claim_one().await;
    talk.lease = Duration::from_secs(30);
    let again = eventually("the lease runs out", || async { talk.claim(5).await.pop() }).await;
    assert_eq!((again.id, again.attempt), (first.id, 2));
    assert!(talk.claim(5).await.is_empty());
    talk.settle(dead(&again)).await;
    assert_eq!(talk.claim(5).await.len(), 1);
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn purging_empties_lanes_and_parked_lines() {
    let talk = Talk::new().await;
    talk.policy(QueuePolicy {
        keys: [("k".to_owned(), at_once(1))].into(),
        tenants: [(tenant("l"), TenantPolicy { in_flight: Some(1), ..Default::default() })].into(),
        ..Default::default()
    })
    .await;
    fill(&talk, 20, || keyed("k")).await;
    fill(&talk, 20, || of("l")).await;
    assert_eq!(talk.claim(100).await.len(), 2);
    assert_eq!(talk.broker.purge(&queue(), State::Pending).await.unwrap(), 38);
    let stats = talk.broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.pending, stats.held_back, stats.running), (0, 0, 2));
    assert_eq!(talk.open().await, 2);
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_tenant_whose_claim_came_to_nothing_is_not_held_back() {
    let talk = Talk::new().await;
    let of_tenant = |name: &str, task: Task| Task { tenant: tenant(name), ..task };
    talk.store(&of_tenant("u", keyed("k"))).await;
    let running = talk.claim_one().await;
    let waits = of_tenant("t", keyed("k"));
    let goes = of_tenant("t", plain());
    talk.store(&waits).await;
    talk.store(&goes).await;
    let one = TenantPolicy { in_flight: Some(1), ..Default::default() };
    talk.policy(QueuePolicy {
        keys: [("k".to_owned(), at_once(1))].into(),
        tenants: [(tenant("t"), one)].into(),
        ..Default::default()
    })
    .await;
    // The first of its line goes to the lane, since another tenant's task has the key.
    let first = talk.step_in(&queue(), vec![], &[], 10).await;
    assert!(first.claims.is_empty() && first.next_due == Some(Duration::ZERO));
    assert_eq!(talk.claim_one().await.id, goes.id);
    talk.settle(done(&running)).await;
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_tenant_that_stands_in_two_rings_at_different_times_is_served() {
    let talk = Talk::new().await;
    let of_b = |name: &str| Task { tenant: tenant(name), ..typed("b") };
    talk.store(&of("t")).await;
    for _ in 0..5 {
        talk.store(&of_b("u")).await;
    }
    let serves = [of_type("b").into()];
    for _ in 0..5 {
        let step = bulkhead_queue::Step {
            host: "h1",
            settle: &[],
            renew: &[],
            progress: &[],
            want: 1,
            claim_bytes: u64::MAX,
            serves: &serves,
            lease: talk.lease,
            reclaim: false,
            dead_retention_ms: DAY_MS,
            apart: false,
        };
        assert_eq!(talk.broker.step(&queue(), step).await.unwrap().claims.len(), 1);
    }
    // It joins the other type's ring at a later time, with a more urgent task.
    let urgent = Task { priority: bulkhead_core::Priority::CRITICAL, ..of_b("t") };
    talk.store(&urgent).await;
    let claims = talk.claim(10).await;
    assert_eq!(claims.iter().map(|claim| claim.id).next(), Some(urgent.id));
    assert_eq!(claims.len(), 2);
}
