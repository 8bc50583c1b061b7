//! Claims: one attempt each, under a lease, proven by a token.

use std::time::Duration;

use bulkhead_core::State;
use bulkhead_queue::Entry;

use crate::talk::{LEASE, Say, Talk};
use crate::words::*;

crate::every_broker![
    a_stale_claim_changes_nothing,
    a_renewed_lease_is_not_taken_back,
    a_lost_lease_is_recorded_and_the_task_goes_back_in_line,
    attempts_count_when_they_are_claimed,
    only_a_step_that_asks_takes_leases_back,
    the_lease_is_the_steps_own,
    the_next_due_time_tells_of_ending_leases,
    a_cancelled_task_whose_host_died_is_claimed_as_cancelled,
    what_a_host_holds_is_known_after_a_lost_answer,
    a_lost_lease_is_not_held,
    no_more_is_claimed_than_is_wanted,
    hosts_never_share_a_claim,
    a_claim_brings_no_more_bytes_than_it_may,
    a_record_that_is_too_long_comes_alone,
    long_records_among_short_ones_are_found_wherever_they_stand,
    what_stays_for_its_bytes_costs_its_tenant_no_turn,
];

const HELD: Duration = Duration::from_secs(30);

async fn a_stale_claim_changes_nothing(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let first = talk.claim_one().await;
    talk.pass(HOUR_MS);
    let second = talk.claim_one().await;
    assert_eq!((second.id, second.attempt), (id, 2));
    assert_ne!(first.token, second.token);
    let renew = Say { renew: vec![first.token.clone()], ..Say::default() };
    assert_eq!(talk.say(renew).await.lost, [0]);
    for late in [done(&first), dead(&first), cancelled(&first), retry(&first, 0)] {
        assert!(talk.is_stale(late).await);
        assert_eq!(talk.state(id).await, State::Running);
    }
    assert!(talk.is_stale(given_back(&first)).await);
    let mixed = Say {
        settle: vec![done(&first)],
        renew: vec![second.token.clone(), first.token.clone()],
        ..Say::default()
    };
    let stepped = talk.say(mixed).await;
    assert_eq!((stepped.stale, stepped.lost), (vec![0], vec![1]));
    talk.settle(done(&second)).await;
    assert!(talk.is_stale(done(&second)).await, "a claim settles once");
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts()), (State::Completed, 2));
    talk.is_sound().await;
}

async fn a_renewed_lease_is_not_taken_back(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let say = Say { want: 1, lease: HELD, ..Say::default() };
    let claim = talk.say(say).await.claims.remove(0);
    for _ in 0..10 {
        talk.pass(20 * SECOND_MS);
        let renew =
            Say { renew: vec![claim.token.clone()], want: 1, lease: HELD, ..Say::default() };
        let stepped = talk.say(renew).await;
        assert!(stepped.lost.is_empty() && stepped.claims.is_empty());
    }
    let holder = talk.view(id).await.holder.unwrap();
    assert!(holder.lease_until > talk.now() && holder.lease_until <= talk.now() + 30 * SECOND_MS);
    talk.settle(done(&claim)).await;
    assert_eq!(talk.view(id).await.attempts(), 1);
}

async fn a_lost_lease_is_recorded_and_the_task_goes_back_in_line(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let lost = talk.say(Say { host: "h9", want: 1, ..Say::default() }).await;
    assert_eq!(lost.claims.len(), 1);
    assert_eq!(talk.view(id).await.holder.unwrap().host, "h9");
    talk.pass(HOUR_MS);
    let stepped = talk.say(Say::default()).await;
    assert_eq!(stepped.reclaimed, 1);
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts()), (State::Pending, 1));
    assert!(matches!(&view.history[..], [Entry::LeaseLost { host, .. }] if host == "h9"));
    assert_eq!(talk.total("reclaimed").await, 1);
    talk.is_sound().await;
}

async fn attempts_count_when_they_are_claimed(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    for attempt in 1..=5 {
        let claim = talk.claim_one().await;
        assert_eq!((claim.id, claim.attempt), (id, attempt));
        assert_eq!(talk.view(id).await.attempts(), attempt);
        talk.pass(HOUR_MS);
    }
}

async fn only_a_step_that_asks_takes_leases_back(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    talk.claim_one().await;
    talk.pass(HOUR_MS);
    let say = Say { want: 1, reclaim: false, ..Say::default() };
    let stepped = talk.say(say).await;
    assert!(stepped.claims.is_empty() && stepped.reclaimed == 0);
    assert_eq!(talk.state(id).await, State::Running);
    assert_eq!(talk.claim_one().await.id, id);
}

async fn the_lease_is_the_steps_own(talk: Talk) {
    talk.submit_many(vec![new_task("a"), new_task("a")]).await;
    let short = talk.say(Say { want: 1, lease: HELD, ..Say::default() }).await.claims.remove(0);
    let long = talk.claim_one().await;
    talk.pass(MINUTE_MS);
    let claims = talk.claim(10).await;
    assert_eq!(ids(&claims), [short.id]);
    talk.settle(done(&long)).await;
}

async fn the_next_due_time_tells_of_ending_leases(talk: Talk) {
    assert_eq!(talk.say(Say::default()).await.next_due, None);
    talk.submit(new_task("a")).await;
    // A host that got all it wanted comes again at once; one that did not asks when.
    let stepped = talk.say(Say { want: 2, lease: HELD, ..Say::default() }).await;
    let due = stepped.next_due.unwrap();
    assert!(due <= HELD && due > HELD / 2, "{due:?}");
}

async fn a_cancelled_task_whose_host_died_is_claimed_as_cancelled(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    talk.claim_one().await;
    talk.broker.cancel(&queue(), &[id], DAY_MS).await.unwrap();
    talk.pass(HOUR_MS);
    let claim = talk.claim_one().await;
    assert!(claim.cancelled && claim.id == id);
    talk.settle(cancelled(&claim)).await;
    assert_eq!(talk.state(id).await, State::Cancelled);
    talk.is_sound().await;
}

async fn what_a_host_holds_is_known_after_a_lost_answer(talk: Talk) {
    let sent = talk.submit_many((0..4).map(|_| new_task("a")).collect()).await;
    let other = talk.say(Say { host: "h2", want: 1, ..Say::default() }).await;
    // This answer is lost.
    let lost = talk.claim(3).await;
    talk.broker.cancel(&queue(), &[lost[0].id], DAY_MS).await.unwrap();
    let mut held = talk.broker.held(&queue(), "h1").await.unwrap();
    assert_eq!(held.len(), 3);
    held.sort_by_key(|claim| claim.id);
    for claim in &held {
        let before = lost.iter().find(|before| before.id == claim.id).unwrap();
        assert_eq!((&claim.token, claim.attempt), (&before.token, 1));
        assert_eq!(claim.task.as_ref().unwrap(), before.task.as_ref().unwrap());
        assert_eq!(claim.cancelled, claim.id == lost[0].id);
        talk.settle(done(claim)).await;
    }
    assert!(talk.broker.held(&queue(), "h1").await.unwrap().is_empty());
    let held = talk.broker.held(&queue(), "h2").await.unwrap();
    assert_eq!(ids(&held), ids(&other.claims));
    assert!(sent.contains(&held[0].id));
    assert!(talk.broker.held(&queue(), "h").await.unwrap().is_empty(), "no prefix of a name");
}

async fn a_lost_lease_is_not_held(talk: Talk) {
    talk.submit(new_task("a")).await;
    talk.claim_one().await;
    talk.pass(HOUR_MS);
    assert_eq!(talk.say(Say { host: "h2", want: 1, ..Say::default() }).await.claims.len(), 1);
    assert!(talk.broker.held(&queue(), "h1").await.unwrap().is_empty());
}

async fn no_more_is_claimed_than_is_wanted(talk: Talk) {
    talk.submit_many((0..30).map(|_| new_task("a")).collect()).await;
    for want in [0, 1, 3, 16, 20] {
        let claims = talk.claim(want).await;
        assert!(claims.len() <= want as usize);
    }
    assert!(talk.claim(20).await.is_empty());
    assert_eq!(talk.stats().await.running, 30);
}

async fn hosts_never_share_a_claim(talk: Talk) {
    talk.submit_many((0..200).map(|_| new_task("a")).collect()).await;
    let say = |host| Say { host, want: 60, lease: LEASE, ..Say::default() };
    let (one, two, three) =
        tokio::join!(talk.say(say("h1")), talk.say(say("h2")), { talk.say(say("h3")) });
    let mut all: Vec<_> = [one, two, three].iter().flat_map(|s| ids(&s.claims)).collect();
    assert_eq!(all.len(), 180);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 180);
}

/// A task whose record has about so many bytes more than one without a payload.
fn long(task_type: &str, bytes: usize) -> bulkhead_queue::NewTask {
    bulkhead_queue::NewTask {
        payload: bulkhead_core::Payload::new("x", vec![b'x'; bytes]),
        ..new_task(task_type)
    }
}

fn bytes_of(claims: &[bulkhead_queue::Claim]) -> u64 {
    claims.iter().map(|claim| claim.bytes).sum()
}

/// Claim as a host that may take so many bytes in a step, until nothing is left.
async fn in_portions(talk: &Talk, claim_bytes: u64) -> Vec<Vec<bulkhead_queue::Claim>> {
    let mut portions = Vec::new();
    loop {
        let say = Say { want: 100, claim_bytes, ..Say::default() };
        let stepped = talk.say(say).await;
        if stepped.claims.is_empty() {
            return portions;
        }
        portions.push(stepped.claims);
        assert!(portions.len() < 1_000);
    }
}

async fn a_claim_brings_no_more_bytes_than_it_may(talk: Talk) {
    let sent = talk.submit_many((0..60).map(|_| long("a", 900)).collect()).await;
    let first = talk.say(Say { want: 100, claim_bytes: 10_000, ..Say::default() }).await;
    assert!((9..=10).contains(&first.claims.len()), "{}", first.claims.len());
    assert!(bytes_of(&first.claims) <= 10_000);
    assert_eq!(first.next_due, Some(Duration::ZERO), "there is more to be had at once");
    let rest = in_portions(&talk, 10_000).await;
    let all: Vec<_> = std::iter::once(first.claims).chain(rest).collect();
    assert!(all.iter().all(|claims| bytes_of(claims) <= 10_000));
    let order: Vec<_> = all.iter().flatten().map(|claim| claim.id).collect();
    assert_eq!(order, sent, "each once, in the order in which they stood");
    talk.is_sound().await;
}

async fn a_record_that_is_too_long_comes_alone(talk: Talk) {
    talk.submit_many(vec![new_task("a"), long("a", 900), long("a", 900), new_task("a")]).await;
    let sizes: Vec<usize> =
        in_portions(&talk, 500).await.iter().map(|claims| claims.len()).collect();
    assert_eq!(sizes, [1, 1, 1, 1]);
    assert_eq!(talk.stats().await.running, 4);
    talk.is_sound().await;
}

async fn long_records_among_short_ones_are_found_wherever_they_stand(talk: Talk) {
    for at in 0..12 {
        let tasks = (0..12).map(|place| if place == at { long("a", 900) } else { new_task("a") });
        let sent = talk.submit_many(tasks.collect()).await;
        let whole = talk.view(sent[(at + 1) % 12]).await;
        assert_eq!(whole.state, State::Pending);
        let portions = in_portions(&talk, 1_500).await;
        assert!(portions.iter().all(|claims| bytes_of(claims) <= 1_500), "{at}");
        assert!(portions.len() > 1, "{at}");
        let order: Vec<_> = portions.iter().flatten().map(|claim| claim.id).collect();
        assert_eq!(order, sent, "{at}");
    }
    talk.is_sound().await;
}

async fn what_stays_for_its_bytes_costs_its_tenant_no_turn(talk: Talk) {
    let big = || bulkhead_queue::NewTask { tenant: tenant("big"), ..long("a", 900) };
    talk.submit_many((0..8).map(|_| big()).collect()).await;
    talk.submit_many((0..8).map(|_| of_tenant("a", "small")).collect()).await;
    let mut turns = Vec::new();
    for claims in in_portions(&talk, 1_000).await {
        turns.extend(claims.iter().map(|claim| claim.task.as_ref().unwrap().tenant.to_string()));
    }
    // One long record is a portion; who took it waits until the other has taken as many.
    let first: Vec<&str> = turns.iter().take(4).map(String::as_str).collect();
    assert_eq!(turns.len(), 16);
    assert!(first.contains(&"big") && first.contains(&"small"), "{turns:?}");
    talk.is_sound().await;
}
