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
pub(super) mod tests;
