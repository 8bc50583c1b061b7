//! Canaries as JSON documents.

use bulkhead_core::canary::SideFigures;
use serde::Serialize;
use utoipa::ToSchema;

/// A version of a plugin that a share of its tasks goes to, until it is judged: the one that
/// runs, or the last one. Shares are from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Canary)]
pub struct CanaryDocument {
    /// The plugin; a tenant's as `OWNER/NAME`.
    pub plugin: String,
    /// sha256 of the version that is tried, as text.
    pub digest: String,
    /// What it calls itself.
    pub version: Option<String>,
    /// The active version that it is judged against; none if that is in hosts' folders.
    pub base: Option<String>,
    /// `task` or `tenant`.
    pub by: &'static str,
    /// The share of tasks or tenants that it has now, or had last.
    pub share: f64,
    /// The share of each round.
    pub shares: Vec<f64>,
    /// The present round, or the last one, from 1.
    pub round: usize,
    /// Attempts on each side that are enough for a round.
    pub attempts: u64,
    /// The share of all tasks that may fail on it or run on it.
    pub harm: f64,
    /// When it began.
    pub began_at: u64,
    /// Who began it.
    pub began_by: String,
    /// When it ends without a verdict.
    pub ends_at: u64,
    /// What the version did in this round.
    pub new: CanarySideDocument,
    /// What the version did that it is judged against.
    pub old: CanarySideDocument,
    /// The rounds before.
    pub past: Vec<CanaryRoundDocument>,
    /// What came of it; none while it runs.
    pub verdict: Option<CanaryVerdictDocument>,
}

/// What one version did.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = CanarySide)]
pub struct CanarySideDocument {
    /// First attempts that ended by their handler's doing.
    pub attempts: u64,
    /// Those that failed; of the new version, of tasks that the old one then did.
    pub failures: u64,
    /// Those of the new version that failed on the old one too.
    pub excused: u64,
    /// 95 of 100 of the others took no longer, in microseconds; none if there are none.
    pub p95_us: Option<u64>,
}

impl From<SideFigures> for CanarySideDocument {
    fn from(side: SideFigures) -> Self {
        let SideFigures { attempts, failures, excused, p95_us } = side;
        Self { attempts, failures, excused, p95_us }
    }
}

/// What was counted in a round that is over.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = CanaryRound)]
pub struct CanaryRoundDocument {
    /// The share of tasks or tenants.
    pub share: f64,
    /// What the new version did.
    pub new: CanarySideDocument,
    /// What the old one did.
    pub old: CanarySideDocument,
}

/// What came of a canary.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = CanaryVerdict)]
pub struct CanaryVerdictDocument {
    /// `promoted`, `rolled_back`, `undecided`, `stopped` or `superseded`.
    pub end: &'static str,
    /// Why, with figures.
    pub reason: String,
    /// When.
    pub at: u64,
    /// Who gave it: a host, or whoever did it by hand.
    pub by: String,
}
