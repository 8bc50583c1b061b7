//! A canary: a version that a share of a plugin's tasks goes to, until it is judged.
//!
//! One document for a plugin says what is tried and what came of it; beside it each host keeps a
//! document of its own with what it counted in the present round. A canary is in force as long as
//! the version is active that it is judged against: whoever activates another one ends it.

use std::fmt;

use bulkhead_api::document::{CanaryDocument, CanaryRoundDocument, CanaryVerdictDocument};
use bulkhead_core::canary::{CanaryRule, Side, SideFigures, WHOLE_PERMILLE};
use bulkhead_core::{Digest, PluginName, TenantName, UnixMs};
use serde::{Deserialize, Serialize};

use super::{digest_text, some_digest_text};
use crate::plugins::Identity;

/// What decides which tasks go to the new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryBy {
    /// Each task by itself.
    #[default]
    Task,
    /// Its tenant: all of a tenant's tasks go the same way.
    Tenant,
}

impl CanaryBy {
    /// Its name in JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Tenant => "tenant",
        }
    }
}

/// How a canary is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryPlan {
    /// The share of the first round and of each one after it, in thousandths, each larger than
    /// the one before; 1 to [`CanaryPlan::MAX_ROUNDS`] of them.
    pub shares_permille: Vec<u16>,
    /// What decides who belongs to the share.
    pub by: CanaryBy,
    /// Attempts on each side that are enough for one round.
    pub attempts: u64,
    /// The share of all tasks, in thousandths, that may fail on the new version or run on it.
    pub harm_permille: u16,
    /// How long it may take until it is judged, in milliseconds.
    pub within_ms: u64,
}

impl Default for CanaryPlan {
    fn default() -> Self {
        Self {
            shares_permille: vec![50, 250, 500],
            by: CanaryBy::Task,
            attempts: 500,
            harm_permille: 10,
            within_ms: 86_400_000,
        }
    }
}

impl CanaryPlan {
    /// Rounds of one canary at most.
    pub const MAX_ROUNDS: usize = 10;

    /// Refuse what makes no sense.
    pub fn check(&self) -> Result<(), String> {
        let shares = &self.shares_permille;
        let rising = shares.windows(2).all(|pair| pair[0] < pair[1]);
        let within = shares.iter().all(|share| (1..1_000).contains(share));
        if shares.is_empty() || shares.len() > Self::MAX_ROUNDS || !rising || !within {
            return Err(format!(
                "the shares of a canary are 1 to {} that grow, each from 0.1% to below 100%",
                Self::MAX_ROUNDS
            ));
        }
        if self.attempts == 0 || self.harm_permille > 1_000 || self.within_ms == 0 {
            return Err(
                "a canary needs at least one attempt and some time, and a bound of at most 100%"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// A canary of a plugin: the one that runs, or the last one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// The plugin.
    pub name: PluginName,
    /// The tenant whose it is; none for the operator's.
    pub owner: Option<TenantName>,
    /// The version that is tried.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// What it calls itself.
    pub version: Option<String>,
    /// The active version that it is judged against; none if that is what is in hosts' folders.
    #[serde(with = "some_digest_text", default)]
    pub base: Option<Digest>,
    /// What decides who belongs to the share.
    pub by: CanaryBy,
    /// The share of each round, in thousandths.
    pub shares_permille: Vec<u16>,
    /// Attempts on each side that are enough for one round.
    pub attempts: u64,
    /// The share of all tasks, in thousandths, that may fail on the new version or run on it.
    pub harm_permille: u16,
    /// When it began, by the clock of who began it.
    pub began_at: UnixMs,
    /// Who says to have begun it.
    pub began_by: String,
    /// When it ends without a verdict.
    pub ends_at: UnixMs,
    /// Which round it is in, from 0.
    pub round: usize,
    /// What was counted in the rounds before.
    pub past: Vec<CanaryRound>,
    /// That it is being promoted, which nobody can stop any more.
    #[serde(default)]
    pub promoting: Option<CanaryPromotion>,
    /// What came of it; none while it runs.
    pub verdict: Option<CanaryVerdict>,
}

/// A promotion that has begun: the version is activated, and then the verdict is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryPromotion {
    /// Why it is promoted, with figures.
    pub reason: String,
    /// Who began it: a host, or whoever did it by hand.
    pub by: String,
    /// What was counted in the last round.
    pub round: CanaryRound,
}

/// What was counted in a round of a canary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryRound {
    /// The share, in thousandths.
    pub share_permille: u16,
    /// What the new version did.
    pub new: SideFigures,
    /// What the old one did.
    pub old: SideFigures,
}

impl CanaryRound {
    pub(super) fn of(canary: &Canary, sides: &[Side; 2]) -> Self {
        let [new, old] = [(&sides[0]).into(), (&sides[1]).into()];
        Self { share_permille: canary.share_permille(), new, old }
    }
}

/// What came of a canary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryVerdict {
    /// What becomes of the version.
    pub end: CanaryEnd,
    /// Why, with figures.
    pub reason: String,
    /// When, by the clock of who gave it.
    pub at: UnixMs,
    /// Who gave it: a host, or whoever did it by hand.
    pub by: String,
}

/// What becomes of the version of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryEnd {
    /// It is active.
    Promoted,
    /// It is worse, and gets no tasks any more.
    RolledBack,
    /// Its time was over before enough was seen.
    Undecided,
    /// Somebody stopped it.
    Stopped,
    /// Another version was activated meanwhile.
    Superseded,
}

impl CanaryEnd {
    /// Its name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Undecided => "undecided",
            Self::Stopped => "stopped",
            Self::Superseded => "superseded",
        }
    }
}

impl fmt::Display for CanaryEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str().replace('_', " "))
    }
}

impl Canary {
    /// The plugin.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::of(self.owner.as_ref(), self.name.as_str())
    }

    /// Whether its version gets tasks, where this one is active.
    #[must_use]
    pub fn is_in_force(&self, active: Option<Digest>) -> bool {
        self.verdict.is_none() && active == self.base && self.round < self.shares_permille.len()
    }

    /// The share of the present round, in thousandths.
    #[must_use]
    pub fn share_permille(&self) -> u16 {
        self.shares_permille.get(self.round).copied().unwrap_or(0)
    }

    /// The rule by which it is judged.
    #[must_use]
    pub fn rule(&self) -> CanaryRule {
        CanaryRule { rounds: self.shares_permille.len(), attempts: self.attempts }
    }

    /// The canary as a JSON document, with what was counted in the present round: the new side,
    /// then the old one. Once it has ended, what was counted last is shown instead.
    #[must_use]
    pub fn document(&self, sides: &[Side; 2]) -> CanaryDocument {
        let share = |permille: u16| f64::from(permille) / f64::from(WHOLE_PERMILLE);
        let round = |round: &CanaryRound| CanaryRoundDocument {
            share: share(round.share_permille),
            new: round.new.into(),
            old: round.old.into(),
        };
        let (last, past) = match (self.verdict.is_some(), self.past.split_last()) {
            (true, Some((last, past))) => ([last.new, last.old], past),
            _ => ([(&sides[0]).into(), (&sides[1]).into()], &self.past[..]),
        };
        CanaryDocument {
            plugin: self.identity().to_string(),
            digest: self.digest.to_string(),
            version: self.version.clone(),
            base: self.base.map(|base| base.to_string()),
            by: self.by.as_str(),
            share: share(self.share_permille()),
            shares: self.shares_permille.iter().copied().map(share).collect(),
            round: self.round + 1,
            attempts: self.attempts,
            harm: share(self.harm_permille),
            began_at: self.began_at,
            began_by: self.began_by.clone(),
            ends_at: self.ends_at,
            new: last[0].into(),
            old: last[1].into(),
            past: past.iter().map(round).collect(),
            verdict: self.verdict.as_ref().map(|verdict| CanaryVerdictDocument {
                end: verdict.end.as_str(),
                reason: verdict.reason.clone(),
                at: verdict.at,
                by: verdict.by.clone(),
            }),
        }
    }

    /// Whether this is the same canary, in whatever round.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.digest, self.began_at) == (other.digest, other.began_at)
            && (&self.owner, &self.name) == (&other.owner, &other.name)
    }

    /// Whether this is the same canary in the same round.
    #[must_use]
    pub fn is_same_round(&self, other: &Self) -> bool {
        self.round == other.round && self.is_same(other)
    }
}

/// What one host counted in the present round of a canary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryCounts {
    /// The plugin.
    pub name: PluginName,
    /// The tenant whose it is; none for the operator's.
    pub owner: Option<TenantName>,
    /// The version that is tried.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// When the canary began.
    pub began_at: UnixMs,
    /// The round.
    pub round: usize,
    /// What the new version did.
    pub new: Side,
    /// What the old one did.
    pub old: Side,
}

impl CanaryCounts {
    /// Whether it was counted in this canary's present round.
    #[must_use]
    pub fn is_of(&self, canary: &Canary) -> bool {
        (self.digest, self.began_at, self.round) == (canary.digest, canary.began_at, canary.round)
            && (&self.owner, &self.name) == (&canary.owner, &canary.name)
    }
}

/// What all hosts counted in the present round of a canary: the new side, then the old one.
#[must_use]
pub(super) fn counted<'a>(
    canary: &Canary,
    counts: impl IntoIterator<Item = &'a CanaryCounts>,
) -> [Side; 2] {
    let mut sides = [Side::default(), Side::default()];
    for counts in counts.into_iter().filter(|counts| counts.is_of(canary)) {
        sides[0].merge(&counts.new);
        sides[1].merge(&counts.old);
    }
    sides
}
