//! What tenants use, counted by day.

use bulkhead_core::{Metering, Outcome, Payload};
use bulkhead_queue::{Claim, Day, End, Settlement, Usage, UsageRow};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    every_settled_attempt_adds_to_its_tenants_day,
    tenants_plugins_and_types_are_apart,
    days_are_apart_and_asked_for_by_their_range,
    what_a_stale_claim_used_counts_too,
    what_was_given_back_used_nothing,
];

const METERING: Metering = Metering {
    fuel: 1_000,
    peak_memory_bytes: 2 << 20,
    cpu_us: 300,
    wall_us: 4_000,
    instantiate_us: 5,
    log_bytes: 6,
    log_lines_dropped: 0,
    host_calls: 7,
    bytes_in: 0,
    bytes_out: 9,
};

fn metered(claim: &Claim) -> Settlement {
    metered_by(claim, Some("p"))
}

fn metered_by(claim: &Claim, plugin: Option<&str>) -> Settlement {
    let plugin = plugin.map(|name| name.parse().unwrap());
    let outcome = Outcome::Done(Payload::default());
    let report =
        bulkhead_core::AttemptReport { metering: METERING, ..report(claim.attempt, outcome) };
    let end = End::Complete { report, retention_ms: 0, children: Vec::new() };
    Settlement { token: claim.token.clone(), end, plugin }
}

async fn today(talk: &Talk) -> Vec<UsageRow> {
    let day = Day::of(talk.now());
    let mut rows = talk.broker.usage(&queue(), day, day).await.unwrap();
    rows.sort_by(|a, b| a.line.cmp(&b.line));
    rows
}

/// Away from midnight, so that a test's day does not end under it.
fn noon(talk: &Talk) {
    talk.pass((DAY_MS - talk.now() % DAY_MS) + DAY_MS / 2);
}

async fn every_settled_attempt_adds_to_its_tenants_day(talk: Talk) {
    noon(&talk);
    assert!(today(&talk).await.is_empty());
    talk.submit_many((0..3).map(|_| of_tenant("a", "acme")).collect()).await;
    talk.submit(of_tenant("a", "other")).await;
    let claims = talk.claim(10).await;
    let settle = claims.iter().map(metered).collect();
    assert!(talk.say(Say { settle, ..Say::default() }).await.stale.is_empty());
    let rows = today(&talk).await;
    assert_eq!(rows.len(), 2);
    let once = Usage::of(&METERING);
    let mut thrice = once;
    thrice.add(once);
    thrice.add(once);
    assert_eq!((rows[0].line.to_string(), rows[0].usage), ("acme:p:a".into(), thrice));
    assert_eq!((rows[1].line.to_string(), rows[1].usage), ("other:p:a".into(), once));
    assert_eq!(once.kib_ms, 2_048 * 4);
}

async fn tenants_plugins_and_types_are_apart(talk: Talk) {
    noon(&talk);
    let mut sent = Vec::new();
    for (task_type, of) in [("a", "acme"), ("b", "acme"), ("a", "acme"), ("a", "other")] {
        sent.push(talk.submit(of_tenant(task_type, of)).await);
    }
    let mut claims = talk.claim(10).await;
    claims.sort_by_key(|claim| sent.iter().position(|id| *id == claim.id));
    let plugins = [Some("p"), None, Some("acme/p"), Some("p")];
    assert_eq!(ids(&claims), sent);
    let mut settle: Vec<Settlement> = Vec::new();
    for (claim, plugin) in claims.iter().zip(plugins) {
        settle.push(metered_by(claim, plugin));
    }
    assert!(talk.say(Say { settle, ..Say::default() }).await.stale.is_empty());
    let mut due: Vec<String> = claims
        .iter()
        .zip(plugins)
        .map(|(claim, plugin)| {
            let task = claim.task.as_ref().unwrap();
            format!("{}:{}:{}", task.tenant, plugin.unwrap_or(""), task.task_type)
        })
        .collect();
    due.sort();
    let rows = today(&talk).await;
    assert_eq!(rows.iter().map(|row| row.line.to_string()).collect::<Vec<_>>(), due);
    assert!(rows.iter().all(|row| row.usage == Usage::of(&METERING)), "{rows:#?}");
}

async fn days_are_apart_and_asked_for_by_their_range(talk: Talk) {
    noon(&talk);
    let first = Day::of(talk.now());
    for _ in 0..3 {
        talk.submit(new_task("a")).await;
        let claim = talk.claim_one().await;
        talk.settle(metered(&claim)).await;
        talk.pass(DAY_MS);
    }
    let days = async |from: u32, to: u32| -> Vec<u32> {
        let (from, to) = (Day(first.0 + from), Day(first.0 + to));
        let rows = talk.broker.usage(&queue(), from, to).await.unwrap();
        let mut days: Vec<u32> = rows.iter().map(|row| row.day.0 - first.0).collect();
        days.sort_unstable();
        days
    };
    assert_eq!(days(0, 2).await, [0, 1, 2]);
    assert_eq!(days(1, 1).await, [1]);
    assert_eq!(days(3, 9).await, [0; 0]);
}

async fn what_a_stale_claim_used_counts_too(talk: Talk) {
    noon(&talk);
    talk.submit(new_task("a")).await;
    let first = talk.claim_one().await;
    talk.pass(HOUR_MS);
    let second = talk.claim_one().await;
    assert!(talk.is_stale(metered(&first)).await);
    talk.settle(metered(&second)).await;
    let rows = today(&talk).await;
    assert_eq!((rows.len(), rows[0].usage.attempts), (1, 2));
}

async fn what_was_given_back_used_nothing(talk: Talk) {
    noon(&talk);
    talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.settle(given_back(&claim)).await;
    assert!(today(&talk).await.iter().all(|row| row.usage == Usage::default()));
}
