//! The memory that a host has for the records of claimed tasks, shared by its queues.
//!
//! A step takes room for the most that it may bring before it claims, and keeps what the
//! records really have until their tasks have ended. A record that is longer than a step may
//! bring comes alone; what it has beyond that is owed, and nobody claims before it is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bell::RoomBell;
use crate::memory::ClaimBytes;

/// Room for records.
pub(crate) struct Shelf {
    bounds: ClaimBytes,
    used: AtomicU64,
    bell: Arc<RoomBell>,
}

impl Shelf {
    pub(crate) fn new(bounds: ClaimBytes, bell: Arc<RoomBell>) -> Arc<Self> {
        Arc::new(Self { bounds, used: AtomicU64::new(0), bell })
    }

    /// Whether a step could claim now.
    pub(crate) fn has_room(&self) -> bool {
        self.fits(self.used.load(Ordering::Acquire))
    }

    /// Take room for one step.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Shelved> {
        let bytes = self.bounds.step;
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            self.fits(used).then(|| used + bytes)
        });
        taken.ok().map(|_| Shelved { shelf: self.clone(), bytes })
    }

    fn fits(&self, used: u64) -> bool {
        self.bounds.all.saturating_sub(used) >= self.bounds.step
    }
}

/// Room that was taken, until it is dropped.
pub(crate) struct Shelved {
    shelf: Arc<Shelf>,
    bytes: u64,
}

impl Shelved {
    /// How many bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Take up what was taken beside it.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Part with room for records. If there is not as much, the rest is owed.
    pub(crate) fn part(&mut self, bytes: u64) -> Self {
        let owed = bytes.saturating_sub(self.bytes);
        self.shelf.used.fetch_add(owed, Ordering::AcqRel);
        self.bytes = self.bytes.saturating_sub(bytes);
        Self { shelf: self.shelf.clone(), bytes }
    }
}

impl Drop for Shelved {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.shelf.used.fetch_sub(self.bytes, Ordering::SeqCst);
            self.shelf.bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shelf() -> Arc<Shelf> {
        Shelf::new(ClaimBytes { all: 100, step: 30 }, Arc::default())
    }

    fn used(shelf: &Shelf) -> u64 {
        shelf.used.load(Ordering::SeqCst)
    }

    #[test]
    fn a_step_takes_room_before_it_claims_and_keeps_what_came() {
        let shelf = shelf();
        let mut first = shelf.take().unwrap();
        let others = (shelf.take().unwrap(), shelf.take().unwrap());
        assert!(!shelf.has_room() && shelf.take().is_none());
        let record = first.part(12);
        drop((first, others));
        assert_eq!(used(&shelf), 12);
        drop(record);
        assert_eq!(used(&shelf), 0);
    }

    #[test]
    fn what_is_beyond_the_room_is_owed() {
        let shelf = shelf();
        let mut step = shelf.take().unwrap();
        let long = step.part(95);
        assert_eq!((step.bytes(), used(&shelf)), (0, 95));
        drop(step);
        assert!(shelf.take().is_none());
        drop(long);
        assert_eq!(used(&shelf), 0);
        assert!(shelf.has_room());
    }

    proptest! {
        #[test]
        fn records_within_a_steps_bytes_never_pass_the_whole(
            steps in prop::collection::vec(prop::collection::vec(0_u64..12, 0..6), 1..40),
        ) {
            let shelf = shelf();
            let mut kept = std::collections::VecDeque::new();
            for records in steps {
                let Some(mut step) = shelf.take() else {
                    kept.pop_front();
                    continue;
                };
                for bytes in records.into_iter().filter(|bytes| *bytes > 0) {
                    if bytes <= step.bytes() {
                        kept.push_back(step.part(bytes));
                    }
                }
                prop_assert!(used(&shelf) <= 100);
            }
            drop(kept);
            prop_assert_eq!(used(&shelf), 0);
        }
    }
}
