//! What running attempts say of themselves.

use bulkhead_queue::Progress;

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    the_newest_progress_of_a_running_attempt_is_shown,
    progress_is_forgotten_at_settlement,
    what_a_stale_claim_says_is_dropped,
    progress_is_forgotten_with_a_lost_lease,
];

fn at(fraction: f32) -> Progress {
    Progress { fraction, message: format!("{fraction} of it\n"), at: 7 }
}

async fn say(talk: &Talk, claim: &bulkhead_queue::Claim, fraction: f32) {
    let progress = vec![(claim.token.clone(), at(fraction))];
    talk.say(Say { progress, ..Say::default() }).await;
}

async fn the_newest_progress_of_a_running_attempt_is_shown(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    assert_eq!(talk.view(id).await.progress, None);
    for fraction in [0.25, 0.5] {
        say(&talk, &claim, fraction).await;
        assert_eq!(talk.view(id).await.progress, Some(at(fraction)));
    }
    let renew = Say { renew: vec![claim.token.clone()], ..Say::default() };
    talk.say(renew).await;
    assert_eq!(talk.view(id).await.progress, Some(at(0.5)), "a renewal changes nothing");
}

async fn progress_is_forgotten_at_settlement(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    for end in [given_back, |claim: &_| retry(claim, 0), done] {
        let claim = talk.claim_one().await;
        say(&talk, &claim, 0.5).await;
        talk.settle(end(&claim)).await;
        assert_eq!(talk.view(id).await.progress, None);
    }
    talk.is_sound().await;
}

async fn what_a_stale_claim_says_is_dropped(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let first = talk.claim_one().await;
    talk.pass(HOUR_MS);
    let second = talk.claim_one().await;
    say(&talk, &first, 0.9).await;
    assert_eq!(talk.view(id).await.progress, None);
    say(&talk, &second, 0.1).await;
    say(&talk, &first, 0.9).await;
    assert_eq!(talk.view(id).await.progress, Some(at(0.1)));
    talk.settle(done(&second)).await;
    say(&talk, &second, 0.9).await;
    assert_eq!(talk.view(id).await.progress, None);
    talk.is_sound().await;
}

async fn progress_is_forgotten_with_a_lost_lease(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    say(&talk, &claim, 0.9).await;
    talk.pass(HOUR_MS);
    talk.claim_one().await;
    assert_eq!(talk.view(id).await.progress, None);
    talk.is_sound().await;
}
