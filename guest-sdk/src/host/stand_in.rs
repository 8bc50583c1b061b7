//! The host as a native test sees it: it keeps what one attempt, or one batch, on this
//! thread tells it, and answers what the test decided. Outside an attempt it keeps
//! nothing, so that a handler can be called directly as well.

use std::cell::RefCell;
use std::time::Instant;

use super::granted::Granted;
use crate::Parent;
use crate::enqueue::Child;

/// One log line as the host would get it.
pub(crate) type Line = (log::Level, String, Vec<(String, String)>);

/// What the handler sees of its host and tells it.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// When its time is up; nothing means never.
    pub(crate) deadline: Option<Instant>,
    /// The task, or those of a batch.
    pub(crate) tasks: Vec<Seat>,
    /// Whether it is a batch.
    pub(crate) batch: bool,
    /// The task of the batch that the handler works at.
    pub(crate) focus: Option<usize>,
    /// What it was granted; of a batch, what its first task was.
    pub(crate) granted: Granted,
}

/// What concerns one task.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// Whether somebody asked to cancel it.
    pub(crate) cancelled: bool,
    /// What it waited for.
    pub(crate) parents: Vec<Parent>,
    /// Its log lines.
    pub(crate) lines: Vec<Line>,
    /// Its progress reports.
    pub(crate) progress: Vec<(f32, String)>,
    /// The tasks that it submitted.
    pub(crate) children: Vec<Child>,
}

impl Attempt {
    /// The tasks that what is said concerns.
    fn concerned(&mut self) -> &mut [Seat] {
        match self.focus {
            Some(at) => self.tasks.get_mut(at..=at).unwrap_or_default(),
            None => &mut self.tasks,
        }
    }

    fn parents(&self) -> &[Parent] {
        let at = if self.batch { self.focus } else { Some(0) };
        at.and_then(|at| self.tasks.get(at)).map_or(&[], |seat| &seat.parents)
    }
}

thread_local! {
    static ATTEMPT: RefCell<Option<Attempt>> = const { RefCell::new(None) };
}

/// Begin an attempt on this thread, or end the one that runs; returns that one.
pub(crate) fn exchange(attempt: Option<Attempt>) -> Option<Attempt> {
    ATTEMPT.with(|current| current.replace(attempt))
}

pub(crate) fn with<R>(f: impl FnOnce(&mut Attempt) -> R) -> Option<R> {
    ATTEMPT.with(|current| current.borrow_mut().as_mut().map(f))
}

pub(crate) fn write_log(level: log::Level, message: &str, fields: &[(String, String)]) {
    with(|attempt| {
        for seat in attempt.concerned() {
            seat.lines.push((level, message.to_owned(), fields.to_vec()));
        }
    });
}

pub(crate) fn report_progress(fraction: f32, message: &str) {
    with(|attempt| {
        for seat in attempt.concerned() {
            seat.progress.push((fraction, message.to_owned()));
        }
    });
}

pub(crate) fn remaining_ms() -> u64 {
    let deadline = with(|attempt| attempt.deadline).flatten();
    deadline.map_or(u64::MAX, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    })
}

pub(crate) fn cancelled() -> bool {
    with(|attempt| attempt.concerned().iter().all(|seat| seat.cancelled)).unwrap_or(false)
}

pub(crate) fn set_focus(task: Option<u32>) {
    with(|attempt| {
        let places = attempt.tasks.len();
        attempt.focus = task.map(|task| task as usize).filter(|at| attempt.batch && *at < places);
    });
}

pub(crate) fn count_parents() -> u32 {
    let count = with(|attempt| attempt.parents().len()).unwrap_or(0);
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(crate) fn parent(index: u32) -> Option<Parent> {
    with(|attempt| attempt.parents().get(index as usize).cloned()).flatten()
}
