//! Canaries that several shelves judge on one broker.

use std::sync::atomic::{AtomicU64, Ordering};

use bulkhead_core::canary::WallTimes;
use bulkhead_queue::{Broker, Clock, EmbeddedBroker, JournalRange};

use super::super::{KEPT_VERSIONS, Upload};
use super::*;

/// A broker with versions `1` to `3` of a plugin, of which the first is active.
pub(in crate::fleet) async fn stage() -> (EmbeddedBroker, Identity) {
    // Its clock moves on at each look, so that versions are in the order of their pushes.
    let now_us = AtomicU64::new(0);
    let clock = Clock::read_by(move || now_us.fetch_add(1_000, Ordering::Relaxed));
    let (broker, plugin) = (EmbeddedBroker::in_memory_at(clock), Identity::from("resize"));
    let shelf = Shelf::new(broker.archive(), "ann");
    for number in 1..=3 {
        push(&shelf, number).await;
    }
    shelf.activate(&plugin, "1", 5).await.unwrap();
    (broker, plugin)
}

async fn push(shelf: &Shelf<'_>, number: u32) {
    let upload = Upload {
        name: "resize".parse().unwrap(),
        owner: None,
        component: number.to_be_bytes().to_vec(),
        version: Some(number.to_string()),
        manifest: None,
        signature: None,
    };
    shelf.push(upload, None, 0).await.unwrap();
}

pub(in crate::fleet) fn plan() -> CanaryPlan {
    CanaryPlan { shares_permille: vec![50, 500], attempts: 100, ..CanaryPlan::default() }
}

pub(in crate::fleet) fn counts(canary: &Canary, new: (u64, u64), old: (u64, u64)) -> CanaryCounts {
    let side = |(failures, attempts): (u64, u64)| {
        let mut wall = WallTimes::default();
        wall.add(70, attempts - failures);
        Side { attempts, failures, excused: 0, wall }
    };
    CanaryCounts {
        name: canary.name.clone(),
        owner: canary.owner.clone(),
        digest: canary.digest,
        began_at: canary.began_at,
        round: canary.round,
        new: side(new),
        old: side(old),
    }
}

/// One look of a host.
pub(in crate::fleet) async fn judge(
    shelf: &Shelf<'_>,
    plugin: &Identity,
    now: UnixMs,
) -> Result<CanaryTurn, FleetError> {
    let all = shelf.canary_counts().await?;
    shelf.judge_canary(plugin, &all, now).await
}

async fn actions(broker: &EmbeddedBroker) -> Vec<String> {
    let lines = broker.archive().journal_entries(&JournalRange::newest(100)).await.unwrap();
    lines.into_iter().map(|entry| entry.line.action).collect()
}

#[tokio::test]
async fn of_many_hosts_that_judge_at_once_one_gives_the_verdict() {
    let (broker, plugin) = stage().await;
    let shelves: Vec<Shelf<'_>> =
        (0..5).map(|at| Shelf::new(broker.archive(), format!("host h{at}"))).collect();
    let canary = shelves[0].begin_canary(&plugin, "2", &plan(), &[], 10).await.unwrap();
    // No host alone has seen enough.
    for (at, shelf) in shelves.iter().enumerate() {
        let counts = counts(&canary, (1, 1), (0, 100));
        shelf.count_canary(&format!("h{at}"), &counts, canary.ends_at, 11).await.unwrap();
    }
    let looks = shelves.iter().map(|shelf| judge(shelf, &plugin, 12));
    let turns = futures::future::join_all(looks).await;
    let ended = turns.into_iter().filter(|turn| matches!(turn, Ok(CanaryTurn::Ended(_))));
    assert_eq!(ended.count(), 1);
    let fleet = shelves[0].read().await.unwrap();
    let canary = &fleet.canaries[&plugin];
    let verdict = canary.verdict.as_ref().unwrap();
    assert!(verdict.end == CanaryEnd::RolledBack && verdict.reason.contains("5 of 5"));
    assert_eq!((canary.past[0].new.failures, canary.past[0].old.attempts), (5, 500));
    let given = actions(&broker).await;
    assert_eq!(given.iter().filter(|action| **action == "plugin.canary_rolled_back").count(), 1);
    assert!(shelves[0].canary_counts().await.unwrap().is_empty(), "they are forgotten");
    assert_eq!(fleet.active(&plugin), Some(fleet.versions_of(&plugin)[0].digest));
    let again = judge(&shelves[0], &plugin, 13).await.unwrap();
    assert_eq!(again, CanaryTurn::Goes, "it has ended");
}

#[tokio::test]
async fn a_version_that_is_not_worse_grows_and_is_activated_in_the_end() {
    let (broker, plugin) = stage().await;
    let shelf = Shelf::new(broker.archive(), "host h1");
    let canary = shelf.begin_canary(&plugin, "2", &plan(), &[], 10).await.unwrap();
    let enough = counts(&canary, (0, 100), (0, 900));
    shelf.count_canary("h1", &enough, canary.ends_at, 11).await.unwrap();
    assert_eq!(judge(&shelf, &plugin, 12).await.unwrap(), CanaryTurn::Grows(500));
    // What was counted in the first round, or in another canary, is not counted again.
    let grown = shelf.read().await.unwrap().canaries[&plugin].clone();
    let other = CanaryCounts { began_at: 9, ..counts(&grown, (0, 1_000), (0, 1_000)) };
    shelf.count_canary("h2", &other, canary.ends_at, 12).await.unwrap();
    assert_eq!(judge(&shelf, &plugin, 13).await.unwrap(), CanaryTurn::Goes);
    let enough = counts(&grown, (0, 100), (0, 100));
    shelf.count_canary("h1", &enough, canary.ends_at, 14).await.unwrap();
    let CanaryTurn::Ended(verdict) = judge(&shelf, &plugin, 15).await.unwrap() else { panic!() };
    assert_eq!((verdict.end, verdict.by.as_str()), (CanaryEnd::Promoted, "host h1"));
    let fleet = shelf.read().await.unwrap();
    assert_eq!(fleet.active(&plugin), Some(canary.digest));
    assert_eq!(fleet.activations[&plugin].steps[1].by, "host h1");
    assert!(fleet.canary(&plugin).is_none());
}

#[tokio::test]
async fn a_promotion_that_was_cut_off_is_finished_by_others() {
    let (broker, plugin) = stage().await;
    let shelf = Shelf::new(broker.archive(), "host h1");
    let canary = shelf.begin_canary(&plugin, "2", &plan(), &[], 10).await.unwrap();
    assert!(shelf.activate_over(&plugin, canary.digest, canary.base, 11).await.unwrap());
    assert!(shelf.read().await.unwrap().canary(&plugin).is_none(), "nobody is tried any more");
    let CanaryTurn::Ended(verdict) = judge(&shelf, &plugin, 12).await.unwrap() else { panic!() };
    assert_eq!(verdict.end, CanaryEnd::Promoted);
    let steps = shelf.read().await.unwrap().activations[&plugin].steps.len();
    assert_eq!(steps, 2, "it was activated once");
}

#[tokio::test]
async fn a_canary_whose_base_is_gone_is_not_promoted_over_what_is_active() {
    let (broker, plugin) = stage().await;
    let shelf = Shelf::new(broker.archive(), "ann");
    let canary = shelf.begin_canary(&plugin, "2", &plan(), &[], 10).await.unwrap();
    let base = canary.base;
    shelf.activate(&plugin, "3", 11).await.unwrap();
    assert!(!shelf.activate_over(&plugin, canary.digest, base, 12).await.unwrap());
    let ended = shelf.read().await.unwrap().canaries[&plugin].verdict.clone().unwrap();
    assert_eq!(ended.end, CanaryEnd::Superseded);
    assert!(matches!(shelf.stop_canary(&plugin, 13).await, Err(FleetError::NotFound(_))));
}

#[tokio::test]
async fn a_canary_ends_with_its_time_and_its_version_is_kept_until_then() {
    let (broker, plugin) = stage().await;
    let shelf = Shelf::new(broker.archive(), "ann");
    let short = CanaryPlan { within_ms: 1_000, ..plan() };
    let canary = shelf.begin_canary(&plugin, "2", &short, &[], 10).await.unwrap();
    for number in 4..=KEPT_VERSIONS as u32 + 6 {
        push(&shelf, number).await;
    }
    let kept = async || {
        let fleet = shelf.read().await.unwrap();
        fleet.versions_of(&plugin).iter().any(|version| version.digest == canary.digest)
    };
    assert!(kept().await);
    assert_eq!(judge(&shelf, &plugin, 1_009).await.unwrap(), CanaryTurn::Goes);
    let CanaryTurn::Ended(verdict) = judge(&shelf, &plugin, 1_010).await.unwrap() else { panic!() };
    assert_eq!(verdict.end, CanaryEnd::Undecided);
    push(&shelf, 99).await;
    assert!(!kept().await);
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let shares = |shares: &[u16]| CanaryPlan { shares_permille: shares.to_vec(), ..plan() };
    for wrong in [
        shares(&[]),
        shares(&[0]),
        shares(&[1_000]),
        shares(&[50, 50]),
        shares(&[500, 50]),
        shares(&(1..=11).collect::<Vec<_>>()),
        CanaryPlan { attempts: 0, ..plan() },
        CanaryPlan { harm_permille: 1_001, ..plan() },
        CanaryPlan { within_ms: 0, ..plan() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
    assert_eq!(CanaryPlan::default().check(), Ok(()));
    assert_eq!([50, 5, 999].map(percent), ["5%", "0.5%", "99.9%"]);
}
