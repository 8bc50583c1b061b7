//! Canaries: begin one, end it by hand, and show how it stands.

use std::str::FromStr;

use anyhow::Result;
use bulkhead::Identity;
use bulkhead::config::quantity::Span;
use bulkhead::fleet::{Activated, Canary, CanaryBy, CanaryPlan, Shelf};
use bulkhead::queue::Broker;
use bulkhead_api::document::CanaryDocument;
use clap::{Args, ValueEnum};

use super::Which;
use super::pushed::{refuse_refused, wait};
use crate::cli::exit::{Exit, failed, usage};
use crate::cli::session::{Session, actor};
use crate::cli::{escape, figures};

/// A share of tasks, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share(u16);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is no share; write 5% or 0.5%", text.escape_debug());
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(tenth) || whole.len() > 3 || tenth.len() != 1 {
            return Err(wrong());
        }
        let permille = format!("{whole}{tenth}").parse().ok().filter(|permille| *permille <= 1_000);
        permille.map(Self).ok_or_else(wrong)
    }
}

/// By what tasks are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Each task by itself
    Task,
    /// All of a tenant's tasks alike
    Tenant,
}

/// What to do about a plugin's canary.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("hand").args(["stop", "promote"]))]
pub(crate) struct CanaryArgs {
    #[command(flatten)]
    which: Which,
    /// The beginning of the digest of a version that was pushed, at least 6 digits, or the
    /// version that it gives itself
    #[arg(required_unless_present = "hand", conflicts_with = "hand")]
    version: Option<String>,
    /// The share of tasks that it gets at first
    #[arg(long, value_name = "PERCENT", default_value = "5%", conflicts_with = "hand")]
    share: Share,
    /// The shares that it gets then, before it gets all
    #[arg(
        long,
        value_name = "PERCENT,…",
        value_delimiter = ',',
        conflicts_with = "hand",
        default_value = "25%,50%"
    )]
    then: Vec<Share>,
    /// What is chosen: tasks, or tenants with all of their tasks
    #[arg(long, value_name = "WHAT", default_value = "task", conflicts_with = "hand")]
    by: By,
    /// Attempts on each side after which a version that is not worse gets the next share
    #[arg(long, value_name = "N", default_value_t = 500, conflicts_with = "hand")]
    attempts: u64,
    /// The share of all tasks that may fail on it or run on it; 100% is no bound
    #[arg(long, value_name = "PERCENT", default_value = "1%", conflicts_with = "hand")]
    harm: Share,
    /// How long it may take; then the old version serves on
    #[arg(long, value_name = "DURATION", default_value = "24h", conflicts_with = "hand")]
    within: Span,
    /// Even if a host has refused the version
    #[arg(long, conflicts_with = "hand")]
    force: bool,
    /// End it: the old version serves all tasks
    #[arg(long)]
    stop: bool,
    /// End it: the new version serves all tasks
    #[arg(long)]
    promote: bool,
    /// How long to wait with `--promote` until all hosts serve it
    #[arg(long, value_name = "DURATION", default_value = "90s")]
    timeout: Span,
}

impl CanaryArgs {
    /// Do it.
    pub(super) async fn run(self, session: &Session) -> Result<Exit> {
        let plugin = self.which.identity();
        match &self.version {
            Some(version) => self.begin(session, &plugin, version).await,
            None if self.promote => promote(session, &plugin, self.timeout).await,
            None => stop(session, &plugin).await,
        }
    }

    fn plan(&self) -> CanaryPlan {
        // Shares that the first one has reached already are left out.
        let first = self.share.0;
        let then = self.then.iter().map(|share| share.0).filter(|share| *share > first);
        CanaryPlan {
            shares_permille: std::iter::once(first).chain(then).collect(),
            by: match self.by {
                By::Task => CanaryBy::Task,
                By::Tenant => CanaryBy::Tenant,
            },
            attempts: self.attempts,
            harm_permille: self.harm.0,
            within_ms: u64::try_from(self.within.0.as_millis()).unwrap_or(u64::MAX),
        }
    }

    async fn begin(&self, session: &Session, plugin: &Identity, version: &str) -> Result<Exit> {
        let plan = self.plan();
        plan.check().map_err(usage)?;
        let broker = session.broker().await?;
        let shelf = Shelf::new(broker.archive(), actor());
        if !self.force {
            refuse_refused(&*broker, &shelf, plugin, version, "got no tasks").await?;
        }
        let hosts = broker.hosts().await?;
        let canary = shelf.begin_canary(plugin, version, &plan, &hosts, figures::now()).await?;
        print(session, &canary)
    }
}

async fn stop(session: &Session, plugin: &Identity) -> Result<Exit> {
    let broker = session.broker().await?;
    let shelf = Shelf::new(broker.archive(), actor());
    let canary = shelf.stop_canary(plugin, figures::now()).await?;
    print(session, &canary)
}

/// Print a canary that has just begun or ended.
fn print(session: &Session, canary: &Canary) -> Result<Exit> {
    let document = canary.document(&Default::default());
    if session.out.is_json() {
        session.out.document(&document)?;
    } else {
        session.out.text(&told(&document, figures::now()))?;
    }
    Ok(Exit::Done)
}

async fn promote(session: &Session, plugin: &Identity, timeout: Span) -> Result<Exit> {
    let broker = session.broker().await?;
    let shelf = Shelf::new(broker.archive(), actor());
    let canary = shelf.promote_canary(plugin, figures::now()).await?;
    let fleet = shelf.read().await?;
    let mut versions = fleet.versions_of(plugin).iter();
    let version = versions.find(|version| version.digest == canary.digest);
    let version = version.ok_or_else(|| failed("its version is not kept any more"))?.clone();
    let activated = Activated { version, before: canary.base };
    wait(session, &*broker, plugin, &activated, timeout).await
}

/// The canaries that run, by plugin.
pub(super) async fn running(broker: &dyn Broker) -> Result<Vec<CanaryDocument>> {
    let shelf = Shelf::new(broker.archive(), actor());
    let fleet = shelf.read().await?;
    let documents = shelf.canary_documents(&fleet).await?.into_iter();
    let running = documents.filter(|(plugin, _)| fleet.canary(plugin).is_some());
    Ok(running.map(|(_, document)| document).collect())
}

/// The state of a version in tables, if it is a canary's.
pub(super) fn state(canary: &Canary) -> String {
    format!("canary, {}", percent(f64::from(canary.share_permille()) / 1_000.0))
}

/// A canary as people read it.
pub(super) fn told(canary: &CanaryDocument, now: u64) -> String {
    let short = |digest: &str| digest.chars().take(12).collect::<String>();
    let version = match &canary.version {
        Some(named) => format!("{} ({})", short(&canary.digest), escape::line(named)),
        None => short(&canary.digest),
    };
    let base = match &canary.base {
        Some(base) => short(base),
        None => "what is in hosts' folders".to_owned(),
    };
    let by = if canary.by == "tenant" { "tenants" } else { "tasks" };
    let mut text = match &canary.verdict {
        None => format!(
            "{} {version} has {} of {by}, round {} of {}, and is judged against {base}\n",
            escape::line(&canary.plugin),
            percent(canary.share),
            canary.round,
            canary.shares.len()
        ),
        Some(verdict) => format!(
            "{} {version} was a canary: {} {} by {}\n  {}\n",
            escape::line(&canary.plugin),
            verdict.end.replace('_', " "),
            figures::relative(verdict.at, now),
            escape::line(&verdict.by),
            escape::line(&verdict.reason)
        ),
    };
    for (what, side) in [("new", &canary.new), ("old", &canary.old)] {
        text.push_str(&format!("  {what}: {} of {} attempts failed", side.failures, side.attempts));
        if side.excused > 0 {
            text.push_str(&format!(", {} on both versions", side.excused));
        }
        if let Some(p95_us) = side.p95_us {
            text.push_str(&format!(", p95 {}", figures::micros(p95_us)));
        }
        text.push('\n');
    }
    text
}

fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{}%", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_in_percent() {
        for (text, permille) in [("5%", 50), ("0.5%", 5), ("100%", 1_000), ("99.9%", 999)] {
            assert_eq!(text.parse(), Ok(Share(permille)));
            assert_eq!(percent(f64::from(permille) / 1_000.0), text);
        }
        for text in ["5", "", "%", "101%", "1.25%", ".5%", "5.%", "-1%", "1e2%", "9999%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
