//! The log of one attempt: what the guest logged, and what it wrote to its standard
//! output and error.
//!
//! A guest can log as much as it likes and never fails for it; what is kept is the
//! beginning, up to the attempt's `log_bytes`, and the rest is counted. A panic report
//! is remembered apart from that, so that a chatty guest's panic can still be named.

use std::sync::Arc;
use std::time::Instant;

use bulkhead_core::{LogLevel, LogLine};
use parking_lot::Mutex;

use crate::text::{self, bounded, bounded_lossy};

/// Longest kept line, in bytes.
pub(crate) const MAX_LINE_BYTES: usize = 8 << 10;

/// What a line costs besides its text, so that empty lines are bounded too.
const LINE_COST_BYTES: u64 = 32;

/// What a field costs besides its text.
pub(crate) const FIELD_COST_BYTES: u64 = 8;

/// How much more than it costs a kept field or line takes at most: one of a few bytes is two
/// texts of the allocator's least size and their places in a list that grew to twice its need.
const MOST_OVER_COST: u64 = 16;

/// What a log that keeps so many bytes holds at most, with the unfinished lines, the last one
/// and the last panic.
pub(crate) fn held_bytes(log_bytes: u64) -> u64 {
    log_bytes.saturating_mul(MOST_OVER_COST).saturating_add(8 * MAX_LINE_BYTES as u64)
}

/// Name of the field that says which stream a captured line came from.
const STREAM_FIELD: &str = "stream";

/// A guest's standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// A log that the guest's streams and host calls share.
#[derive(Clone)]
pub(crate) struct SharedJournal(Arc<Mutex<Journal>>);

impl SharedJournal {
    pub(crate) fn new(began: Instant, limit_bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(Journal {
            began,
            left_bytes: limit_bytes,
            full: false,
            lines: Vec::new(),
            written_bytes: 0,
            dropped_lines: 0,
            panic: None,
            last_error: None,
            out: PartialLine::default(),
            err: PartialLine::default(),
        })))
    }

    /// Add a line of the guest's own log.
    pub(crate) fn write(&self, level: LogLevel, message: String, fields: Vec<(String, String)>) {
        let mut journal = self.0.lock();
        journal.note_panic(&fields);
        let written = message.len() as u64 + fields.iter().map(text_bytes).sum::<u64>();
        journal.written_bytes = journal.written_bytes.saturating_add(written);
        journal.keep(level, message, fields);
    }

    /// Add bytes that the guest wrote to a stream.
    pub(crate) fn capture(&self, stream: Stream, bytes: &[u8]) {
        self.0.lock().capture(stream, bytes);
    }

    /// The last line that the guest wrote to its standard error.
    pub(crate) fn last_error(&self) -> Option<String> {
        let mut journal = self.0.lock();
        journal.finish_line(Stream::Err);
        journal.last_error.clone()
    }

    /// End the log: unfinished lines are lines now.
    pub(crate) fn close(&self) -> Closed {
        let mut journal = self.0.lock();
        journal.finish_line(Stream::Out);
        journal.finish_line(Stream::Err);
        Closed {
            lines: std::mem::take(&mut journal.lines),
            written_bytes: journal.written_bytes,
            dropped_lines: journal.dropped_lines,
            panic: journal.panic.take(),
        }
    }
}

/// What an attempt's log came to.
#[derive(Default)]
pub(crate) struct Closed {
    pub(crate) lines: Vec<LogLine>,
    pub(crate) written_bytes: u64,
    pub(crate) dropped_lines: u64,
    /// The last panic that the guest reported, as `panicked at FILE:LINE: MESSAGE`.
    pub(crate) panic: Option<String>,
}

impl Closed {
    /// A task's own log among the lines that it shares with the others of its batch, by
    /// time and the shared ones first, within `limit_bytes`.
    pub(crate) fn among(self, shared: &Self, limit_bytes: u64) -> Self {
        if shared.lines.is_empty() && shared.dropped_lines == 0 {
            return self;
        }
        let mut dropped_lines = self.dropped_lines + shared.dropped_lines;
        let mut lines = shared.lines.clone();
        lines.extend(self.lines);
        lines.sort_by_key(|line| line.at_ms);
        let mut left = Some(limit_bytes);
        lines.retain(|line| {
            left = left.and_then(|left| left.checked_sub(cost(&line.message, &line.fields)));
            dropped_lines += u64::from(left.is_none());
            left.is_some()
        });
        let (written_bytes, panic) = (self.written_bytes, self.panic);
        Self { lines, written_bytes, dropped_lines, panic }
    }
}

struct Journal {
    began: Instant,
    left_bytes: u64,
    full: bool,
    lines: Vec<LogLine>,
    written_bytes: u64,
    dropped_lines: u64,
    panic: Option<String>,
    last_error: Option<String>,
    out: PartialLine,
    err: PartialLine,
}

/// A line whose end has not been written yet.
#[derive(Default)]
struct PartialLine {
    kept: Vec<u8>,
    cut: bool,
    /// The line before said that a panic's message follows.
    panicked_at: Option<String>,
}

impl Journal {
    fn keep(&mut self, level: LogLevel, message: String, fields: Vec<(String, String)>) {
        if self.full {
            self.dropped_lines += 1;
            return;
        }
        let message = bounded(message, MAX_LINE_BYTES);
        match self.left_bytes.checked_sub(cost(&message, &fields)) {
            Some(left) => self.left_bytes = left,
            None => {
                // Later lines that would still fit are dropped as well: what is kept
                // is a beginning without holes.
                self.full = true;
                self.dropped_lines += 1;
                return;
            }
        }
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.lines.push(LogLine { at_ms, level, message, fields });
    }

    fn note_panic(&mut self, fields: &[(String, String)]) {
        let field = |name| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let Some(message) = field("panic.message") else { return };
        let at = match (field("panic.file"), field("panic.line")) {
            (Some(file), Some(line)) => format!(" at {file}:{line}"),
            _ => String::new(),
        };
        self.panic = Some(bounded(format!("panicked{at}: {message}"), MAX_LINE_BYTES));
    }

    fn capture(&mut self, stream: Stream, bytes: &[u8]) {
        self.written_bytes = self.written_bytes.saturating_add(bytes.len() as u64);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(line) => {
                    self.partial(stream).extend(line);
                    self.finish_line(stream);
                }
                None => self.partial(stream).extend(piece),
            }
        }
    }

    fn finish_line(&mut self, stream: Stream) {
        let partial = self.partial(stream);
        if partial.kept.is_empty() {
            return;
        }
        let mut line = bounded_lossy(&partial.kept, MAX_LINE_BYTES);
        if partial.cut {
            line.push_str(text::CUT);
        }
        partial.kept.clear();
        partial.cut = false;
        let (level, name) = match stream {
            Stream::Out => (LogLevel::Info, "stdout"),
            Stream::Err => (LogLevel::Warn, "stderr"),
        };
        if stream == Stream::Err {
            self.note_reported_panic(&line);
            self.last_error = Some(line.clone());
        }
        self.keep(level, line, vec![(STREAM_FIELD.to_owned(), name.to_owned())]);
    }

    /// Rust's own panic report is two lines on the standard error: the place, then
    /// the message.
    fn note_reported_panic(&mut self, line: &str) {
        if let Some(place) = self.err.panicked_at.take() {
            self.panic = Some(format!("panicked at {place}: {line}"));
        } else if let Some((_, place)) = line.split_once(" panicked at ") {
            let place = place.trim_end_matches(':');
            self.panic = Some(format!("panicked at {place}"));
            self.err.panicked_at = Some(place.to_owned());
        }
    }

    fn partial(&mut self, stream: Stream) -> &mut PartialLine {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }
}

impl PartialLine {
    fn extend(&mut self, bytes: &[u8]) {
        let room = MAX_LINE_BYTES.saturating_sub(self.kept.len());
        self.cut |= bytes.len() > room;
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// What a line takes of the limit.
pub(crate) fn cost(message: &str, fields: &[(String, String)]) -> u64 {
    let fields: u64 = fields.iter().map(|field| text_bytes(field) + FIELD_COST_BYTES).sum();
    message.len() as u64 + fields + LINE_COST_BYTES
}

fn text_bytes((key, value): &(String, String)) -> u64 {
    (key.len() + value.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(limit_bytes: u64) -> SharedJournal {
        SharedJournal::new(Instant::now(), limit_bytes)
    }

    #[test]
    fn what_is_kept_is_a_beginning_and_the_rest_is_counted() {
        let journal = journal(3 * (LINE_COST_BYTES + 4));
        for text in ["one.", "two.", "thr.", "four", ""] {
            journal.write(LogLevel::Info, text.to_owned(), Vec::new());
        }
        let closed = journal.close();
        let kept: Vec<_> = closed.lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(kept, ["one.", "two.", "thr."]);
        assert_eq!((closed.dropped_lines, closed.written_bytes), (2, 16));
    }

    #[test]
    fn shared_lines_stand_among_a_tasks_own_within_its_limit() {
        let line = |at_ms, message: &str| LogLine {
            at_ms,
            level: LogLevel::Info,
            message: message.to_owned(),
            fields: Vec::new(),
        };
        let shared = Closed { lines: vec![line(1, "b"), line(4, "d")], ..Closed::default() };
        let own = || Closed { lines: vec![line(0, "a"), line(2, "c")], ..Closed::default() };
        let texts = |closed: &Closed| -> String {
            closed.lines.iter().map(|line| line.message.as_str()).collect()
        };
        let all = own().among(&shared, 4 * (LINE_COST_BYTES + 1));
        assert_eq!((texts(&all).as_str(), all.dropped_lines), ("abcd", 0));
        let cut = own().among(&shared, 4 * (LINE_COST_BYTES + 1) - 1);
        assert_eq!((texts(&cut).as_str(), cut.dropped_lines), ("abc", 1));
        let alone = own().among(&Closed::default(), 0);
        assert_eq!((texts(&alone).as_str(), alone.dropped_lines), ("ac", 0));
    }

    /// About what the allocator gives for the lines that were kept.
    fn taken_bytes(closed: &Closed) -> u64 {
        let text = |text: &String| text.capacity().max(8);
        let line = |line: &LogLine| {
            let texts = line.fields.iter().map(|(key, value)| text(key) + text(value));
            text(&line.message)
                + line.fields.capacity() * size_of::<(String, String)>()
                + texts.sum::<usize>()
        };
        // While a list grows there are two of it.
        let list = closed.lines.capacity() * size_of::<LogLine>() * 3 / 2;
        (list + closed.lines.iter().map(line).sum::<usize>()) as u64
    }

    #[test]
    fn no_form_of_lines_holds_more_than_is_reckoned_with() {
        let limit_bytes = 64 << 10;
        let field = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        for (message, fields) in [
            ("", vec![]),
            ("m", vec![]),
            ("", vec![field("", "")]),
            ("", vec![field("k", "v"); 1]),
            ("", vec![field("k", ""); 900]),
            ("", vec![field("k", "v"); 900]),
            (&"x".repeat(MAX_LINE_BYTES), vec![field("key", "value")]),
        ] {
            let journal = journal(limit_bytes);
            for _ in 0..5_000 {
                journal.write(LogLevel::Info, message.to_owned(), fields.clone());
            }
            let closed = journal.close();
            let taken = taken_bytes(&closed);
            assert!(!closed.lines.is_empty() && closed.dropped_lines > 0);
            assert!(taken <= held_bytes(limit_bytes), "{taken} for {} fields", fields.len());
        }
    }

    #[test]
    fn empty_lines_are_bounded_too() {
        let journal = journal(10 * LINE_COST_BYTES);
        for _ in 0..1_000 {
            journal.write(LogLevel::Info, String::new(), Vec::new());
        }
        let closed = journal.close();
        assert_eq!((closed.lines.len(), closed.dropped_lines), (10, 990));
    }

    #[test]
    fn streams_become_lines_however_they_are_cut() {
        let journal = journal(1 << 20);
        for piece in ["a", "b\nc", "\n\nd"] {
            journal.capture(Stream::Out, piece.as_bytes());
        }
        journal.capture(Stream::Err, b"\xff\n");
        journal.capture(Stream::Out, &vec![b'x'; 3 * MAX_LINE_BYTES]);
        let closed = journal.close();
        let kept: Vec<_> = closed.lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(kept[..3], ["ab", "c", "\u{fffd}"]);
        assert!(kept[3].starts_with("dxxx") && kept[3].ends_with('…'));
        assert!(kept[3].len() <= MAX_LINE_BYTES + 4);
        assert_eq!(closed.lines[2].level, LogLevel::Warn);
        assert_eq!(closed.lines[2].fields, [("stream".to_owned(), "stderr".to_owned())]);
        assert_eq!(closed.written_bytes, 9 + 3 * MAX_LINE_BYTES as u64);
    }

    #[test]
    fn a_panic_is_remembered_when_its_line_is_not() {
        let fields = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let full = journal(0);
        let report = [("panic.message", "boom"), ("panic.file", "src/a.rs"), ("panic.line", "7")];
        full.write(LogLevel::Error, "boom".to_owned(), fields(&report));
        let closed = full.close();
        assert_eq!(closed.panic.as_deref(), Some("panicked at src/a.rs:7: boom"));
        assert!(closed.lines.is_empty());

        let plain = journal(0);
        plain.capture(Stream::Err, b"\nthread 'main' (1) panicked at src/b.rs:3:5:\nbang\nnote\n");
        assert_eq!(plain.close().panic.as_deref(), Some("panicked at src/b.rs:3:5: bang"));
    }
}
