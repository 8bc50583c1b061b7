//! `bulkhead journal`: who changed what.

use anyhow::Result;
use bulkhead::queue::JournalRange;
use clap::Args;

use super::exit::Exit;
use super::session::Session;
use super::{figures, output};

/// Print who changed what, the newest last
///
/// What is changed through the API, tokens, and what is pushed and activated are written down;
/// the newest 10,000 lines are kept.
#[derive(Debug, Args)]
pub(crate) struct Journal {
    /// How many lines at most
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

impl Journal {
    /// Do it.
    pub(crate) async fn run(&self, session: &Session) -> Result<Exit> {
        let range = JournalRange::newest(self.limit as usize);
        let entries = session.broker().await?.archive().journal_entries(&range).await?;
        if session.out.is_json() {
            session.out.document(&entries)?;
            return Ok(Exit::Done);
        }
        let mut table = output::table(&["AT", "WHO", "DID", "TO", "DETAIL"]);
        for entry in &entries {
            table.add_row(vec![
                output::cell(&figures::time(entry.at)),
                output::cell(&entry.line.actor),
                output::cell(&entry.line.action),
                output::cell(&entry.line.object),
                output::cell(&entry.line.detail),
            ]);
        }
        session.out.table(table, "nothing is written down")?;
        Ok(Exit::Done)
    }
}
