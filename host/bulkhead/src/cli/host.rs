//! `bulkhead host`: which hosts run.

use anyhow::Result;
use bulkhead::Layer;
use bulkhead::core::UnixMs;
use bulkhead::queue::{HostInfo, HostMemory, HostScaling};
use clap::Subcommand;

use super::exit::Exit;
use super::session::Session;
use super::{escape, figures, output};

/// Look at running hosts
#[derive(Debug, Subcommand)]
pub(crate) enum Host {
    /// List running hosts
    List,
}

impl Host {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        let Self::List = self;
        let hosts = session.broker().await?.hosts().await?;
        if session.out.is_json() {
            session.out.document(&hosts)?;
            return Ok(Exit::Done);
        }
        let now = figures::now();
        let header = [
            "NAME", "VERSION", "PID", "STARTED", "SEEN", "RUNNING", "SLOTS", "MEMORY", "GUESTS",
            "QUEUES", "PLUGINS",
        ];
        let mut table = output::table(&header);
        for host in &hosts {
            let serving = host.plugins.iter().filter(|plugin| plugin.serving.is_some()).count();
            table.add_row(vec![
                output::cell(&host.name),
                output::cell(&host.version),
                output::number(host.pid),
                output::cell(&figures::relative(host.started_at, now)),
                output::cell(&figures::relative(host.seen_at, now)),
                output::number(host.in_flight),
                output::cell(&slots(host)),
                output::cell(&host.memory.as_ref().map_or_else(|| "-".to_owned(), memory)),
                output::cell(&guests(host)),
                output::cell(&host.queues.join(", ")),
                output::number(serving),
            ]);
        }
        session.out.table(table, "no running host; start one with `bulkhead run`")?;
        let remarks: String = hosts.iter().flat_map(|host| remarks(host, now)).collect();
        session.out.text(&remarks)?;
        Ok(Exit::Done)
    }
}

/// Changes of a host's concurrency that are shown; the document has more.
const CHANGES_SHOWN: usize = 3;

/// How many attempts a host may run at once, and between which bounds that moves.
fn slots(host: &HostInfo) -> String {
    match &host.scaling {
        None => host.concurrency.to_string(),
        Some(HostScaling { min, max, .. }) => format!("{} ({min} to {max})", host.concurrency),
    }
}

/// Lines below the table: that it drains, why a host takes on no more work, and how its concurrency changed.
fn remarks(host: &HostInfo, now: UnixMs) -> Vec<String> {
    let name = escape::line(&host.name);
    let drains = format!("{name} was told to stop: it ends what it runs and claims nothing more\n");
    let mut lines: Vec<String> = host.draining.then_some(drains).into_iter().collect();
    let refusing = host.refusing.iter();
    lines.extend(refusing.map(|why| format!("{name} claims nothing: {}\n", escape::line(why))));
    let changes = host.scaling.iter().flat_map(|scaling| &scaling.changes).take(CHANGES_SHOWN);
    lines.extend(changes.map(|change| {
        let when = figures::relative(change.at, now);
        format!("{name} {when}: {}\n", escape::line(&change.explanation))
    }));
    lines
}

/// Where a host's guests run, and behind how many layers.
fn guests(host: &HostInfo) -> String {
    match host.isolation.len() {
        0 => "threads".to_owned(),
        layers => format!("processes, {layers} of {} layers", Layer::ALL.len()),
    }
}

/// What attempts hold of a host's budget, and how many wait.
fn memory(memory: &HostMemory) -> String {
    let HostMemory { budget_bytes, held_bytes, waiting, .. } = *memory;
    let held = format!("{} of {}", figures::bytes(held_bytes), figures::bytes(budget_bytes));
    if waiting == 0 { held } else { format!("{held}, {waiting} wait") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_only_if_somebody_does() {
        let mut state =
            HostMemory { ceiling_bytes: 4 << 30, budget_bytes: 3 << 30, held_bytes: 0, waiting: 0 };
        assert_eq!(memory(&state), "0 B of 3.00 GiB");
        (state.held_bytes, state.waiting) = (180 << 20, 2);
        assert_eq!(memory(&state), "180 MiB of 3.00 GiB, 2 wait");
    }
}
