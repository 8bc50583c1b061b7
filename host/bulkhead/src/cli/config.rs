//! `bulkhead config`: what is in effect, and where it came from.

use anyhow::Result;
use clap::Subcommand;

use super::exit::Exit;
use super::output;
use super::run::HostFlags;
use super::session::Session;

/// Check the configuration
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check the configuration and print every setting with where it came from
    Check(HostFlags),
}

impl Config {
    /// Do it.
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        session.config.check_secrets()?;
        let settings = session.config.settings();
        if session.out.is_json() {
            session.out.document(&settings)?;
            return Ok(Exit::Done);
        }
        let mut table = output::table(&["KEY", "VALUE", "FROM"]);
        for setting in settings {
            let value = match &setting.value {
                serde_json::Value::Null => "-".to_owned(),
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(items) => {
                    let item = |item: &serde_json::Value| {
                        item.as_str().map_or_else(|| item.to_string(), str::to_owned)
                    };
                    items.iter().map(item).collect::<Vec<_>>().join(", ")
                }
                other => other.to_string(),
            };
            table.add_row(vec![
                output::cell(&setting.key),
                output::cell(&value),
                output::cell(&setting.origin.to_string()),
            ]);
        }
        session.out.table(table, "")?;
        Ok(Exit::Done)
    }
}
