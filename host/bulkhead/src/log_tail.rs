//! The warnings and errors that a process logged last, for those who ask it what is wrong.
//!
//! It is a layer beside the one that writes the log, and hears what that one hears.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::Arc;

use bulkhead_api::Complaint;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock::unix_ms;

/// Lines that are kept.
const KEPT: usize = 100;
/// Bytes of one of them.
const LINE_BYTES: usize = 2_048;

/// The last warnings and errors of a log. Clones are the same log's.
#[derive(Debug, Clone, Default)]
pub struct LogTail(Arc<Mutex<VecDeque<Complaint>>>);

impl LogTail {
    /// What is kept, the oldest first; at most 100.
    #[must_use]
    pub fn lines(&self) -> Vec<Complaint> {
        self.0.lock().iter().cloned().collect()
    }
}

impl<S: Subscriber> Layer<S> for LogTail {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => return,
        };
        let mut said = Said::default();
        event.record(&mut said);
        let complaint = Complaint {
            at: unix_ms(),
            level: level.to_owned(),
            target: event.metadata().target().to_owned(),
            message: said.text(),
        };
        let mut lines = self.0.lock();
        lines.push_back(complaint);
        while lines.len() > KEPT {
            lines.pop_front();
        }
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
}

impl Said {
    fn text(self) -> String {
        let mut text = self.message + &self.fields;
        if text.len() > LINE_BYTES {
            text.truncate(text.floor_char_boundary(LINE_BYTES));
            text.push('…');
        }
        text
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn the_last_warnings_and_errors_are_kept_and_no_more() {
        let tail = LogTail::default();
        let subscriber = tracing_subscriber::registry().with(tail.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("fine");
            (0..200).for_each(|at| tracing::warn!(at, queue = "q", "it is late"));
            tracing::error!("{}", "é".repeat(5_000));
        });
        let lines = tail.lines();
        assert_eq!(lines.len(), KEPT);
        assert_eq!(
            (&*lines[0].level, &*lines[0].message),
            ("warn", "it is late at=101 queue=\"q\"")
        );
        let last = &lines[KEPT - 1];
        assert!(last.level == "error" && last.message.len() <= LINE_BYTES + "…".len());
    }
}
