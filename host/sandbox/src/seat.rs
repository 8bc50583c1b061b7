//! The tasks of one compartment: one, or those of a batch.
//!
//! Each has a log, progress, parents and a cancel token of its own. What the guest says
//! goes to the task that it works at; in a batch it says which, and until it does, what it
//! says belongs to all. Nothing here knows the guest.

use std::sync::Arc;
use std::time::Instant;

use bulkhead_core::Parent;

use crate::Cancel;
use crate::attempt::Attempt;
use crate::capability::Reports;
use crate::journal::SharedJournal;

/// What belongs to one task of a compartment, or to all of a batch together.
pub(crate) struct Seat {
    pub(crate) journal: SharedJournal,
    pub(crate) cancel: Cancel,
    progress: Option<Reports>,
    parents: Option<Arc<[Parent]>>,
}

impl Seat {
    /// A seat with nothing but a log.
    pub(crate) fn bare(began: Instant, log_bytes: u64) -> Self {
        let journal = SharedJournal::new(began, log_bytes);
        Self { journal, cancel: Cancel::new(), progress: None, parents: None }
    }

    /// The seat of an attempt.
    pub(crate) fn of(attempt: &Attempt<'_>, began: Instant, log_bytes: u64) -> Self {
        Self {
            journal: SharedJournal::new(began, log_bytes),
            cancel: attempt.cancel.clone(),
            progress: attempt.progress.clone().map(|sink| Reports::to(sink, began)),
            parents: attempt.parents.clone(),
        }
    }

    pub(crate) fn parents(&self) -> &[Parent] {
        self.parents.as_deref().unwrap_or_default()
    }
}

/// The seats of one compartment.
pub(crate) struct Seats {
    /// The one task's, or what is common to a batch.
    pub(crate) common: Seat,
    /// Those of a batch; empty outside one.
    pub(crate) tasks: Vec<Seat>,
    focus: Option<usize>,
}

impl Seats {
    /// The seat of a task that is alone.
    pub(crate) fn alone(seat: Seat) -> Self {
        Self { common: seat, tasks: Vec::new(), focus: None }
    }

    /// The seats of a batch.
    pub(crate) fn together(common: Seat, tasks: Vec<Seat>) -> Self {
        Self { common, tasks, focus: None }
    }

    /// The guest works at this task now. A task that there is not is none.
    pub(crate) fn focus(&mut self, task: Option<usize>) {
        self.focus = task.filter(|at| *at < self.tasks.len());
    }

    /// The task of a batch that the guest works at, if it said so.
    pub(crate) fn in_focus(&self) -> Option<&Seat> {
        self.focus.and_then(|at| self.tasks.get(at))
    }

    /// Whose the guest's words are.
    pub(crate) fn current(&self) -> &Seat {
        self.in_focus().unwrap_or(&self.common)
    }

    /// Where the guest's progress goes.
    pub(crate) fn progress(&mut self) -> impl Iterator<Item = &mut Reports> {
        let tasks = match self.focus {
            Some(at) => self.tasks.get_mut(at..=at),
            None => self.tasks.get_mut(..),
        };
        let tasks = tasks.unwrap_or_default().iter_mut();
        std::iter::once(&mut self.common).chain(tasks).filter_map(|seat| seat.progress.as_mut())
    }
}
