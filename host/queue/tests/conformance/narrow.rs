//! Types that a host serves for single tenants only.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_core::{QueuePolicy, TenantPolicy};
use bulkhead_queue::{Claim, Lines, NewTask, Serves};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    a_host_for_one_tenant_gets_its_tasks_alone_and_in_order,
    others_with_work_that_it_does_not_serve_cost_no_turn,
    tenants_that_it_serves_take_turns,
    one_type_may_be_for_all_tenants_and_another_for_some,
    what_is_said_twice_is_served_once,
    a_type_bound_holds_over_both_kinds_of_hosts,
    a_tenant_at_its_bound_is_held_back_from_its_own_host,
    a_paused_type_is_paused_for_single_tenants,
    beside_a_host_for_all_nobody_starves,
    of_more_than_a_thousand_the_first_are_served,
    only_its_tenants_work_wakes_it,
    each_kind_of_host_has_markers_of_its_own,
    a_full_claim_passes_the_wake_up_of_its_tenant_on,
    a_task_that_comes_due_wakes_its_tenants_host,
];

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

fn shares(claims: &[Claim]) -> BTreeMap<(String, String), usize> {
    let mut shares = BTreeMap::new();
    for claim in claims {
        let task = claim.task.as_ref().unwrap();
        let line = (task.task_type.to_string(), task.tenant.to_string());
        *shares.entry(line).or_default() += 1;
    }
    shares
}

fn line(task_type: &str, tenant: &str) -> (String, String) {
    (task_type.into(), tenant.into())
}

async fn flood(talk: &Talk, task_type: &str, tenant: &str, tasks: usize) {
    talk.submit_many((0..tasks).map(|_| of_tenant(task_type, tenant)).collect()).await;
}

async fn a_host_for_one_tenant_gets_its_tasks_alone_and_in_order(talk: Talk) {
    flood(&talk, "a", "other", 5).await;
    let mut mine = Vec::new();
    for _ in 0..3 {
        mine.push(talk.submit(of_tenant("a", "mine")).await);
        flood(&talk, "a", "other", 1).await;
    }
    let claims = talk.claim_of(&["a:mine"], 2).await;
    assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), mine[..2]);
    let claims = talk.claim_of(&["a:mine"], 10).await;
    assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), mine[2..]);
    assert!(talk.claim_of(&["a:mine", "a:nobody", "b:other"], 10).await.is_empty());
    assert_eq!(shares(&talk.claim(100).await), [(line("a", "other"), 8)].into());
    talk.is_sound().await;
}

async fn others_with_work_that_it_does_not_serve_cost_no_turn(talk: Talk) {
    flood(&talk, "a", "mine", 100).await;
    flood(&talk, "a", "other", 100).await;
    assert_eq!(shares(&talk.claim_of(&["a:mine"], 90).await), [(line("a", "mine"), 90)].into());
}

async fn tenants_that_it_serves_take_turns(talk: Talk) {
    for name in ["one", "two", "three"] {
        flood(&talk, "a", name, 100).await;
    }
    let claims = talk.claim_of(&["a:one", "a:two"], 64).await;
    assert_eq!(shares(&claims), [(line("a", "one"), 32), (line("a", "two"), 32)].into());
    for turn in claims.chunks(16) {
        assert_eq!(shares(turn).len(), 1, "16 tasks of one tenant: {:?}", shares(turn));
    }
}

async fn one_type_may_be_for_all_tenants_and_another_for_some(talk: Talk) {
    for name in ["one", "two"] {
        for task_type in ["a", "b", "c"] {
            flood(&talk, task_type, name, 20).await;
        }
    }
    let claims = talk.claim_of(&["c:two", "b", "a:one"], 200).await;
    let due = [line("a", "one"), line("b", "one"), line("b", "two"), line("c", "two")];
    assert_eq!(shares(&claims), due.map(|line| (line, 20)).into());
    talk.is_sound().await;
}

async fn what_is_said_twice_is_served_once(talk: Talk) {
    flood(&talk, "a", "one", 40).await;
    flood(&talk, "a", "two", 40).await;
    let claims = talk.claim_of(&["a:one", "a", "a:one", "a:two", "a"], 64).await;
    assert_eq!(shares(&claims), [(line("a", "one"), 32), (line("a", "two"), 32)].into());
    let claims = talk.claim_of(&["a:one", "a:one"], 64).await;
    assert_eq!(shares(&claims), [(line("a", "one"), 8)].into());
}

async fn a_type_bound_holds_over_both_kinds_of_hosts(talk: Talk) {
    let types = [(of_type("a"), at_once(5))].into();
    talk.set_policy(QueuePolicy { types, ..QueuePolicy::default() }).await;
    flood(&talk, "a", "one", 10).await;
    flood(&talk, "a", "two", 10).await;
    flood(&talk, "b", "one", 10).await;
    let claims = talk.claim_of(&["a:one", "a:two", "b:one"], 18).await;
    let by_type = |claims: &[Claim], task_type: &str| {
        shares(claims).iter().filter(|((name, _), _)| name == task_type).map(|(_, n)| n).sum()
    };
    let (of_a, of_b): (usize, usize) = (by_type(&claims, "a"), by_type(&claims, "b"));
    assert_eq!((of_a, of_b), (5, 10));
    assert!(talk.claim_of(&["a"], 10).await.is_empty());
    assert!(talk.claim_of(&["a:two"], 10).await.is_empty());
    let settle: Vec<_> = claims
        .iter()
        .filter(|claim| claim.task.as_ref().unwrap().task_type.as_str() == "a")
        .map(done)
        .collect();
    let say = Say { settle, want: 10, types: &["a:two"], ..Say::default() };
    assert_eq!(talk.say(say).await.claims.len(), 5);
    talk.is_sound().await;
}

async fn a_tenant_at_its_bound_is_held_back_from_its_own_host(talk: Talk) {
    let bounded = TenantPolicy { in_flight: Some(3), ..TenantPolicy::default() };
    let tenants = [(tenant("one"), bounded)].into();
    talk.set_policy(QueuePolicy { tenants, ..QueuePolicy::default() }).await;
    flood(&talk, "a", "one", 10).await;
    flood(&talk, "a", "two", 10).await;
    let claims = talk.claim_of(&["a:one"], 10).await;
    assert_eq!(claims.len(), 3);
    assert!(talk.claim_of(&["a:one"], 10).await.is_empty());
    assert_eq!(talk.claim_of(&["a:one", "a:two"], 4).await.len(), 4, "others go on");
    let say = Say { settle: vec![done(&claims[0])], want: 10, types: &["a:one"], ..Say::default() };
    assert_eq!(talk.say(say).await.claims.len(), 1);
    talk.is_sound().await;
}

async fn a_paused_type_is_paused_for_single_tenants(talk: Talk) {
    flood(&talk, "a", "one", 2).await;
    flood(&talk, "b", "one", 2).await;
    talk.broker.pause(&queue(), Some(&of_type("a"))).await.unwrap();
    let claims = talk.claim_of(&["a:one", "b:one"], 10).await;
    assert_eq!(shares(&claims), [(line("b", "one"), 2)].into());
    talk.broker.resume(&queue(), Some(&of_type("a"))).await.unwrap();
    assert_eq!(talk.claim_of(&["a:one", "b:one"], 10).await.len(), 2);
}

/// A host that serves one tenant alone moves that one's virtual time and the present far on.
async fn beside_a_host_for_all_nobody_starves(talk: Talk) {
    for name in ["one", "two", "busy"] {
        flood(&talk, "a", name, 200).await;
    }
    let mut claims = Vec::new();
    for _ in 0..30 {
        flood(&talk, "a", "busy", 50).await;
        assert_eq!(talk.claim_of(&["a:busy"], 50).await.len(), 50, "its own are there for it");
        claims.extend(talk.claim_of(&["a"], 10).await);
    }
    let shares = shares(&claims);
    let got = ["one", "two"].map(|name| shares.get(&line("a", name)).copied().unwrap_or(0));
    assert!(got[0].abs_diff(got[1]) <= 16, "{shares:?}");
    // The host for all owes each tenant its turn, the busy one too.
    assert!(got.iter().all(|got| *got >= 300 / 3 - 16), "{shares:?}");
}

async fn of_more_than_a_thousand_the_first_are_served(talk: Talk) {
    flood(&talk, "a", "t0", 1).await;
    flood(&talk, "a", "t999", 1).await;
    flood(&talk, "a", "t1000", 1).await;
    let all: Vec<String> = (0..1_100).map(|n| format!("a:t{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(talk.claim_of(&all, 10).await.len(), 2);
    assert_eq!(talk.claim_of(&all[Serves::MAX..], 10).await.len(), 1);
}

fn lines(types: &[&str]) -> [Lines; 1] {
    [(queue(), types.iter().map(|name| serves(name)).collect())]
}

/// A host of these types looked and found nothing, as every host does before it waits.
async fn looked(talk: &Talk, types: &[&str]) {
    assert!(talk.claim_of(types, 1).await.is_empty());
}

async fn only_its_tenants_work_wakes_it(talk: Talk) {
    looked(&talk, &["a:mine"]).await;
    let lines = lines(&["a:mine"]);
    talk.submit(of_tenant("a", "other")).await;
    talk.submit(of_tenant("b", "mine")).await;
    assert!(!talk.broker.await_work(&lines, SHORT).await.unwrap());
    let submitting = talk.submit(of_tenant("a", "mine"));
    let (heard, _) = tokio::join!(talk.broker.await_work(&lines, LONG), submitting);
    assert!(heard.unwrap());
    assert!(!talk.broker.await_work(&lines, SHORT).await.unwrap(), "once is enough");
}

async fn each_kind_of_host_has_markers_of_its_own(talk: Talk) {
    looked(&talk, &["a:mine"]).await;
    looked(&talk, &["a"]).await;
    talk.submit(of_tenant("a", "mine")).await;
    assert!(talk.broker.await_work(&lines(&["a:mine"]), LONG).await.unwrap());
    assert!(talk.broker.await_work(&lines(&["a"]), LONG).await.unwrap());
    talk.submit(of_tenant("a", "other")).await;
    assert!(!talk.broker.await_work(&lines(&["a:mine"]), SHORT).await.unwrap());
    assert!(talk.broker.await_work(&lines(&["a"]), LONG).await.unwrap());
}

async fn a_full_claim_passes_the_wake_up_of_its_tenant_on(talk: Talk) {
    looked(&talk, &["a:mine"]).await;
    flood(&talk, "a", "mine", 3).await;
    flood(&talk, "a", "other", 3).await;
    let lines = lines(&["a:mine"]);
    assert!(talk.broker.await_work(&lines, LONG).await.unwrap());
    assert_eq!(talk.claim_of(&["a:mine"], 2).await.len(), 2);
    assert!(talk.broker.await_work(&lines, LONG).await.unwrap(), "one is left");
    assert_eq!(talk.claim_of(&["a:mine"], 2).await.len(), 1);
    assert!(!talk.broker.await_work(&lines, SHORT).await.unwrap());
}

async fn a_task_that_comes_due_wakes_its_tenants_host(talk: Talk) {
    looked(&talk, &["a:mine"]).await;
    let lines = lines(&["a:mine"]);
    let mut task: NewTask = of_tenant("a", "mine");
    task.terms.not_before = Some(talk.now() + 50);
    talk.submit(task).await;
    assert!(talk.broker.await_work(&lines, LONG).await.unwrap(), "to look when it is due");
}
