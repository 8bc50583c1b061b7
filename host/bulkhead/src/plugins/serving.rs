//! A version that serves: what runs on it is counted here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bulkhead_core::canary::is_handlers;
use bulkhead_core::{Outcome, PluginId, TaskType, UnixMs};
use bulkhead_queue::ServingVersion;
use bulkhead_sandbox::{Attempt, AttemptEnd, BatchEnd, Plugin, Unavailable};

use super::Identity;
use crate::manifest::Remembering;

/// The interface by which guests report progress.
const PROGRESS: &str = "bulkhead:handler/progress@";

/// A plugin version that serves tasks.
pub(crate) struct Serving {
    /// Whose it is, and its name.
    pub(crate) identity: Identity,
    /// The same as text.
    pub(crate) shown: Arc<str>,
    /// The same for the broker; none if its file's stem is no name.
    pub(crate) id: Option<PluginId>,
    pub(crate) plugin: Plugin,
    pub(crate) loaded_at: UnixMs,
    /// Whether its guests can report progress.
    pub(crate) reports_progress: bool,
    /// What the operator said of remembered results.
    pub(super) remembering: Remembering,
    /// Attempts that run on any version of this plugin.
    in_flight: Arc<AtomicU32>,
    /// Attempts that ended on this version by their handlers' doing, and those that failed.
    ended: AtomicU64,
    failed: AtomicU64,
}

impl Serving {
    /// A version as it serves from now on; its attempts are counted with those of the `old` one.
    pub(super) fn after(
        old: Option<&Self>,
        identity: Identity,
        plugin: Plugin,
        remembering: Remembering,
        now: UnixMs,
    ) -> Self {
        let in_flight = old.map(|old| old.in_flight.clone()).unwrap_or_default();
        let reports_progress = plugin.asked().iter().any(|import| import.starts_with(PROGRESS));
        Self {
            shown: identity.to_string().into(),
            id: identity.id(),
            identity,
            plugin,
            loaded_at: now,
            reports_progress,
            remembering,
            in_flight,
            ended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// What is told of it, with the tenants that it serves and what stands against that.
    pub(super) fn info(&self, tenants: Vec<String>, contested: Vec<String>) -> ServingVersion {
        let description = self.plugin.description();
        ServingVersion {
            version: description.version.clone(),
            digest: self.plugin.digest(),
            kind: self.plugin.kind().to_string(),
            task_types: description.handlers.iter().map(|h| h.task_type.to_string()).collect(),
            tenants,
            contested,
            loaded_at: self.loaded_at,
            attempts: self.ended.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// How many more attempts of this plugin may start; `None` if there is no bound.
    pub(crate) fn room(&self) -> Option<u32> {
        let bound = self.plugin.manifest().instances?;
        Some(bound.saturating_sub(self.in_flight.load(Ordering::Acquire)))
    }

    /// For how long results of this type are remembered, if they are.
    pub(crate) fn remembers_ms(&self, task_type: &TaskType) -> Option<u64> {
        self.remembering.of(task_type)
    }

    /// Run an attempt on this version, and count it.
    pub(crate) async fn run(&self, attempt: Attempt<'_>) -> Result<AttemptEnd, Unavailable> {
        let running = self.begin();
        let ended = self.plugin.attempt(attempt).await;
        drop(running);
        if let Ok(end) = &ended {
            self.note(end);
        }
        ended
    }

    /// Run attempts in one call of this version, and count them, unless the call came to nothing.
    pub(crate) async fn run_together(
        &self,
        attempts: Vec<Attempt<'_>>,
    ) -> Result<BatchEnd, Unavailable> {
        let running: Vec<_> = attempts.iter().map(|_| self.begin()).collect();
        let ended = self.plugin.attempt_batch(attempts).await;
        drop(running);
        // Those of a batch that fell run again one by one.
        if let Ok(batch) = ended.as_ref().map(|batch| (!batch.fell).then_some(batch)) {
            batch.into_iter().flat_map(|batch| &batch.ends).for_each(|end| self.note(end));
        }
        ended
    }

    /// Count an attempt as running while the guard lives.
    pub(super) fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.in_flight.clone())
    }

    fn note(&self, end: &AttemptEnd) {
        match &end.outcome {
            Outcome::Done(_) => {}
            Outcome::Failed(failure) if is_handlers(failure.kind) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            // Neither its doing nor its failure.
            Outcome::Failed(_) => return,
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// One attempt, counted.
pub(super) struct InFlight(Arc<AtomicU32>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
