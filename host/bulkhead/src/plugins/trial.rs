//! A version on trial: the canary's version beside the one that serves, and what both do.
//!
//! At any moment the attempts that run on the new version, and those that failed on it, are at
//! most the canary's bound of the tasks that ended here since it began. That holds whatever the
//! version does and whether or not the broker is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bulkhead_core::canary::{Side, WallTimes, may_open, takes};
use bulkhead_core::{Digest, TaskId, TenantName};

use super::Serving;
use crate::fleet::{Canary, CanaryBy, CanaryCounts};

/// A version on trial.
pub(crate) struct Trial {
    pub(crate) canary: Arc<Canary>,
    /// The version on trial.
    pub(crate) serving: Arc<Serving>,
    /// The version that it is judged against here.
    pub(crate) base: Digest,
    bound: Arc<Bound>,
    new: SideCounter,
    old: SideCounter,
}

/// What bounds the harm, for all rounds together.
#[derive(Default)]
struct Bound {
    /// Attempts on the new version that run or failed.
    open: AtomicU64,
    /// Tasks that ended an attempt on either version.
    ended: AtomicU64,
}

impl Bound {
    /// Let an attempt run on the new version, if there is room.
    fn open(&self, harm_permille: u16) -> bool {
        let ended = self.ended.load(Ordering::Acquire);
        let opened = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
            may_open(open, ended, harm_permille).then_some(open + 1)
        });
        opened.is_ok()
    }

    /// An attempt on the new version did no harm.
    fn close(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    /// An attempt has ended, on either version.
    fn ended(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }
}

struct SideCounter {
    attempts: AtomicU64,
    failures: AtomicU64,
    excused: AtomicU64,
    wall: [AtomicU64; WallTimes::BUCKETS],
}

impl Default for SideCounter {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        let wall = std::array::from_fn(|_| zero());
        Self { attempts: zero(), failures: zero(), excused: zero(), wall }
    }
}

impl SideCounter {
    fn done(&self, wall_us: u64) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        if let Some(bucket) = self.wall.get(WallTimes::bucket(wall_us)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn failed(&self, of: &AtomicU64) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        of.fetch_add(1, Ordering::Relaxed);
    }

    fn side(&self) -> Side {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut wall = WallTimes::default();
        self.wall.iter().enumerate().for_each(|(bucket, count)| wall.add(bucket, read(count)));
        // What was counted last is read first, so that no more failed than were tried.
        let (failures, excused) = (read(&self.failures), read(&self.excused));
        Side { attempts: read(&self.attempts), failures, excused, wall }
    }
}

impl Trial {
    /// A canary's version beside one that serves; `before` is the trial of a round before, whose
    /// bound goes on.
    pub(super) fn new(
        canary: Arc<Canary>,
        serving: Arc<Serving>,
        base: Digest,
        before: Option<&Self>,
    ) -> Self {
        let same = |before: &&Self| {
            let (a, b) = (&before.canary, &canary);
            (a.digest, a.began_at) == (b.digest, b.began_at)
        };
        let bound = before.filter(same).map(|before| before.bound.clone()).unwrap_or_default();
        let (new, old) = (SideCounter::default(), SideCounter::default());
        Self { canary, serving, base, bound, new, old }
    }

    /// Whether the canary's share has this task.
    pub(crate) fn takes(&self, id: TaskId, tenant: &TenantName) -> bool {
        let Canary { digest, by, .. } = &*self.canary;
        let share = self.canary.share_permille();
        match by {
            CanaryBy::Task => takes(digest, id.0.as_bytes(), share),
            CanaryBy::Tenant => takes(digest, tenant.as_str().as_bytes(), share),
        }
    }

    /// Let an attempt run on the new version, if the bound has room.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Turn> {
        let opened = self.bound.open(self.canary.harm_permille);
        opened.then(|| Turn { trial: self.clone(), is_harm: false })
    }

    /// The old version did a task, in so many microseconds.
    pub(crate) fn old_done(&self, wall_us: u64) {
        self.old.done(wall_us);
        self.bound.ended();
    }

    /// The old version failed.
    pub(crate) fn old_failed(&self) {
        self.old.failed(&self.old.failures);
        self.bound.ended();
    }

    /// What was counted in this round.
    pub(crate) fn counts(&self) -> CanaryCounts {
        let Canary { name, owner, digest, began_at, round, .. } = &*self.canary;
        CanaryCounts {
            name: name.clone(),
            owner: owner.clone(),
            digest: *digest,
            began_at: *began_at,
            round: *round,
            new: self.new.side(),
            old: self.old.side(),
        }
    }
}

/// An attempt on the new version. Whatever becomes of it, it has room of the bound until it is
/// dropped, and for good if it did harm.
pub(crate) struct Turn {
    trial: Arc<Trial>,
    is_harm: bool,
}

impl Turn {
    /// It did its task, in so many microseconds.
    pub(crate) fn done(self, wall_us: u64) {
        self.trial.new.done(wall_us);
        self.trial.bound.ended();
    }

    /// It failed, and the old version then did the task.
    pub(crate) fn failed(mut self) {
        self.is_harm = true;
        self.trial.new.failed(&self.trial.new.failures);
        self.trial.bound.ended();
    }

    /// It failed, and so did the old version.
    pub(crate) fn excused(self) {
        self.trial.new.failed(&self.trial.new.excused);
        self.trial.bound.ended();
    }

    /// It failed, and the old version was interrupted: nobody knows whose fault it was.
    pub(crate) fn unknown(mut self) {
        self.is_harm = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_harm {
            self.trial.bound.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever versions do, and in whatever order.
        #[test]
        fn what_runs_or_failed_is_never_beyond_the_bound(
            harm in prop_oneof![Just(10_u16), 0_u16..1_000],
            steps in prop::collection::vec((0_u8..10, any::<bool>()), 0..3_000),
        ) {
            let (bound, mut running, mut failed) = (Bound::default(), 0_u64, 0_u64);
            for (step, is_harm) in steps {
                match step {
                    0 | 1 => running += u64::from(bound.open(harm)),
                    2 if running > 0 => {
                        running -= 1;
                        failed += u64::from(is_harm);
                        bound.ended();
                        if !is_harm {
                            bound.close();
                        }
                    }
                    _ => bound.ended(),
                }
                let ended = bound.ended.load(Ordering::Relaxed);
                prop_assert!((running + failed) * 1_000 <= ended * u64::from(harm));
            }
        }
    }

    #[test]
    fn the_first_of_a_hundred_goes_and_the_next_when_it_went_well() {
        let bound = Bound::default();
        (0..99).for_each(|_| bound.ended());
        assert!(!bound.open(10));
        bound.ended();
        assert!(bound.open(10) && !bound.open(10));
        bound.close();
        assert!(bound.open(10));
        assert!(Bound::default().open(1_000), "all of them is no bound");
    }

    #[test]
    fn a_side_is_what_was_counted() {
        let counter = SideCounter::default();
        counter.done(3_000);
        counter.failed(&counter.failures);
        counter.failed(&counter.excused);
        let side = counter.side();
        assert_eq!((side.attempts, side.failures, side.excused, side.wall.total()), (3, 1, 1, 1));
        assert!(side.wall.p95_us().is_some_and(|us| us >= 3_000));
    }
}
