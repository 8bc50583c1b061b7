//! The host as a native test sees it: it keeps what one attempt on this thread
//! tells it, and answers what the test decided. Outside an attempt it keeps
//! nothing, so that a handler can be called directly as well.

use std::cell::RefCell;
use std::time::Instant;

/// One log line as the host would get it.
pub(crate) type Line = (log::Level, String, Vec<(String, String)>);

/// What one attempt sees of its host and tells it.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// When its time is up; nothing means never.
    pub(crate) deadline: Option<Instant>,
    /// Whether somebody asked to cancel it.
    pub(crate) cancelled: bool,
    /// Its log lines.
    pub(crate) lines: Vec<Line>,
    /// Its progress reports.
    pub(crate) progress: Vec<(f32, String)>,
}

thread_local! {
    static ATTEMPT: RefCell<Option<Attempt>> = const { RefCell::new(None) };
}

/// Begin an attempt on this thread, or end the one that runs; returns that one.
pub(crate) fn exchange(attempt: Option<Attempt>) -> Option<Attempt> {
    ATTEMPT.with(|current| current.replace(attempt))
}

fn with<R>(f: impl FnOnce(&mut Attempt) -> R) -> Option<R> {
    ATTEMPT.with(|current| current.borrow_mut().as_mut().map(f))
}

pub(crate) fn write_log(level: log::Level, message: &str, fields: &[(String, String)]) {
    with(|attempt| attempt.lines.push((level, message.to_owned(), fields.to_vec())));
}

pub(crate) fn report_progress(fraction: f32, message: &str) {
    with(|attempt| attempt.progress.push((fraction, message.to_owned())));
}

pub(crate) fn remaining_ms() -> u64 {
    let deadline = with(|attempt| attempt.deadline).flatten();
    deadline.map_or(u64::MAX, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    })
}

pub(crate) fn cancelled() -> bool {
    with(|attempt| attempt.cancelled).unwrap_or(false)
}
