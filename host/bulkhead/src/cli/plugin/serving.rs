//! The plugins of running hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use bulkhead::config::quantity::Span;
use bulkhead::queue::{HostInfo, PluginInfo, PushedState};
use bulkhead_api::document::{CanaryDocument, PluginDocument};
use comfy_table::{Cell, Color, Table};
use serde::Serialize;

use super::canary;
use crate::cli::exit::{Exit, not_found, timed_out};
use crate::cli::follow;
use crate::cli::session::Session;
use crate::cli::{escape, figures, output};

/// How often hosts are asked whether they are done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A plugin of one host with its canary, in JSON.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    plugin: PluginDocument<'a>,
    canary: Option<&'a CanaryDocument>,
}

/// Print the plugins of all hosts.
pub(super) async fn list(session: &Session) -> Result<Exit> {
    let broker = session.broker().await?;
    let hosts = broker.hosts().await?;
    print(session, &hosts, &canary::running(&*broker).await?)?;
    Ok(Exit::Done)
}

/// Make all hosts look through their plugin folders and wait until they have.
pub(super) async fn reload(session: &Session, timeout: Span) -> Result<Exit> {
    let broker = session.broker().await?;
    let before: BTreeMap<String, u64> =
        broker.hosts().await?.into_iter().map(|host| (host.name, host.rescans)).collect();
    let heard = broker.request_rescan().await?;
    if before.is_empty() && heard == 0 {
        return Err(not_found("no host is running; start one with `bulkhead run`"));
    }
    let deadline = follow::deadline(timeout.0);
    let hosts = loop {
        let hosts = broker.hosts().await?;
        let behind: Vec<&str> = hosts
            .iter()
            .filter(|host| before.get(&host.name).is_some_and(|rescans| host.rescans <= *rescans))
            .map(|host| host.name.as_str())
            .collect();
        if behind.is_empty() {
            break hosts;
        }
        if tokio::time::Instant::now() >= deadline {
            let behind = escape::line(&behind.join(", "));
            return Err(timed_out(format!(
                "these hosts have not looked through their plugins within {timeout}: {behind}"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    print(session, &hosts, &canary::running(&*broker).await?)?;
    let refused =
        hosts.iter().flat_map(|host| &host.plugins).any(|plugin| plugin.rejected.is_some());
    Ok(if refused { Exit::Failed } else { Exit::Done })
}

fn print(session: &Session, hosts: &[HostInfo], canaries: &[CanaryDocument]) -> Result<()> {
    let plugins =
        || hosts.iter().flat_map(|host| host.plugins.iter().map(move |plugin| (host, plugin)));
    if session.out.is_json() {
        let is_mixed = |plugin: &PluginInfo| HostInfo::mixed(hosts, &plugin.name).is_some();
        let documents: Vec<_> = plugins()
            .map(|(host, plugin)| Listed {
                plugin: PluginDocument { host: &host.name, plugin, mixed: is_mixed(plugin) },
                canary: canaries.iter().find(|canary| canary.plugin == plugin.name),
            })
            .collect();
        return Ok(session.out.document(&documents)?);
    }
    let header =
        ["PLUGIN", "HOST", "STATE", "VERSION", "DIGEST", "KIND", "TASK TYPES", "TENANTS", "SINCE"];
    let mut table = output::table(&header);
    for (host, plugin) in plugins() {
        rows(&mut table, host, plugin);
    }
    let nothing = if hosts.is_empty() {
        "no running host; start one with `bulkhead run`"
    } else {
        "the running hosts have no plugins"
    };
    session.out.table(table, nothing)?;
    let refused = plugins().flat_map(|(host, plugin)| {
        let file = plugin.rejected.iter().map(|it| ("", it.gate.as_str(), it.reason.as_str()));
        let pushed = plugin.pushed.iter().filter_map(|it| {
            Some((", pushed,", it.gate.as_deref()?, it.reason.as_deref().unwrap_or_default()))
        });
        file.chain(pushed).map(|(what, gate, reason)| {
            format!(
                "\n{}{what} on {} failed the gate `{}`:\n  {}\n",
                escape::line(&plugin.name),
                escape::line(&host.name),
                escape::line(gate),
                escape::block(reason).replace('\n', "\n  ")
            )
        })
    });
    session.out.text(&refused.collect::<String>())?;
    let contested = plugins().flat_map(|(host, plugin)| {
        let reasons = plugin.serving.iter().flat_map(|serving| &serving.contested);
        reasons.map(|reason| {
            let (name, host) = (escape::line(&plugin.name), escape::line(&host.name));
            format!("\n{name} on {host} stands back:\n  {}\n", escape::line(reason))
        })
    });
    session.out.text(&contested.collect::<String>())?;
    let names: BTreeSet<&str> = plugins().map(|(_, plugin)| plugin.name.as_str()).collect();
    for name in names {
        let Some(mixed) = HostInfo::mixed(hosts, name) else { continue };
        let mut text = format!("\n{} is mixed:\n", escape::line(name));
        for (digest, hosts) in mixed {
            let digest = digest.map_or("none".to_owned(), |digest| digest.short());
            text.push_str(&format!("  {digest} on {}\n", escape::line(&hosts.join(", "))));
        }
        session.out.text(&text)?;
    }
    for canary in canaries {
        session.out.text(&format!("\n{}", canary::told(canary, figures::now())))?;
    }
    Ok(())
}

fn rows(table: &mut Table, host: &HostInfo, plugin: &PluginInfo) {
    let now = figures::now();
    let mut row = |state: Cell, version: &str, digest: String, kind: &str, whose: [&str; 2], at| {
        table.add_row(vec![
            output::cell(&plugin.name),
            output::cell(&host.name),
            state,
            output::cell(version),
            output::cell(&digest),
            output::cell(kind),
            output::cell(whose[0]),
            output::cell(whose[1]),
            output::cell(&figures::relative(at, now)),
        ]);
    };
    if let Some(serving) = &plugin.serving {
        let (types, tenants) = (serving.task_types.join(", "), serving.tenants.join(", "));
        let state = if plugin.by_fleet { "serving, pushed" } else { "serving" };
        let state = Cell::new(state).fg(Color::Green);
        let digest = serving.digest.short();
        let whose = [types.as_str(), tenants.as_str()];
        row(state, &serving.version, digest, &serving.kind, whose, serving.loaded_at);
    }
    if let Some(rejected) = &plugin.rejected {
        // What is over a quota is taken up when there is room.
        let state = match rejected.gate.as_str() {
            "quota" => Cell::new("waits").fg(Color::Yellow),
            _ => Cell::new("refused").fg(Color::Red),
        };
        row(state, "", rejected.digest.short(), "", ["", ""], rejected.at);
    }
    for pushed in &plugin.pushed {
        let state = match pushed.state {
            PushedState::Serving => continue,
            PushedState::Loading => Cell::new("loading, pushed").fg(Color::Yellow),
            PushedState::Ready => Cell::new("ready, pushed").fg(Color::Cyan),
            PushedState::Canary => Cell::new("canary, pushed").fg(Color::Yellow),
            PushedState::Rejected => Cell::new("refused, pushed").fg(Color::Red),
        };
        row(state, "", pushed.digest.short(), "", ["", ""], pushed.at);
    }
    if plugin.shadowed {
        let state = Cell::new("shadowed").fg(Color::Yellow);
        table.add_row(vec![output::cell(&plugin.name), output::cell(&host.name), state]);
    }
}
