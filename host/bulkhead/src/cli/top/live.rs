//! The display that goes on: keys, news and signals in, frames out, until somebody has enough.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use crossterm::event::{Event, EventStream};
use futures::StreamExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::board::{After, Board};
use super::draw::{Palette, draw};
use super::looks::Looker;
use super::screen::Screen;
use crate::cli::figures;

/// How often ages are drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// What ends it besides a key.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> io::Result<Self> {
        let of = |kind| signal(kind);
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds;
        Ok(Self([of(interrupt)?, of(terminate)?, of(hangup)?]))
    }

    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Show it until a key or a signal ends it.
pub(super) async fn run(looker: Looker, mut board: Board, palette: Palette) -> Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let mut screen = Screen::take().context("cannot use the terminal")?;
    crossterm::style::force_color_output(palette.colors);
    let mut keys = EventStream::new();
    let (want, wanted) = watch::channel(board.wanted());
    // One look waits to be shown at most.
    let (tell, mut news) = mpsc::channel(1);
    let looking = tokio::spawn(looker.watch(wanted, tell));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        let drawn = screen.draw(|frame| draw(frame, &mut board, palette, figures::now()));
        if let Err(error) = drawn {
            break Err(error);
        }
        tokio::select! {
            key = keys.next() => match key {
                Some(Ok(Event::Key(key))) if key.is_press() => {
                    if board.key(key, figures::now()) == After::Quit {
                        break Ok(());
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            },
            seen = news.recv() => match seen {
                Some(seen) => board.take(seen, figures::now()),
                None => break Err(io::Error::other("nobody looks at the broker any more")),
            },
            _ = ticks.tick() => {}
            () = signals.any() => break Ok(()),
        }
        let now = board.wanted();
        want.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    };
    looking.abort();
    drop(screen);
    ended.context("the display failed")
}
