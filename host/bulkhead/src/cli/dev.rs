//! `bulkhead dev`: a host for whoever writes handlers, without a server.

use std::path::PathBuf;

use anyhow::{Context, Result};
use bulkhead::config::{Flag, FlagValue};
use clap::Args;

use super::exit::Exit;
use super::output;
use super::run::{self, HostFlags};
use super::session::Session;

/// What is logged unless --log-level says otherwise: also what handlers log.
const LOG_LEVEL: &str = "info,bulkhead::guest=debug";

/// Run handlers that you are writing, without a server
///
/// Tasks are kept in memory, or in a folder with --data, or by another broker with --broker;
/// a broker from the configuration or the environment does not count. Put a new version of a
/// plugin into the folder and it serves the next task.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Keep tasks in this folder, and find them there again
    #[arg(long, value_name = "DIR", conflicts_with = "broker")]
    data: Option<PathBuf>,
    #[command(flatten)]
    host: HostFlags,
}

impl Dev {
    /// The settings that were given; `elsewhere` if they name a broker already.
    pub(crate) fn settings(&self, elsewhere: bool) -> Vec<Flag> {
        let mut flags = self.host.settings();
        if !elsewhere {
            let data = self.data.as_ref().map(|folder| folder.display().to_string());
            let broker = FlagValue::Text(format!("embedded:{}", data.unwrap_or_default()));
            flags.push(Flag { flag: "--data", key: "broker", value: broker });
        }
        if !flags.iter().any(|flag| flag.key == "log.level") {
            let value = FlagValue::Text(LOG_LEVEL.into());
            flags.push(Flag { flag: "--log-level", key: "log.level", value });
        }
        flags
    }

    /// Run until it is stopped.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        // A broker in memory is reached through a socket in a folder of its own, which goes
        // when the command ends.
        let shared = tempfile::Builder::new()
            .prefix("bulkhead-dev-")
            .tempdir()
            .context("cannot make a folder for the socket")?;
        run::host(session, Some(shared.path()), |address| {
            output::note(&format!(
                "handlers in `{}` are served; submit from another terminal:\n  bulkhead --broker \
                 {address} submit TYPE --data '...' --wait",
                session.config.host.plugin_dir.display()
            ));
        })
        .await
    }
}
