//! Bounds of queue, type and tenant: what they hold back and what goes on.

use bulkhead_core::{Bounds, QueuePolicy, State, TenantPolicy};
use bulkhead_queue::Claim;

use crate::talk::{LEASE, Say, Talk};
use crate::words::*;

crate::every_broker![
    a_policy_is_kept_as_given,
    concurrency_of_a_queue_is_bounded_over_all_hosts,
    the_rate_of_a_queue_is_a_token_bucket,
    the_strictest_of_a_queues_bounds_counts,
    concurrency_of_a_type_is_bounded_and_other_types_go_on,
    the_rate_of_a_type_is_bounded_and_other_types_go_on,
    a_tenants_tasks_in_flight_are_bounded_and_other_tenants_go_on,
    a_tenants_rate_is_bounded_and_other_tenants_go_on,
    a_tenant_that_is_not_named_has_the_policy_of_others,
    an_attempt_that_is_retried_takes_a_new_token,
    a_changed_policy_applies_from_the_next_claim_on,
    what_runs_already_counts_against_new_bounds,
    a_lost_lease_gives_concurrency_back,
];

async fn of_types(talk: &Talk, type_name: &str, bounds: Bounds) {
    let types = [(of_type(type_name), bounds)].into();
    talk.set_policy(QueuePolicy { types, ..QueuePolicy::default() }).await;
}

async fn of_tenants(talk: &Talk, name: &str, policy: TenantPolicy) {
    let tenants = [(tenant(name), policy)].into();
    talk.set_policy(QueuePolicy { tenants, ..QueuePolicy::default() }).await;
}

fn count(claims: &[Claim], type_name: &str) -> usize {
    let is = |claim: &&Claim| claim.task.as_ref().unwrap().task_type.as_str() == type_name;
    claims.iter().filter(is).count()
}

fn count_of(claims: &[Claim], name: &str) -> usize {
    let is = |claim: &&Claim| claim.task.as_ref().unwrap().tenant.as_str() == name;
    claims.iter().filter(is).count()
}

async fn a_policy_is_kept_as_given(talk: Talk) {
    assert_eq!(talk.broker.policy(&queue()).await.unwrap(), QueuePolicy::default());
    let policy = QueuePolicy {
        concurrency: Some(7),
        rate: Some(rate_of("10/s burst 20")),
        types: [(of_type("a"), at_once(2)), (of_type("b"), per("5/m"))].into(),
        keys: [("k*".into(), at_once(1)), ("kk".into(), per("1/250ms"))].into(),
        tenants: [(tenant("acme"), TenantPolicy { in_flight: Some(3), ..weight(99) })].into(),
        other_tenants: Some(TenantPolicy { pending: Some(9), ..TenantPolicy::default() }),
        events: Some(100),
    };
    talk.set_policy(policy.clone()).await;
    assert_eq!(talk.broker.policy(&queue()).await.unwrap(), policy);
    assert_eq!(talk.stats().await.concurrency, Some(7));
    assert_eq!(talk.broker.queues().await.unwrap(), [queue()]);
    talk.set_policy(QueuePolicy::default()).await;
    assert_eq!(talk.broker.policy(&queue()).await.unwrap(), QueuePolicy::default());
}

async fn concurrency_of_a_queue_is_bounded_over_all_hosts(talk: Talk) {
    talk.set_policy(QueuePolicy { concurrency: Some(2), ..QueuePolicy::default() }).await;
    talk.submit_many((0..5).map(|_| new_task("a")).collect()).await;
    let claims = talk.claim(10).await;
    assert_eq!(claims.len(), 2);
    let other = Say { host: "h2", want: 10, ..Say::default() };
    assert!(talk.say(other).await.claims.is_empty());
    let say = Say { settle: vec![done(&claims[0])], want: 10, ..Say::default() };
    assert_eq!(talk.say(say).await.claims.len(), 1);
    talk.set_policy(QueuePolicy::default()).await;
    assert_eq!(talk.claim(10).await.len(), 2);
}

async fn the_rate_of_a_queue_is_a_token_bucket(talk: Talk) {
    let rate = Some(rate_of("1/m burst 3"));
    talk.set_policy(QueuePolicy { rate, ..QueuePolicy::default() }).await;
    talk.submit_many((0..10).map(|_| new_task("a")).collect()).await;
    assert_eq!(talk.claim(10).await.len(), 3, "a full bucket");
    assert!(talk.claim(10).await.is_empty());
    talk.pass(MINUTE_MS);
    assert_eq!(talk.claim(10).await.len(), 1);
    talk.pass(30 * SECOND_MS);
    assert!(talk.claim(10).await.is_empty(), "half a token is none");
    talk.pass(30 * SECOND_MS);
    assert_eq!(talk.claim(10).await.len(), 1);
    talk.pass(HOUR_MS);
    // The leases have run out too: what is claimed now is counted by the bucket alone.
    assert_eq!(talk.claim(10).await.len(), 3, "never more than the burst");
    assert!(talk.claim(10).await.is_empty());
}

async fn the_strictest_of_a_queues_bounds_counts(talk: Talk) {
    let policy = QueuePolicy {
        concurrency: Some(4),
        rate: Some(rate_of("1/m burst 2")),
        ..QueuePolicy::default()
    };
    talk.set_policy(policy).await;
    talk.submit_many((0..10).map(|_| new_task("a")).collect()).await;
    assert_eq!(talk.claim(10).await.len(), 2);
    talk.pass(2 * MINUTE_MS);
    assert_eq!(talk.claim(10).await.len(), 2);
    talk.pass(2 * MINUTE_MS);
    assert!(talk.claim(10).await.is_empty(), "four run");
}

async fn concurrency_of_a_type_is_bounded_and_other_types_go_on(talk: Talk) {
    of_types(&talk, "a", at_once(2)).await;
    talk.submit_many((0..5).map(|_| new_task("a")).collect()).await;
    talk.submit_many((0..5).map(|_| new_task("b")).collect()).await;
    let claims = talk.claim(100).await;
    assert_eq!((count(&claims, "a"), count(&claims, "b")), (2, 5));
    let first = claims.iter().find(|c| c.task.as_ref().unwrap().task_type.as_str() == "a");
    talk.settle(done(first.unwrap())).await;
    assert_eq!(talk.claim(10).await.len(), 1);
}

async fn the_rate_of_a_type_is_bounded_and_other_types_go_on(talk: Talk) {
    of_types(&talk, "a", per("1/m burst 2")).await;
    talk.submit_many((0..5).map(|_| new_task("a")).collect()).await;
    talk.submit_many((0..5).map(|_| new_task("b")).collect()).await;
    let claims = talk.claim(100).await;
    assert_eq!((count(&claims, "a"), count(&claims, "b")), (2, 5));
    talk.pass(MINUTE_MS);
    assert_eq!(talk.claim(10).await.len(), 1);
}

async fn a_tenants_tasks_in_flight_are_bounded_and_other_tenants_go_on(talk: Talk) {
    let policy = TenantPolicy { in_flight: Some(3), ..TenantPolicy::default() };
    of_tenants(&talk, "small", policy).await;
    talk.submit_many((0..10).map(|_| of_tenant("a", "small")).collect()).await;
    talk.submit_many((0..10).map(|_| of_tenant("b", "small")).collect()).await;
    talk.submit_many((0..40).map(|_| of_tenant("a", "large")).collect()).await;
    let claims = talk.claim(100).await;
    assert_eq!((count_of(&claims, "small"), count_of(&claims, "large")), (3, 40));
    assert!(talk.claim(10).await.is_empty());
    let of_small = claims.iter().find(|c| c.task.as_ref().unwrap().tenant.as_str() == "small");
    talk.settle(done(of_small.unwrap())).await;
    assert_eq!(count_of(&talk.claim(10).await, "small"), 1);
    talk.is_sound().await;
}

async fn a_tenants_rate_is_bounded_and_other_tenants_go_on(talk: Talk) {
    let policy = TenantPolicy { rate: Some(rate_of("1/m burst 2")), ..TenantPolicy::default() };
    of_tenants(&talk, "small", policy).await;
    talk.submit_many((0..10).map(|_| of_tenant("a", "small")).collect()).await;
    talk.submit_many((0..40).map(|_| of_tenant("a", "large")).collect()).await;
    let claims = talk.claim(100).await;
    assert_eq!((count_of(&claims, "small"), count_of(&claims, "large")), (2, 40));
    assert!(talk.claim(10).await.is_empty());
    talk.pass(MINUTE_MS);
    assert_eq!(talk.claim(10).await.len(), 1);
    assert!(talk.claim(10).await.is_empty());
    talk.is_sound().await;
}

async fn a_tenant_that_is_not_named_has_the_policy_of_others(talk: Talk) {
    let named = TenantPolicy { in_flight: Some(5), ..TenantPolicy::default() };
    let others = TenantPolicy { in_flight: Some(1), ..TenantPolicy::default() };
    talk.set_policy(QueuePolicy {
        tenants: [(tenant("named"), named)].into(),
        other_tenants: Some(others),
        ..QueuePolicy::default()
    })
    .await;
    for name in ["named", "some", "any"] {
        talk.submit_many((0..9).map(|_| of_tenant("a", name)).collect()).await;
    }
    let claims = talk.claim(100).await;
    let counts = ["named", "some", "any"].map(|name| count_of(&claims, name));
    assert_eq!(counts, [5, 1, 1]);
}

async fn an_attempt_that_is_retried_takes_a_new_token(talk: Talk) {
    of_types(&talk, "a", per("1/m burst 2")).await;
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.settle(retry(&claim, 0)).await;
    let claim = talk.claim_one().await;
    talk.settle(retry(&claim, 0)).await;
    assert!(talk.claim(1).await.is_empty(), "two attempts, two tokens");
    talk.pass(MINUTE_MS);
    assert_eq!(talk.claim_one().await.id, id);
}

async fn a_changed_policy_applies_from_the_next_claim_on(talk: Talk) {
    of_types(&talk, "a", at_once(1)).await;
    talk.submit_many((0..5).map(|_| new_task("a")).collect()).await;
    assert_eq!(talk.claim(10).await.len(), 1);
    of_types(&talk, "a", at_once(3)).await;
    assert_eq!(talk.claim(10).await.len(), 2);
    talk.set_policy(QueuePolicy::default()).await;
    assert_eq!(talk.claim(10).await.len(), 2);
}

async fn what_runs_already_counts_against_new_bounds(talk: Talk) {
    talk.submit_many((0..6).map(|_| of_tenant("a", "acme")).collect()).await;
    let claims = talk.claim(3).await;
    for policy in [
        QueuePolicy { concurrency: Some(3), ..QueuePolicy::default() },
        QueuePolicy { types: [(of_type("a"), at_once(3))].into(), ..QueuePolicy::default() },
        QueuePolicy {
            tenants: [(
                tenant("acme"),
                TenantPolicy { in_flight: Some(3), ..TenantPolicy::default() },
            )]
            .into(),
            ..QueuePolicy::default()
        },
    ] {
        talk.set_policy(policy.clone()).await;
        assert!(talk.claim(10).await.is_empty(), "{policy:?}");
    }
    talk.settle(done(&claims[0])).await;
    assert_eq!(talk.claim(10).await.len(), 1);
    talk.is_sound().await;
}

async fn a_lost_lease_gives_concurrency_back(talk: Talk) {
    talk.set_policy(QueuePolicy {
        concurrency: Some(1),
        types: [(of_type("a"), at_once(1))].into(),
        other_tenants: Some(TenantPolicy { in_flight: Some(1), ..TenantPolicy::default() }),
        ..QueuePolicy::default()
    })
    .await;
    let id = talk.submit(new_task("a")).await;
    talk.claim_one().await;
    talk.pass(u64::try_from(LEASE.as_millis()).unwrap() + SECOND_MS);
    let claim = talk.claim_one().await;
    assert_eq!((claim.id, claim.attempt), (id, 2));
    talk.settle(given_back(&claim)).await;
    assert_eq!(talk.claim_one().await.id, id);
    assert_eq!(talk.state(id).await, State::Running);
    talk.is_sound().await;
}
