//! The journal: who did what to what, in the order of the broker's clock.
//!
//! Lines are only ever added; the oldest go when there are more than [`KEPT`]. A broker adds
//! what it is told and does not know whether it happened.

use bulkhead_core::UnixMs;
use serde::{Deserialize, Serialize};

use crate::error::QueueError;
use crate::event::EventId;

/// Lines kept.
pub(crate) const KEPT: usize = 10_000;
/// Lines of one answer at most.
pub(crate) const MAX_READ: usize = 1_000;
/// Bytes of an actor, an action and an object at most, each.
const MAX_WORD_BYTES: usize = 256;
/// Bytes of a detail at most.
const MAX_DETAIL_BYTES: usize = 4 << 10;

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// Who: a token's name, a user at a machine. At most 256 bytes, like the next two.
    pub actor: String,
    /// What, as `plugin.activate`.
    pub action: String,
    /// To what.
    pub object: String,
    /// More about it, at most 4 KiB.
    pub detail: String,
}

impl JournalLine {
    /// A line; what is longer than it may be is cut off.
    #[must_use]
    pub fn new(actor: &str, action: &str, object: &str, detail: &str) -> Self {
        let word = |text: &str| cut(text, MAX_WORD_BYTES);
        Self {
            actor: word(actor),
            action: word(action),
            object: word(object),
            detail: cut(detail, MAX_DETAIL_BYTES),
        }
    }

    /// Refuse a line that is longer than it may be.
    pub(crate) fn check(&self) -> Result<(), QueueError> {
        let Self { actor, action, object, detail } = self;
        for (what, text, most) in [
            ("actor", actor, MAX_WORD_BYTES),
            ("action", action, MAX_WORD_BYTES),
            ("object", object, MAX_WORD_BYTES),
            ("detail", detail, MAX_DETAIL_BYTES),
        ] {
            if text.len() > most {
                return Err(QueueError::Refused(format!(
                    "the {what} has {} bytes; at most {most} are kept in the journal",
                    text.len()
                )));
            }
        }
        Ok(())
    }
}

fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

/// A line as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Its place.
    pub id: EventId,
    /// When, by the broker's clock.
    pub at: UnixMs,
    /// What.
    pub line: JournalLine,
}

/// Which lines to read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JournalRange {
    /// Those that follow this one, the first of them. Without it the newest are read.
    pub after: Option<EventId>,
    /// Only those before this one.
    pub before: Option<EventId>,
    /// How many: from 1 to 1,000, whatever is asked for.
    pub limit: usize,
}

impl JournalRange {
    /// The newest so many.
    #[must_use]
    pub fn newest(limit: usize) -> Self {
        Self { after: None, before: None, limit }
    }

    pub(crate) fn page(&self) -> usize {
        self.limit.clamp(1, MAX_READ)
    }
}
