//! Quotas of a minute: what a tenant's attempts used holds its other tasks back.

use bulkhead_core::{
    AttemptReport, Metering, Outcome, Payload, QueuePolicy, TenantPolicy, WhenSpent,
};
use bulkhead_queue::{Claim, End, HeldBy, HeldTenant, QuotaUse, Settlement, SubmitAnswer};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    a_tenant_that_spent_its_fuel_waits_and_others_go_on,
    a_debt_is_waited_for,
    memory_times_time_is_bounded_too,
    new_tasks_are_refused_where_the_policy_says_so,
    what_was_accepted_before_is_served_once_there_is_fuel_again,
    a_changed_quota_begins_with_a_full_bucket,
    what_a_stale_claim_used_is_taken_too,
    a_host_for_one_tenant_is_bound_by_its_quota,
    no_window_uses_more_than_its_quotas_and_what_was_under_way,
    what_is_in_use_is_told_where_it_is_bounded,
    each_tenant_that_is_asked_for_is_answered,
];

const QUOTA: u64 = 6_000;
const GIB_SECOND: u64 = TenantPolicy::GIB_SECOND;

async fn bound(talk: &Talk, policy: TenantPolicy) {
    let tenants = [(tenant("acme"), policy)].into();
    talk.set_policy(QueuePolicy { tenants, ..QueuePolicy::default() }).await;
}

async fn of_fuel(talk: &Talk, when_spent: WhenSpent) {
    let fuel_per_minute = Some(QUOTA);
    bound(talk, TenantPolicy { fuel_per_minute, when_spent, ..TenantPolicy::default() }).await;
}

fn used(claim: &Claim, fuel: u64, kib_ms: u64) -> Settlement {
    let wall_us = 1_000;
    let peak_memory_bytes = kib_ms << 10;
    let metering = Metering { fuel, wall_us, peak_memory_bytes, ..Metering::default() };
    let outcome = Outcome::Done(Payload::default());
    let report = AttemptReport { metering, ..report(claim.attempt, outcome) };
    let end = End::Complete { report, retention_ms: 0, children: Vec::new() };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

async fn acme(talk: &Talk, tasks: usize) {
    talk.submit_many((0..tasks).map(|_| of_tenant("a", "acme")).collect()).await;
}

/// Claim one task of the tenant and settle it with so much fuel.
async fn burn(talk: &Talk, fuel: u64) {
    acme(talk, 1).await;
    let claim = talk.claim_one().await;
    talk.settle(used(&claim, fuel, 0)).await;
}

async fn held(talk: &Talk) -> Vec<HeldTenant> {
    talk.stats().await.held_tenants
}

async fn a_tenant_that_spent_its_fuel_waits_and_others_go_on(talk: Talk) {
    of_fuel(&talk, WhenSpent::Wait).await;
    burn(&talk, QUOTA / 2).await;
    burn(&talk, QUOTA / 2 + QUOTA / 3).await;
    acme(&talk, 3).await;
    talk.submit(of_tenant("a", "other")).await;
    let stepped = talk.say(Say { want: 10, ..Say::default() }).await;
    assert_eq!(stepped.claims.len(), 1, "the other tenant's");
    let due = stepped.next_due.expect("a time").as_millis();
    assert!((10_000..=20_001).contains(&due), "{due}");
    talk.pass(20_001);
    assert_eq!(talk.claim(10).await.len(), 3, "the bucket is positive, so all may start");
    talk.is_sound().await;
}

async fn a_debt_is_waited_for(talk: Talk) {
    of_fuel(&talk, WhenSpent::Wait).await;
    // A minute's quota and a debt of half a minute's.
    burn(&talk, QUOTA + QUOTA / 2).await;
    acme(&talk, 1).await;
    let before = talk.now();
    let stepped = talk.say(Say { want: 10, ..Say::default() }).await;
    assert!(stepped.claims.is_empty());
    let due = stepped.next_due.expect("a time").as_millis();
    assert!((29_000..=30_001).contains(&due), "{due}");
    let by = held(&talk).await;
    assert_eq!((by.len(), by[0].tenant.as_str(), by[0].by), (1, "acme", HeldBy::Fuel));
    let until = by[0].until.expect("a time");
    assert!((before + 29_000..=talk.now() + 30_001).contains(&until), "{until}");
    talk.pass(29_000);
    assert!(talk.claim(10).await.is_empty());
    talk.pass(1_001);
    assert_eq!(talk.claim(10).await.len(), 1);
    assert!(held(&talk).await.is_empty());
    talk.is_sound().await;
}

async fn memory_times_time_is_bounded_too(talk: Talk) {
    let policy = TenantPolicy { kib_ms_per_minute: Some(GIB_SECOND), ..TenantPolicy::default() };
    bound(&talk, policy).await;
    acme(&talk, 2).await;
    let claim = talk.claim_one().await;
    talk.settle(used(&claim, 1 << 40, 2 * GIB_SECOND)).await;
    assert!(talk.claim(1).await.is_empty());
    assert_eq!(held(&talk).await[0].by, HeldBy::Memory);
    talk.pass(MINUTE_MS + 1);
    assert_eq!(talk.claim(1).await.len(), 1);
}

async fn new_tasks_are_refused_where_the_policy_says_so(talk: Talk) {
    of_fuel(&talk, WhenSpent::Refuse).await;
    burn(&talk, 2 * QUOTA).await;
    let now = talk.now();
    let SubmitAnswer::OverUsage(until) = talk.offer(of_tenant("a", "acme")).await else {
        panic!("it was not refused");
    };
    assert!((now + 59_000..=now + 60_001).contains(&until), "{until} at {now}");
    assert_eq!(talk.offer(of_tenant("a", "other")).await, SubmitAnswer::Accepted);
    talk.pass(MINUTE_MS + 1);
    assert_eq!(talk.offer(of_tenant("a", "acme")).await, SubmitAnswer::Accepted);
    of_fuel(&talk, WhenSpent::Wait).await;
    let claims = talk.claim(10).await;
    let settle = claims.iter().map(|claim| used(claim, 2 * QUOTA, 0)).collect();
    talk.say(Say { settle, ..Say::default() }).await;
    assert_eq!(talk.offer(of_tenant("a", "acme")).await, SubmitAnswer::Accepted, "it waits");
}

async fn what_was_accepted_before_is_served_once_there_is_fuel_again(talk: Talk) {
    of_fuel(&talk, WhenSpent::Refuse).await;
    acme(&talk, 3).await;
    let claim = talk.claim_one().await;
    talk.settle(used(&claim, 2 * QUOTA, 0)).await;
    assert!(talk.claim(10).await.is_empty());
    talk.pass(MINUTE_MS + 1);
    assert_eq!(talk.claim(10).await.len(), 2);
}

async fn a_changed_quota_begins_with_a_full_bucket(talk: Talk) {
    of_fuel(&talk, WhenSpent::Wait).await;
    burn(&talk, 1_000 * QUOTA).await;
    acme(&talk, 2).await;
    assert!(talk.claim(1).await.is_empty());
    // The same again changes nothing.
    of_fuel(&talk, WhenSpent::Wait).await;
    assert!(talk.claim(1).await.is_empty());
    let more = TenantPolicy { fuel_per_minute: Some(2 * QUOTA), ..TenantPolicy::default() };
    bound(&talk, more).await;
    assert_eq!(talk.claim(1).await.len(), 1);
    bound(&talk, TenantPolicy::default()).await;
    assert_eq!(talk.claim(1).await.len(), 1);
}

async fn what_a_stale_claim_used_is_taken_too(talk: Talk) {
    of_fuel(&talk, WhenSpent::Wait).await;
    acme(&talk, 1).await;
    let first = talk.claim_one().await;
    talk.pass(HOUR_MS);
    assert_eq!(talk.claim(1).await.len(), 1);
    assert!(talk.is_stale(used(&first, 2 * QUOTA, 0)).await);
    acme(&talk, 1).await;
    assert!(talk.claim(1).await.is_empty());
}

async fn a_host_for_one_tenant_is_bound_by_its_quota(talk: Talk) {
    of_fuel(&talk, WhenSpent::Wait).await;
    burn(&talk, 2 * QUOTA).await;
    acme(&talk, 1).await;
    assert!(talk.claim_of(&["a:acme"], 1).await.is_empty());
    talk.pass(MINUTE_MS + 1);
    assert_eq!(talk.claim_of(&["a:acme"], 1).await.len(), 1);
}

/// A greedy tenant for 20 minutes: what it used by any time is within its quotas and what was
/// under way.
async fn no_window_uses_more_than_its_quotas_and_what_was_under_way(talk: Talk) {
    of_fuel(&talk, WhenSpent::Wait).await;
    let (start, mut burnt, mut starts) = (talk.now(), 0, 0);
    for turn in 0..240_u64 {
        acme(&talk, 2).await;
        let claims = talk.claim(2).await;
        let fuel = 500 + turn % 7 * 400;
        let settle: Vec<_> = claims.iter().map(|claim| used(claim, fuel, 0)).collect();
        let under_way = fuel * claims.len() as u64;
        starts += claims.len();
        burnt += under_way;
        if !claims.is_empty() {
            let minutes = (talk.now() - start) as f64 / MINUTE_MS as f64;
            let bound = QUOTA as f64 * (minutes + 1.0) + under_way as f64;
            assert!(burnt as f64 <= bound, "{burnt} over {bound} after {minutes} minutes");
        }
        talk.say(Say { settle, ..Say::default() }).await;
        talk.pass(5_000);
    }
    assert!(burnt >= 20 * QUOTA, "{burnt}: it got what it may");
    assert!(starts > 20);
}

async fn in_use(talk: &Talk, name: &str) -> QuotaUse {
    talk.broker.quota_use(&queue(), &[tenant(name)]).await.unwrap()[0]
}

async fn what_is_in_use_is_told_where_it_is_bounded(talk: Talk) {
    let policy = TenantPolicy {
        in_flight: Some(4),
        rate: Some(rate_of("1/h burst 6")),
        fuel_per_minute: Some(QUOTA),
        kib_ms_per_minute: Some(GIB_SECOND),
        ..TenantPolicy::default()
    };
    bound(&talk, policy).await;
    let bounded = QuotaUse {
        pending: 0,
        in_flight: Some(0),
        starts: Some(0),
        fuel: Some(0),
        kib_ms: Some(0),
    };
    assert_eq!(in_use(&talk, "acme").await, bounded, "it never had a task");
    acme(&talk, 5).await;
    talk.submit(of_tenant("a", "other")).await;
    let claims = talk.claim(10).await;
    let busy = QuotaUse { pending: 5, in_flight: Some(4), starts: Some(4), ..bounded };
    assert_eq!(in_use(&talk, "acme").await, busy);
    let other = QuotaUse { pending: 1, ..QuotaUse::default() };
    assert_eq!(in_use(&talk, "other").await, other, "nothing else of it is bounded");
    assert_eq!(in_use(&talk, "nobody").await, QuotaUse::default());
    let elsewhere = talk.broker.quota_use(&queue_named("nowhere"), &[tenant("acme")]).await;
    assert_eq!(elsewhere.unwrap(), [QuotaUse::default()]);

    let is_acme = |claim: &&Claim| claim.task.as_ref().unwrap().tenant == tenant("acme");
    let claim = claims.iter().find(is_acme).unwrap();
    talk.settle(used(claim, QUOTA + QUOTA / 2, GIB_SECOND / 2)).await;
    let now = in_use(&talk, "acme").await;
    assert_eq!((now.pending, now.in_flight, now.starts), (4, Some(3), Some(4)));
    // What was used comes back all the time.
    let (fuel, kib_ms) = (now.fuel.unwrap(), now.kib_ms.unwrap());
    assert!((QUOTA..=QUOTA + QUOTA / 2).contains(&fuel), "{fuel}: a debt is told");
    assert!((GIB_SECOND / 4..=GIB_SECOND / 2).contains(&kib_ms), "{kib_ms}");
    talk.pass(MINUTE_MS / 2);
    let later = in_use(&talk, "acme").await;
    assert!(later.fuel.unwrap() <= fuel - QUOTA / 2, "{later:?} after {now:?}");
    assert_eq!(later.kib_ms, Some(0));
    talk.pass(HOUR_MS);
    let later = in_use(&talk, "acme").await;
    assert_eq!((later.starts, later.fuel), (Some(3), Some(0)));

    bound(&talk, TenantPolicy { fuel_per_minute: Some(1), ..TenantPolicy::default() }).await;
    let fuel = QuotaUse { pending: 4, fuel: Some(0), ..QuotaUse::default() };
    assert_eq!(in_use(&talk, "acme").await, fuel);
}

async fn each_tenant_that_is_asked_for_is_answered(talk: Talk) {
    acme(&talk, 2).await;
    let mut names: Vec<_> = (0..250).map(|n| tenant(&format!("t{n}"))).collect();
    names.push(tenant("acme"));
    let told = talk.broker.quota_use(&queue(), &names).await.unwrap();
    let pending: Vec<u64> = told.iter().map(|used| used.pending).collect();
    assert_eq!((told.len(), pending.iter().sum::<u64>(), pending[250]), (251, 2, 2));
    assert_eq!(talk.broker.quota_use(&queue(), &[]).await.unwrap(), []);
}
