//! `bulkhead host`: which hosts run.

use anyhow::Result;
use bulkhead::Layer;
use bulkhead::queue::HostInfo;
use clap::Subcommand;

use super::exit::Exit;
use super::session::Session;
use super::{figures, output};

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
        let header =
            ["NAME", "PID", "STARTED", "SEEN", "RUNNING", "SLOTS", "GUESTS", "QUEUES", "PLUGINS"];
        let mut table = output::table(&header);
        for host in &hosts {
            let serving = host.plugins.iter().filter(|plugin| plugin.serving.is_some()).count();
            table.add_row(vec![
                output::cell(&host.name),
                output::number(host.pid),
                output::cell(&figures::relative(host.started_at, now)),
                output::cell(&figures::relative(host.seen_at, now)),
                output::number(host.in_flight),
                output::number(host.concurrency),
                output::cell(&guests(host)),
                output::cell(&host.queues.join(", ")),
                output::number(serving),
            ]);
        }
        session.out.table(table, "no running host; start one with `bulkhead run`")?;
        Ok(Exit::Done)
    }
}

/// Where a host's guests run, and behind how many layers.
fn guests(host: &HostInfo) -> String {
    match host.isolation.len() {
        0 => "threads".to_owned(),
        layers => format!("processes, {layers} of {} layers", Layer::ALL.len()),
    }
}
