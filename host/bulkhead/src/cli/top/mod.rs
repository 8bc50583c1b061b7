//! `bulkhead top`: how everything stands, in the terminal, again and again. It changes nothing.
//!
//! [`looks`] reads, [`board`] is what is on display and what keys do, [`panes`] and [`head`] say
//! what is shown of it, [`draw`] draws it, [`live`] goes on until somebody has enough.

mod board;
mod draw;
mod head;
mod live;
mod looks;
mod panes;
#[cfg(test)]
mod sample;
mod screen;
mod sheet;
#[cfg(test)]
mod tests;
mod text;
mod typed;

use std::io::{IsTerminal, stdin, stdout};
use std::time::Duration;

use anyhow::Result;
use bulkhead::core::QueueName;
use bulkhead::core::quantity::Span;
use clap::Args;

use self::board::Board;
use self::draw::Palette;
use self::looks::{Beyond, Looker};
use super::exit::{Exit, usage};
use super::figures;
use super::open::Outlook;
use super::session::{Session, known_queue};

/// The shortest and the longest time between two looks.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3_600));

/// Show how queues, task types, hosts and tenants stand, until q
///
/// It reads only, and needs a broker but no HTTP. ? shows the keys.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// How often to look, from 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    interval: Span,
    /// Only this queue, repeatable
    #[arg(long = "queue", value_name = "NAME")]
    queues: Vec<QueueName>,
    /// Print one frame as plain text: all panes, after two looks an interval apart
    #[arg(long)]
    once: bool,
}

impl Top {
    /// Whether it takes the terminal, so that nothing else may be written there.
    pub(crate) fn is_live(&self, json: bool) -> bool {
        !self.once && !json
    }

    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        let interval = self.interval.0;
        if !(INTERVALS.0..=INTERVALS.1).contains(&interval) {
            return Err(usage(format!(
                "--interval: {} is not from {} to {}",
                self.interval,
                Span(INTERVALS.0),
                Span(INTERVALS.1)
            )));
        }
        let live = self.is_live(session.out.is_json());
        if live && !(stdin().is_terminal() && stdout().is_terminal()) {
            return Err(usage(
                "`bulkhead top` needs a terminal for its input and its output; `bulkhead top \
                 --once` prints one frame to anywhere",
            ));
        }
        let mut outlook = Outlook::open(&session.config).await?;
        if !self.queues.is_empty() {
            let broker = outlook.broker().await?;
            for queue in &self.queues {
                known_queue(broker.as_ref(), queue).await?;
            }
        }
        let mut looker = Looker::new(outlook, self.queues, interval);
        if live {
            let colors = anstream::AutoStream::choice(&stdout()) != anstream::ColorChoice::Never;
            let board = Board::new(session.config.broker.to_string(), interval);
            live::run(looker, board, Palette { colors }).await?;
            return Ok(Exit::Done);
        }
        // Rates lie between two looks.
        looker.look(&Beyond::Nothing).await?;
        tokio::time::sleep(interval).await;
        let mut seen = looker.look(&Beyond::Dead).await?;
        if session.out.is_json() {
            session.out.document(&seen.overview)?;
            return Ok(Exit::Done);
        }
        seen.policies = looker.look(&Beyond::Policies).await?.policies;
        let columns = match terminal_size::terminal_size() {
            Some((width, _)) if stdout().is_terminal() => usize::from(width.0).saturating_sub(2),
            _ => usize::MAX / 2,
        };
        session.out.text(&draw::plain(&seen, columns, figures::now()))?;
        Ok(Exit::Done)
    }
}
