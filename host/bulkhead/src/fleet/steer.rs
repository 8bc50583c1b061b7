//! Beginning, judging and ending canaries.
//!
//! A step takes the place of exactly the document that was read, so that of many hosts that judge
//! one gives the verdict. How a version is promoted is `promotion`'s affair.

use std::collections::BTreeMap;

use bulkhead_api::document::CanaryDocument;
use bulkhead_core::canary::{Judgement, Side, SideFigures};
use bulkhead_core::{Digest, UnixMs};
use bulkhead_queue::{Document, DocumentId, DocumentKind, Expected, HostInfo, QueueError};

use super::canary::{
    Canary, CanaryCounts, CanaryEnd, CanaryPlan, CanaryPromotion, CanaryRound, CanaryVerdict,
    counted,
};
use super::shelf::{FleetError, Shelf, TRIES, key, parsed, unknown, written};
use super::{Activation, Fleet, meant};
use crate::plugins::Identity;

/// How long counts are kept after their canary's time is over, in milliseconds.
const COUNTS_KEPT_MS: u64 = 3_600_000;

/// What a look at a canary came to.
#[derive(Debug, Clone, PartialEq)]
pub enum CanaryTurn {
    /// It goes on as it is, or somebody else was quicker.
    Goes,
    /// It goes on with a larger share, in thousandths.
    Grows(u16),
    /// It has ended.
    Ended(CanaryVerdict),
}

impl CanaryTurn {
    /// What it came to, if this look ended it.
    fn of(ended: Option<Canary>) -> Self {
        ended.and_then(|canary| canary.verdict).map_or(Self::Goes, Self::Ended)
    }
}

impl Shelf<'_> {
    /// Let a share of a plugin's tasks go to a version that was pushed, where one of these hosts
    /// or all of them serve another one.
    pub async fn begin_canary(
        &self,
        plugin: &Identity,
        text: &str,
        plan: &CanaryPlan,
        hosts: &[HostInfo],
        now: UnixMs,
    ) -> Result<Canary, FleetError> {
        plan.check().map_err(FleetError::Refused)?;
        let fleet = self.read().await?;
        let versions = fleet.versions_of(plugin);
        if versions.is_empty() {
            return Err(unknown(plugin));
        }
        if fleet.active(plugin).is_none() && !is_served(plugin, hosts) {
            return Err(FleetError::Refused(format!(
                "nothing serves `{plugin}` yet that a canary could be judged against: no version \
                 of it is active, and no running host has it in its folder; activate one first"
            )));
        }
        let version = meant(versions, text).map_err(FleetError::NotFound)?;
        let base = fleet.activations.get(plugin).and_then(Activation::active);
        if base == Some(version.digest) {
            return Err(FleetError::Refused(format!(
                "{} of `{plugin}` is active already",
                version.digest.short()
            )));
        }
        let id = id(plugin)?;
        let held = self.archive.document(&id).await?;
        let before: Option<Canary> = held.as_ref().and_then(parsed);
        if let Some(runs) = before.filter(|canary| canary.is_in_force(base)) {
            return Err(FleetError::Refused(format!(
                "a canary of `{plugin}` runs already: {} has {} of its tasks; end it with \
                 `bulkhead plugin canary {} --stop` or `--promote`",
                runs.digest.short(),
                percent(runs.share_permille()),
                plugin.name
            )));
        }
        let canary = Canary {
            name: version.name.clone(),
            owner: version.owner.clone(),
            digest: version.digest,
            version: version.version.clone(),
            base,
            by: plan.by,
            shares_permille: plan.shares_permille.clone(),
            attempts: plan.attempts,
            harm_permille: plan.harm_permille,
            began_at: now,
            began_by: self.actor.clone(),
            ends_at: now.saturating_add(plan.within_ms),
            round: 0,
            past: Vec::new(),
            promoting: None,
            verdict: None,
        };
        let expected = held.map_or(Expected::Nothing, Expected::Exactly);
        if !self.archive.put_document(&id, &written(&canary)?, &expected, None).await? {
            return Err(FleetError::Refused(format!(
                "somebody else has begun a canary of `{plugin}` at the same time; look at \
                 `bulkhead plugin history {}`",
                plugin.name
            )));
        }
        let detail = format!("{} {}", canary.digest, percent(canary.share_permille()));
        self.note("plugin.canary", plugin, &detail).await?;
        Ok(canary)
    }

    /// End the canary that runs, by hand: its version gets no tasks any more.
    pub async fn stop_canary(&self, plugin: &Identity, now: UnixMs) -> Result<Canary, FleetError> {
        for _ in 0..TRIES {
            let (held, canary) = self.running(plugin).await?;
            if canary.promoting.is_some() {
                return Err(FleetError::Refused(format!(
                    "the canary of `{plugin}` is being promoted already; go back with `bulkhead \
                     plugin rollback {}`",
                    plugin.name
                )));
            }
            let round = CanaryRound::of(&canary, &self.counted(&canary).await?);
            let verdict = self.verdict(CanaryEnd::Stopped, "it was stopped by hand", now);
            if let Some(ended) = self.end(held, canary, round, verdict).await? {
                return Ok(ended);
            }
        }
        Err(contested(plugin))
    }

    /// Judge a canary by what all hosts counted, as [`Shelf::canary_counts`] has it, and do what
    /// follows from it.
    pub async fn judge_canary(
        &self,
        plugin: &Identity,
        all: &[CanaryCounts],
        now: UnixMs,
    ) -> Result<CanaryTurn, FleetError> {
        let held = self.archive.document(&id(plugin)?).await?;
        let (held, canary) = match held.map(|held| (parsed::<Canary>(&held), held)) {
            Some((Some(canary), held)) if canary.verdict.is_none() => (held, canary),
            _ => return Ok(CanaryTurn::Goes),
        };
        if !canary.is_in_force(self.active(plugin).await?) {
            return Ok(CanaryTurn::of(self.end_outdated(held, canary, now).await?));
        }
        if let Some(promotion) = canary.promoting.clone() {
            return Ok(CanaryTurn::of(self.finish(held, canary, promotion, now).await?));
        }
        let sides = counted(&canary, all);
        let round = CanaryRound::of(&canary, &sides);
        let figures = told(&round);
        let verdict = match canary.rule().judge(&sides[0], &sides[1]) {
            Judgement::Worse(evidence) => self.verdict(CanaryEnd::RolledBack, evidence, now),
            Judgement::Enough if canary.round + 1 < canary.shares_permille.len() => {
                return self.grow(plugin, held, canary, round).await;
            }
            Judgement::Enough => {
                let reason = format!("it was not worse: {figures}");
                return Ok(CanaryTurn::of(self.promote(held, canary, round, reason, now).await?));
            }
            Judgement::Open if now >= canary.ends_at => {
                let reason = format!("its time was over before enough was seen: {figures}");
                self.verdict(CanaryEnd::Undecided, reason, now)
            }
            Judgement::Open => return Ok(CanaryTurn::Goes),
        };
        Ok(CanaryTurn::of(self.end(held, canary, round, verdict).await?))
    }

    /// Say what this host counted in the present round.
    pub async fn count_canary(
        &self,
        host: &str,
        counts: &CanaryCounts,
        ends_at: UnixMs,
        now: UnixMs,
    ) -> Result<(), FleetError> {
        let plugin = Identity::of(counts.owner.as_ref(), counts.name.as_str());
        let id = DocumentId::new(DocumentKind::CanaryCounts, format!("{}/{host}", key(&plugin)?));
        let ttl_ms = ends_at.saturating_sub(now).saturating_add(COUNTS_KEPT_MS);
        let document = written(counts)?;
        self.archive.put_document(&id, &document, &Expected::Anything, Some(ttl_ms)).await?;
        Ok(())
    }

    /// How each plugin's canary stands, or how the last one ended. What hosts counted is asked
    /// for once, and only if a canary has no verdict yet.
    pub async fn canary_documents(
        &self,
        fleet: &Fleet,
    ) -> Result<BTreeMap<Identity, CanaryDocument>, QueueError> {
        let all = match fleet.canaries.values().any(|canary| canary.verdict.is_none()) {
            true => self.canary_counts().await?,
            false => Vec::new(),
        };
        let documents = fleet
            .canaries
            .iter()
            .map(|(identity, canary)| (identity.clone(), canary.document(&counted(canary, &all))));
        Ok(documents.collect())
    }

    /// What hosts have counted, of all canaries. What cannot be read was put there by somebody
    /// else's hand.
    pub async fn canary_counts(&self) -> Result<Vec<CanaryCounts>, QueueError> {
        let documents = self.archive.documents(DocumentKind::CanaryCounts).await?;
        Ok(documents.iter().filter_map(|(_, document)| parsed(document)).collect())
    }

    /// What all hosts counted in the present round of a canary: the new side, then the old one.
    pub(super) async fn counted(&self, canary: &Canary) -> Result<[Side; 2], QueueError> {
        Ok(counted(canary, &self.canary_counts().await?))
    }

    /// A version of a plugin was activated: its canary has ended by that. Nothing, if there is
    /// none.
    pub(super) async fn end_canary_of(
        &self,
        plugin: &Identity,
        now: UnixMs,
    ) -> Result<(), FleetError> {
        for _ in 0..TRIES {
            let Some(held) = self.archive.document(&id(plugin)?).await? else { return Ok(()) };
            let Some(canary) = parsed::<Canary>(&held) else { return Ok(()) };
            let active = self.active(plugin).await?;
            if canary.verdict.is_some() || canary.is_in_force(active) {
                return Ok(());
            }
            if self.end_outdated(held, canary, now).await?.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Forget the canary of a plugin that is forgotten.
    pub(super) async fn forget_canary(&self, plugin: &Identity) -> Result<(), FleetError> {
        self.archive.delete_document(&id(plugin)?).await?;
        self.forget_counts(plugin).await
    }

    async fn forget_counts(&self, plugin: &Identity) -> Result<(), FleetError> {
        let prefix = format!("{}/", key(plugin)?);
        for (key, _) in self.archive.documents(DocumentKind::CanaryCounts).await? {
            if key.starts_with(&prefix) {
                let id = DocumentId::new(DocumentKind::CanaryCounts, key);
                self.archive.delete_document(&id).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn active(&self, plugin: &Identity) -> Result<Option<Digest>, FleetError> {
        let id = DocumentId::new(DocumentKind::Activation, key(plugin)?);
        let held = self.archive.document(&id).await?;
        Ok(held.as_ref().and_then(parsed::<Activation>).and_then(|activation| activation.active()))
    }

    /// The canary that runs or ran last, with its document.
    pub(super) async fn latest(&self, plugin: &Identity) -> Result<(Document, Canary), FleetError> {
        let held = self.archive.document(&id(plugin)?).await?.ok_or_else(|| none(plugin))?;
        let canary = parsed::<Canary>(&held).ok_or_else(|| none(plugin))?;
        Ok((held, canary))
    }

    /// The canary that runs, with its document.
    pub(super) async fn running(
        &self,
        plugin: &Identity,
    ) -> Result<(Document, Canary), FleetError> {
        let (held, canary) = self.latest(plugin).await?;
        match canary.verdict.is_none() {
            true => Ok((held, canary)),
            false => Err(none(plugin)),
        }
    }

    async fn grow(
        &self,
        plugin: &Identity,
        held: Document,
        mut canary: Canary,
        round: CanaryRound,
    ) -> Result<CanaryTurn, FleetError> {
        let detail = told(&round);
        canary.past.push(round);
        canary.round += 1;
        let (document, expected) = (written(&canary)?, Expected::Exactly(held));
        if !self.archive.put_document(&id(plugin)?, &document, &expected, None).await? {
            return Ok(CanaryTurn::Goes);
        }
        let share = canary.share_permille();
        let detail = format!("{} {} after {detail}", canary.digest, percent(share));
        self.note("plugin.canary_grow", plugin, &detail).await?;
        Ok(CanaryTurn::Grows(share))
    }

    /// End a canary whose version, or another than it is judged against, is active. Nothing if
    /// somebody else has changed it meanwhile.
    pub(super) async fn end_outdated(
        &self,
        held: Document,
        canary: Canary,
        now: UnixMs,
    ) -> Result<Option<Canary>, FleetError> {
        let active = self.active(&canary.identity()).await?;
        let promotion = canary.promoting.clone();
        let (round, verdict) = match (active, promotion) {
            // It was cut off before it could say so.
            (Some(active), Some(promotion)) if active == canary.digest => {
                let CanaryPromotion { reason, by, round } = promotion;
                (round, CanaryVerdict { end: CanaryEnd::Promoted, reason, at: now, by })
            }
            (active, _) => {
                let (end, reason) = match active {
                    Some(active) if active == canary.digest => {
                        (CanaryEnd::Promoted, "it was activated".to_owned())
                    }
                    Some(active) => {
                        (CanaryEnd::Superseded, format!("{} was activated", active.short()))
                    }
                    None => (CanaryEnd::Superseded, "nothing pushed is active any more".to_owned()),
                };
                let round = CanaryRound::of(&canary, &self.counted(&canary).await?);
                (round, self.verdict(end, reason, now))
            }
        };
        self.end(held, canary, round, verdict).await
    }

    pub(super) fn verdict(
        &self,
        end: CanaryEnd,
        reason: impl ToString,
        now: UnixMs,
    ) -> CanaryVerdict {
        CanaryVerdict { end, reason: reason.to_string(), at: now, by: self.actor.clone() }
    }

    /// Give the verdict; nothing if somebody else has changed the canary meanwhile.
    pub(super) async fn end(
        &self,
        held: Document,
        mut canary: Canary,
        round: CanaryRound,
        verdict: CanaryVerdict,
    ) -> Result<Option<Canary>, FleetError> {
        let plugin = canary.identity();
        let (end, detail) =
            (verdict.end, format!("{} {}; {}", canary.digest, verdict.reason, told(&round)));
        canary.past.push(round);
        (canary.promoting, canary.verdict) = (None, Some(verdict));
        let (document, expected) = (written(&canary)?, Expected::Exactly(held));
        if !self.archive.put_document(&id(&plugin)?, &document, &expected, None).await? {
            return Ok(None);
        }
        self.note(&format!("plugin.canary_{}", end.as_str()), &plugin, &detail).await?;
        self.forget_counts(&plugin).await?;
        Ok(Some(canary))
    }
}

/// Both sides in words.
fn told(round: &CanaryRound) -> String {
    let side = |side: &SideFigures| {
        let p95 = side.p95_us.map(|us| format!(", p95 {}.{:01} ms", us / 1_000, us / 100 % 10));
        let (attempts, failures) = (side.attempts, side.failures);
        format!("{failures} of {attempts} attempts failed{}", p95.unwrap_or_default())
    };
    format!("new {}; old {}", side(&round.new), side(&round.old))
}

/// A share as people write it.
pub(super) fn percent(permille: u16) -> String {
    match permille % 10 {
        0 => format!("{}%", permille / 10),
        tenth => format!("{}.{tenth}%", permille / 10),
    }
}

/// Whether a running host serves the plugin, pushed or not.
fn is_served(plugin: &Identity, hosts: &[HostInfo]) -> bool {
    let name = plugin.to_string();
    let mut infos = hosts.iter().flat_map(|host| &host.plugins).filter(|info| info.name == name);
    infos.any(|info| info.serving.is_some())
}

pub(super) fn id(plugin: &Identity) -> Result<DocumentId, FleetError> {
    Ok(DocumentId::new(DocumentKind::Canary, key(plugin)?))
}

fn none(plugin: &Identity) -> FleetError {
    FleetError::NotFound(format!("no canary of `{plugin}` runs"))
}

pub(super) fn contested(plugin: &Identity) -> FleetError {
    FleetError::Refused(format!(
        "others change the canary of `{plugin}`; look at `bulkhead plugin history {}` and try again",
        plugin.name
    ))
}

#[cfg(test)]
pub(super) mod tests {
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

    pub(in crate::fleet) fn counts(
        canary: &Canary,
        new: (u64, u64),
        old: (u64, u64),
    ) -> CanaryCounts {
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
        assert_eq!(
            given.iter().filter(|action| **action == "plugin.canary_rolled_back").count(),
            1
        );
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
        let CanaryTurn::Ended(verdict) = judge(&shelf, &plugin, 15).await.unwrap() else {
            panic!()
        };
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
        let CanaryTurn::Ended(verdict) = judge(&shelf, &plugin, 12).await.unwrap() else {
            panic!()
        };
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
        let CanaryTurn::Ended(verdict) = judge(&shelf, &plugin, 1_010).await.unwrap() else {
            panic!()
        };
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
}
