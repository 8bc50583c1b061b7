//! Turns: how claims are shared between tenants, and for how long one may wait.

use std::collections::BTreeMap;

use bulkhead_core::{QueuePolicy, TaskId};
use bulkhead_queue::Claim;

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    tenants_take_turns_of_16,
    a_tenant_alone_takes_everything,
    shares_follow_weights,
    a_single_task_waits_for_one_turn_of_each_other_tenant,
    a_light_tenant_waits_in_proportion_to_heavier_ones,
    idling_earns_nothing,
    a_type_that_nobody_served_is_not_made_up_for,
    hosts_of_other_types_let_nobody_starve,
    a_tenant_without_work_of_a_served_type_takes_no_turn,
];

/// How many claims each tenant got.
fn shares(claims: &[Claim]) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for claim in claims {
        let tenant = claim.task.as_ref().unwrap().tenant.to_string();
        *shares.entry(tenant).or_default() += 1;
    }
    shares
}

async fn flood(talk: &Talk, tenant: &str, tasks: usize) {
    talk.submit_many((0..tasks).map(|_| of_tenant("a", tenant)).collect()).await;
}

async fn weigh(talk: &Talk, weights: &[(&str, u32)]) {
    let tenants = weights.iter().map(|(name, w)| (tenant(name), weight(*w))).collect();
    talk.set_policy(QueuePolicy { tenants, ..QueuePolicy::default() }).await;
}

/// How many claims of others go before this task's.
async fn wait_of(talk: &Talk, id: TaskId, want: u32) -> usize {
    let mut before = 0;
    for _ in 0..10_000 {
        for claim in talk.claim(want).await {
            if claim.id == id {
                return before;
            }
            before += 1;
        }
    }
    panic!("the task is never claimed");
}

async fn tenants_take_turns_of_16(talk: Talk) {
    flood(&talk, "one", 100).await;
    flood(&talk, "two", 100).await;
    let claims = talk.claim(64).await;
    let turns: Vec<String> =
        claims.chunks(16).flat_map(|turn| shares(turn).into_keys().collect::<Vec<_>>()).collect();
    assert_eq!(turns.len(), 4, "16 tasks of one tenant each: {turns:?}");
    assert_eq!(shares(&claims), [("one".into(), 32), ("two".into(), 32)].into());
}

async fn a_tenant_alone_takes_everything(talk: Talk) {
    flood(&talk, "one", 300).await;
    assert_eq!(talk.claim(200).await.len(), 200);
}

async fn shares_follow_weights(talk: Talk) {
    weigh(&talk, &[("one", 10), ("two", 20), ("four", 40)]).await;
    for name in ["one", "two", "four"] {
        flood(&talk, name, 500).await;
    }
    let mut claims = Vec::new();
    for _ in 0..70 {
        claims.extend(talk.claim(10).await);
    }
    let shares = shares(&claims);
    for (name, due) in [("one", 100_usize), ("two", 200), ("four", 400)] {
        let got = shares[name];
        assert!(got.abs_diff(due) <= 32, "`{name}` got {got} of {due}");
    }
}

async fn a_single_task_waits_for_one_turn_of_each_other_tenant(talk: Talk) {
    for name in ["one", "two", "three", "four"] {
        flood(&talk, name, 300).await;
    }
    for want in [1, 7, 100] {
        talk.claim(50).await;
        let id = talk.submit(of_tenant("a", "newcomer")).await;
        let waited = wait_of(&talk, id, want).await;
        assert!(waited <= 4 * 16, "{waited} claims of others went before, {want} at a time");
    }
}

async fn a_light_tenant_waits_in_proportion_to_heavier_ones(talk: Talk) {
    weigh(&talk, &[("light", 10), ("equal", 10), ("heavy", 30)]).await;
    flood(&talk, "equal", 300).await;
    flood(&talk, "heavy", 500).await;
    for round in 0..3 {
        // The light tenant's own last turn must not be what it waits for.
        talk.claim(100).await;
        let id = talk.submit(of_tenant("a", "light")).await;
        let waited = wait_of(&talk, id, 5).await;
        let bound = 16 + 16 + 16 * 30 / 10;
        assert!(waited <= bound, "{waited} claims of others went before in round {round}");
    }
}

async fn idling_earns_nothing(talk: Talk) {
    flood(&talk, "idler", 16).await;
    assert_eq!(talk.claim(16).await.len(), 16);
    flood(&talk, "busy", 400).await;
    assert_eq!(talk.claim(200).await.len(), 200);
    flood(&talk, "idler", 400).await;
    let shares = shares(&talk.claim(64).await);
    assert!(shares["busy"] >= 16, "the idler caught up: {shares:?}");
}

/// Claim and complete all tasks of a type; how many there were.
async fn serve_all(talk: &Talk, task_type: &str) -> usize {
    let (mut served, mut settle) = (0, Vec::new());
    loop {
        let say = Say { settle, want: 250, types: &[task_type], ..Say::default() };
        let claims = talk.say(say).await.claims;
        if claims.is_empty() {
            return served;
        }
        served += claims.len();
        settle = claims.iter().map(|claim| done_for(claim, 0)).collect();
    }
}

/// While nobody serves type `b`, another tenant is given 100,000 tasks of type `a`.
async fn a_type_that_nobody_served_is_not_made_up_for(talk: Talk) {
    for name in ["left", "late"] {
        talk.submit_many((0..300).map(|_| of_tenant("b", name)).collect()).await;
    }
    let mut served = 0;
    for _ in 0..10 {
        for _ in 0..10 {
            flood(&talk, "busy", 1_000).await;
        }
        served += serve_all(&talk, "a").await;
    }
    assert_eq!(served, 100_000);
    flood(&talk, "busy", 300).await;
    for want in [1, 7, 100] {
        let id = talk.submit(of_tenant("a", &format!("newcomer-{want}"))).await;
        let waited = wait_of(&talk, id, want).await;
        assert!(waited <= 3 * 16, "{waited} claims of others went before, {want} at a time");
    }
    let shares = shares(&talk.claim(96).await);
    let due = |name: &str| shares.get(name).copied().unwrap_or(0);
    for name in ["left", "late", "busy"] {
        assert!(due(name) >= 16, "`{name}` got {} of 32: {shares:?}", due(name));
    }
}

/// Hosts that serve another type move the present past whatever this type's tenants come to.
async fn hosts_of_other_types_let_nobody_starve(talk: Talk) {
    for name in ["one", "two", "three"] {
        talk.submit_many((0..300).map(|_| of_tenant("b", name)).collect()).await;
    }
    let mut claims = Vec::new();
    for round in 0..30 {
        flood(&talk, "busy", 200).await;
        assert_eq!(serve_all(&talk, "a").await, 200);
        claims.extend(talk.claim_of(&["b"], 10).await);
        let shares = shares(&claims);
        let got = ["one", "two", "three"].map(|name| shares.get(name).copied().unwrap_or(0));
        let ahead = got.iter().max().unwrap() - got.iter().min().unwrap();
        assert!(ahead <= 16, "{got:?} after round {round}");
    }
}

async fn a_tenant_without_work_of_a_served_type_takes_no_turn(talk: Talk) {
    flood(&talk, "one", 40).await;
    talk.submit_many((0..40).map(|_| of_tenant("b", "two")).collect()).await;
    let claims = talk.claim_of(&["a"], 100).await;
    assert_eq!(shares(&claims), [("one".into(), 40)].into());
}
