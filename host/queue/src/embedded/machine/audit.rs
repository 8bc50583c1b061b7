//! The journal of what people did, of no queue: the newest lines in order.
//!
//! A line's place is the time and a number within it, and only grows, over restarts too.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::event::parse;
use super::journal::Row;
use super::rows::tag;
use super::{Machine, Now};
use crate::error::QueueError;
use crate::event::EventId;
use crate::journal::{JournalEntry, JournalLine, JournalRange, KEPT};

/// A line's place: milliseconds and a number within them.
type Place = (u64, u64);

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Audit {
    lines: BTreeMap<Place, JournalLine>,
    pub(super) journaling: bool,
    changed: Vec<Place>,
}

impl Machine {
    /// Write a line.
    pub fn journal(&mut self, line: &JournalLine, now_us: u64) -> Result<(), QueueError> {
        line.check()?;
        let (now_ms, audit) = (Now(now_us).ms(), &mut self.audit);
        let place = match audit.lines.last_key_value() {
            Some((&(ms, number), _)) if ms >= now_ms => (ms, number + 1),
            _ => (now_ms, 0),
        };
        audit.lines.insert(place, line.clone());
        audit.note(place);
        while audit.lines.len() > KEPT {
            if let Some((place, _)) = audit.lines.pop_first() {
                audit.note(place);
            }
        }
        Ok(())
    }

    /// Lines, oldest first.
    pub fn journal_entries(&self, range: &JournalRange) -> Result<Vec<JournalEntry>, QueueError> {
        let after = range.after.as_ref().map(parse).transpose()?;
        let before = range.before.as_ref().map(parse).transpose()?;
        let lines = self.audit.lines.iter().filter(|(place, _)| {
            after.is_none_or(|after| **place > after) && before.is_none_or(|b| **place < b)
        });
        let entry = |(&(ms, number), line): (&Place, &JournalLine)| JournalEntry {
            id: EventId(format!("{ms}-{number}")),
            at: ms,
            line: line.clone(),
        };
        if after.is_some() {
            return Ok(lines.take(range.page()).map(entry).collect());
        }
        let mut newest: Vec<JournalEntry> = lines.rev().take(range.page()).map(entry).collect();
        newest.reverse();
        Ok(newest)
    }
}

impl Audit {
    fn note(&mut self, place: Place) {
        if self.journaling {
            self.changed.push(place);
        }
    }

    pub(super) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for place in std::mem::take(&mut self.changed) {
            rows.push(self.row(place));
        }
    }

    pub(super) fn all_rows(&self, rows: &mut Vec<Row>) {
        rows.extend(self.lines.keys().map(|place| self.row(*place)));
    }

    fn row(&self, place: Place) -> Row {
        let (ms, number) = place;
        let key = [&[tag::AUDIT], &ms.to_be_bytes()[..], &number.to_be_bytes()].concat();
        let line = self.lines.get(&place);
        Row { key, value: line.and_then(|line| rmp_serde::to_vec(line).ok()).map(Bytes::from) }
    }

    /// Take a row back.
    pub(super) fn restore(&mut self, rest: &[u8], value: &[u8]) -> Result<(), String> {
        let (ms, number) = rest.split_first_chunk::<8>().ok_or("its key is short")?;
        let number = number.try_into().map_err(|_| "its key is short")?;
        let place = (u64::from_be_bytes(*ms), u64::from_be_bytes(number));
        let line = rmp_serde::from_slice(value).map_err(|e| e.to_string())?;
        self.lines.insert(place, line);
        Ok(())
    }
}
