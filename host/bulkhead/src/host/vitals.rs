//! What a host decided of itself: how many attempts it runs at once and why, and whether it
//! takes on more work. For metrics, health and programs that embed a host.

use std::sync::Arc;

use bulkhead_core::Verdict;
use bulkhead_queue::{HostScaling, ScalingChange};
use parking_lot::Mutex;

use crate::clock::unix_ms;

/// A look at a host, at any time from its making on. Clones look at the same host.
#[derive(Debug, Clone, Default)]
pub struct Vitals(Arc<Mutex<State>>);

/// How a host stands.
#[derive(Debug, Clone, Default, PartialEq)]
struct State {
    concurrency: u32,
    scaling: Option<HostScaling>,
    refusing: Vec<String>,
    counts: VitalCounts,
}

/// What a host has decided since it began, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VitalCounts {
    /// Times that its concurrency went up.
    pub scaled_up: u64,
    /// Times that it went down.
    pub scaled_down: u64,
    /// Times that it began to refuse work.
    pub refused: u64,
}

impl Vitals {
    /// Attempts that it may run at once.
    #[must_use]
    pub fn concurrency(&self) -> u32 {
        self.0.lock().concurrency
    }

    /// How its concurrency follows its load, if it does.
    #[must_use]
    pub fn scaling(&self) -> Option<HostScaling> {
        self.0.lock().scaling.clone()
    }

    /// Why it takes on no more work; empty while it does.
    #[must_use]
    pub fn refusing(&self) -> Vec<String> {
        self.0.lock().refusing.clone()
    }

    /// What it has decided so far.
    #[must_use]
    pub fn counts(&self) -> VitalCounts {
        self.0.lock().counts
    }

    /// Note what it begins with; `bounds` if its concurrency follows the load.
    pub(super) fn begin(&self, concurrency: u32, bounds: Option<(u32, u32)>) {
        let mut state = self.0.lock();
        state.concurrency = concurrency;
        state.scaling = bounds.map(|(min, max)| HostScaling { min, max, ..HostScaling::default() });
    }

    /// Note what the autoscaler thinks.
    pub(super) fn note(&self, verdict: Verdict) {
        let mut state = self.0.lock();
        let State { concurrency, scaling, counts, .. } = &mut *state;
        *concurrency = verdict.to;
        let Some(scaling) = scaling else { return };
        scaling.latest = Some(verdict);
        if !verdict.is_change() {
            return;
        }
        match verdict.to > verdict.from {
            true => counts.scaled_up += 1,
            false => counts.scaled_down += 1,
        }
        let change = ScalingChange { at: unix_ms(), verdict, explanation: verdict.to_string() };
        scaling.changes.insert(0, change);
        scaling.changes.truncate(HostScaling::CHANGES);
    }

    /// Note why it takes on no more work.
    pub(super) fn refuse(&self, why: Vec<String>) {
        let mut state = self.0.lock();
        if state.refusing.is_empty() && !why.is_empty() {
            state.counts.refused += 1;
        }
        state.refusing = why;
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_core::{Direction, Readings, Reason};

    use super::*;

    fn verdict(from: u32, to: u32) -> Verdict {
        Verdict {
            from,
            to,
            direction: Direction::Up,
            reason: Reason::Backlog,
            in_a_row: 1,
            needed: 1,
            cooldown_left_ms: 0,
            readings: Readings::default(),
        }
    }

    #[test]
    fn changes_are_kept_newest_first_and_few() {
        let vitals = Vitals::default();
        vitals.begin(4, None);
        vitals.note(verdict(4, 5));
        assert_eq!((vitals.concurrency(), vitals.scaling()), (5, None));
        vitals.begin(1, Some((1, 64)));
        for at in 1..20 {
            vitals.note(verdict(at, at + 1));
            vitals.note(verdict(at + 1, at + 1));
        }
        vitals.note(verdict(20, 19));
        let scaling = vitals.scaling().unwrap();
        assert_eq!((scaling.min, scaling.max, scaling.changes.len()), (1, 64, 10));
        assert_eq!((scaling.changes[0].verdict.to, scaling.changes[1].verdict.to), (19, 20));
        assert!(scaling.changes[0].explanation.starts_with("20 to 19: "));
        let counts = VitalCounts { scaled_up: 19, scaled_down: 1, refused: 0 };
        assert_eq!((vitals.counts(), vitals.concurrency()), (counts, 19));
    }

    #[test]
    fn a_refusal_is_counted_once_however_long_it_lasts() {
        let vitals = Vitals::default();
        for why in [vec![], vec!["a".to_owned()], vec!["b".to_owned()], vec![], vec!["c".into()]] {
            vitals.refuse(why);
        }
        assert_eq!((vitals.counts().refused, vitals.refusing()), (2, vec!["c".to_owned()]));
    }
}
