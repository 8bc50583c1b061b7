//! The tasks of one compartment: one, or those of a batch.
//!
//! Each has a log, progress, parents and a cancel token of its own. What the guest says
//! goes to the task that it works at; in a batch it says which, and until it does, what it
//! says belongs to all. Nothing here knows the guest.

use std::sync::Arc;
use std::time::Instant;

use bulkhead_core::{Child, LimitsRequest, Parent, Payload, Task, Terms};

use crate::Cancel;
use crate::attempt::Attempt;
use crate::capability::Reports;
use crate::journal::SharedJournal;
use crate::powers::Children;

/// What belongs to one task of a compartment, or to all of a batch together.
pub(crate) struct Seat {
    pub(crate) journal: SharedJournal,
    pub(crate) cancel: Cancel,
    progress: Option<Reports>,
    parents: Option<Arc<[Parent]>>,
    /// Of a task whose plugin may submit others.
    submitter: Option<Box<Submitter>>,
}

/// A task that submits others.
struct Submitter {
    /// The task without its payload.
    task: Task,
    children: Children,
}

impl Seat {
    /// A seat with nothing but a log.
    pub(crate) fn bare(began: Instant, log_bytes: u64) -> Self {
        let journal = SharedJournal::new(began, log_bytes);
        Self { journal, cancel: Cancel::new(), progress: None, parents: None, submitter: None }
    }

    /// The seat of an attempt.
    pub(crate) fn of(attempt: &Attempt<'_>, began: Instant, log_bytes: u64) -> Self {
        Self {
            journal: SharedJournal::new(began, log_bytes),
            cancel: attempt.cancel.clone(),
            progress: attempt.progress.clone().map(|sink| Reports::to(sink, began)),
            parents: attempt.parents.clone(),
            submitter: None,
        }
    }

    /// This task may submit others.
    pub(crate) fn submitting(mut self, task: &Task) -> Self {
        let Task { id, task_type, queue, tenant, priority, trace, terms, submitted_at, .. } = task;
        let task = Task {
            id: *id,
            task_type: task_type.clone(),
            queue: queue.clone(),
            tenant: tenant.clone(),
            priority: *priority,
            payload: Payload::default(),
            metadata: Vec::new(),
            trace: trace.clone(),
            limits: LimitsRequest::default(),
            submitted_at: *submitted_at,
            terms: Terms { depth: terms.depth, ..Terms::default() },
        };
        self.submitter = Some(Box::new(Submitter { task, children: Children::default() }));
        self
    }

    /// The tasks that it submitted.
    pub(crate) fn take_children(&mut self) -> Vec<Child> {
        let submitter = self.submitter.as_deref_mut();
        submitter
            .map(|submitter| std::mem::take(&mut submitter.children.submitted))
            .unwrap_or_default()
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

    /// The task that submits what the guest submits now, and what it submitted so far.
    pub(crate) fn submitter(&mut self) -> Option<(&Task, &mut Children)> {
        let seat = match self.focus {
            Some(at) => self.tasks.get_mut(at)?,
            None => &mut self.common,
        };
        let Submitter { task, children } = seat.submitter.as_deref_mut()?;
        Some((task, children))
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
