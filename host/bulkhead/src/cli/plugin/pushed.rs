//! Pushed plugins: which version all hosts are to serve, and whether they do.

use std::time::Duration;

use anyhow::Result;
use bulkhead::Identity;
use bulkhead::config::quantity::Span;
use bulkhead::fleet::{Activated, Activation, Shelf, Step, Version, meant};
use bulkhead::queue::Broker;
use bulkhead_api::document::{CanaryDocument, FollowState, Following, followed};
use comfy_table::{Cell, Color};
use serde::Serialize;

use super::canary;
use crate::cli::exit::{Exit, failed, not_found, timed_out};
use crate::cli::session::{Session, actor};
use crate::cli::{escape, figures, follow, output};

/// How often hosts are asked whether they have followed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What an activation came to, in JSON.
#[derive(Serialize)]
struct ActivatedDocument<'a> {
    plugin: String,
    digest: String,
    version: Option<&'a str>,
    before: Option<String>,
    hosts: &'a [Following],
}

/// What is known of a plugin, in JSON.
#[derive(Serialize)]
struct HistoryDocument<'a> {
    plugin: String,
    active: Option<String>,
    versions: &'a [Version],
    steps: &'a [Step],
    canary: Option<CanaryDocument>,
}

/// What was forgotten, in JSON.
#[derive(Serialize)]
struct RemovedDocument {
    plugin: String,
    versions: usize,
}

/// A version as people read it.
pub(super) fn shown(version: &Version) -> String {
    match &version.version {
        Some(named) => format!("{} ({})", version.digest.short(), escape::line(named)),
        None => version.digest.short(),
    }
}

/// Let all hosts serve a version.
pub(super) async fn activate(
    session: &Session,
    plugin: &Identity,
    text: &str,
    force: bool,
    timeout: Span,
) -> Result<Exit> {
    let broker = session.broker().await?;
    let shelf = Shelf::new(broker.archive(), actor());
    if !force {
        refuse_refused(&*broker, &shelf, plugin, text, "was not activated").await?;
    }
    let activated = shelf.activate(plugin, text, figures::now()).await?;
    wait(session, &*broker, plugin, &activated, timeout).await
}

/// Go back to the version before.
pub(super) async fn roll_back(session: &Session, plugin: &Identity, timeout: Span) -> Result<Exit> {
    let broker = session.broker().await?;
    let shelf = Shelf::new(broker.archive(), actor());
    let activated = shelf.roll_back(plugin, figures::now()).await?;
    wait(session, &*broker, plugin, &activated, timeout).await
}

/// Go no further with what a host has refused already.
pub(super) async fn refuse_refused(
    broker: &dyn Broker,
    shelf: &Shelf<'_>,
    plugin: &Identity,
    text: &str,
    was_not: &str,
) -> Result<()> {
    let fleet = shelf.read().await?;
    // What is unknown is said by who activates.
    let Ok(version) = meant(fleet.versions_of(plugin), text) else { return Ok(()) };
    let hosts = broker.hosts().await?;
    let followed = followed(&hosts, &plugin.to_string(), version.digest);
    let refused = refusals(&followed);
    if refused.is_empty() {
        return Ok(());
    }
    Err(failed(format!(
        "{plugin} {} is refused already, and {was_not}:\n{refused}with --force it is done all the \
         same, and hosts that refuse it keep what they serve",
        shown(version)
    )))
}

/// Wait until all hosts have followed; say which have not, and why.
pub(super) async fn wait(
    session: &Session,
    broker: &dyn Broker,
    plugin: &Identity,
    activated: &Activated,
    timeout: Span,
) -> Result<Exit> {
    let (name, version) = (plugin.to_string(), &activated.version);
    let deadline = follow::deadline(timeout.0);
    let hosts = loop {
        let hosts = followed(&broker.hosts().await?, &name, version.digest);
        let waits = hosts.iter().any(|host| host.state == FollowState::Waiting);
        if !waits || tokio::time::Instant::now() >= deadline {
            break hosts;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    if session.out.is_json() {
        session.out.document(&ActivatedDocument {
            plugin: name.clone(),
            digest: version.digest.to_string(),
            version: version.version.as_deref(),
            before: activated.before.map(|before| before.to_string()),
            hosts: &hosts,
        })?;
    } else {
        session.out.text(&told(&name, version, &hosts))?;
    }
    let of = |state: FollowState| {
        let names = hosts.iter().filter(|host| host.state == state);
        names.map(|host| escape::line(&host.host)).collect::<Vec<_>>().join(", ")
    };
    let (refused, waiting) = (of(FollowState::Refused), of(FollowState::Waiting));
    if !refused.is_empty() {
        return Ok(Exit::Failed);
    }
    if !waiting.is_empty() {
        return Err(timed_out(format!(
            "{name} {} is active, and these hosts do not serve it after {timeout}: {waiting}",
            shown(version)
        )));
    }
    Ok(Exit::Done)
}

fn told(name: &str, version: &Version, hosts: &[Following]) -> String {
    let mut text = format!("{name} {} is active\n", shown(version));
    let count = |state| hosts.iter().filter(|host| host.state == state).count();
    match count(FollowState::Serving) {
        0 if hosts.is_empty() => text.push_str("no host is running; those that start serve it\n"),
        serving => text.push_str(&format!("{serving} of {} hosts serve it\n", hosts.len())),
    }
    for host in hosts.iter().filter(|host| host.state == FollowState::Off) {
        let name = escape::line(&host.host);
        text.push_str(&format!("{name} takes no pushed plugins (`plugins.fleet` is off)\n"));
    }
    text.push_str(&refusals(hosts));
    text
}

/// Which hosts have refused it, and why; nothing if none has.
fn refusals(hosts: &[Following]) -> String {
    let refused = hosts.iter().filter(|host| host.state == FollowState::Refused);
    let lines = refused.map(|host| {
        let (gate, reason) = (host.gate.as_deref(), host.reason.as_deref());
        format!(
            "{} refused it at the gate `{}`:\n  {}\n",
            escape::line(&host.host),
            escape::line(gate.unwrap_or_default()),
            escape::block(reason.unwrap_or_default()).replace('\n', "\n  ")
        )
    });
    lines.collect()
}

/// Show the versions of a plugin, and when which was activated.
pub(super) async fn history(session: &Session, plugin: &Identity) -> Result<Exit> {
    let broker = session.broker().await?;
    let shelf = Shelf::new(broker.archive(), actor());
    let fleet = shelf.read().await?;
    let canary = shelf.canary_documents(&fleet).await?.remove(plugin);
    let versions = fleet.versions_of(plugin);
    let activation = fleet.activations.get(plugin);
    if versions.is_empty() && activation.is_none() {
        return Err(not_found(format!("no version of `{plugin}` was pushed")));
    }
    let active = activation.and_then(Activation::active);
    let steps = activation.map_or(&[][..], |activation| &activation.steps);
    if session.out.is_json() {
        let active = active.map(|active| active.to_string());
        let plugin = plugin.to_string();
        session.out.document(&HistoryDocument { plugin, active, versions, steps, canary })?;
        return Ok(Exit::Done);
    }
    let now = figures::now();
    let mut table = output::table(&["VERSION", "DIGEST", "STATE", "SIZE", "PUSHED", "BY"]);
    for version in versions.iter().rev() {
        let tried = fleet.canary(plugin).filter(|canary| canary.digest == version.digest);
        let state = match tried {
            _ if active == Some(version.digest) => Cell::new("active").fg(Color::Green),
            Some(canary) => Cell::new(canary::state(canary)).fg(Color::Yellow),
            None => Cell::new(""),
        };
        table.add_row(vec![
            output::cell(version.version.as_deref().unwrap_or("?")),
            Cell::new(version.digest.short()),
            state,
            Cell::new(figures::bytes(version.size_bytes)),
            Cell::new(figures::relative(version.pushed_at, now)),
            output::cell(&version.pushed_by),
        ]);
    }
    session.out.table(table, "no version is kept any more")?;
    session.out.text("\n")?;
    let mut table = output::table(&["ACTIVATED", "VERSION", "DIGEST", "BY", ""]);
    for step in steps.iter().rev() {
        table.add_row(vec![
            Cell::new(figures::relative(step.at, now)),
            output::cell(step.version.as_deref().unwrap_or("?")),
            Cell::new(step.digest.short()),
            output::cell(&step.by),
            Cell::new(if step.rollback { "rollback" } else { "" }),
        ]);
    }
    session.out.table(table, "none of them was ever activated")?;
    if let Some(canary) = &canary {
        session.out.text(&format!("\n{}", canary::told(canary, now)))?;
    }
    Ok(Exit::Done)
}

/// Forget a plugin's versions.
pub(super) async fn remove(session: &Session, plugin: &Identity) -> Result<Exit> {
    let broker = session.broker().await?;
    let shelf = Shelf::new(broker.archive(), actor());
    let versions = shelf.remove(plugin, figures::now()).await?;
    let plugin = plugin.to_string();
    if session.out.is_json() {
        session.out.document(&RemovedDocument { plugin, versions })?;
    } else {
        session.out.text(&format!("{plugin} is forgotten, with {versions} versions\n"))?;
    }
    Ok(Exit::Done)
}
