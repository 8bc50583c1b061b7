//! The host's room for attempts, shared by its queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::bell::RoomBell;

/// Counts attempts over all queues of a host, and lets no hungry queue crowd another out.
pub(crate) struct Permits {
    total: AtomicU32,
    used: AtomicU32,
    hungry: AtomicU32,
    /// For queues that found no room and have nothing of their own whose end would wake them.
    bell: Arc<RoomBell>,
}

impl Permits {
    pub(crate) fn new(total: u32, bell: Arc<RoomBell>) -> Self {
        let total = AtomicU32::new(total);
        Self { total, used: AtomicU32::new(0), hungry: AtomicU32::new(0), bell }
    }

    pub(crate) fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    pub(crate) fn total(&self) -> u32 {
        self.total.load(Ordering::Acquire)
    }

    /// From now on there are so many. Those that are taken beyond it stay taken until they are
    /// given back.
    pub(crate) fn set_total(&self, total: u32) {
        self.total.store(total, Ordering::Release);
        self.bell.ring();
    }

    /// How many permits a queue that holds `held` could take now.
    pub(crate) fn room(&self, held: u32) -> u32 {
        let total = self.total();
        let share = total.div_ceil(self.hungry.load(Ordering::Acquire).max(1));
        share.saturating_sub(held).min(total.saturating_sub(self.used()))
    }

    /// Take up to `want` permits for a queue that holds `held`. While several queues
    /// are hungry, none takes more than its share.
    pub(crate) fn take(&self, want: u32, held: u32) -> u32 {
        let total = self.total();
        let share = total.div_ceil(self.hungry.load(Ordering::Acquire).max(1));
        let want = want.min(share.saturating_sub(held));
        let mut taken = 0;
        // The closure always gives a value, so the update cannot fail.
        let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            taken = want.min(total.saturating_sub(used));
            Some(used + taken)
        });
        taken
    }

    pub(crate) fn give_back(&self, permits: u32) {
        if permits == 0 {
            return;
        }
        self.used.fetch_sub(permits, Ordering::SeqCst);
        self.bell.ring();
    }

    /// Count a queue as hungry or sated.
    pub(crate) fn set_hungry(&self, was: bool, is: bool) {
        match (was, is) {
            (false, true) => self.hungry.fetch_add(1, Ordering::AcqRel),
            (true, false) => self.hungry.fetch_sub(1, Ordering::AcqRel),
            _ => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hungry_queues_share_and_a_lone_one_takes_all() {
        let permits = Permits::new(10, Arc::default());
        assert_eq!(permits.take(100, 0), 10);
        assert_eq!(permits.take(1, 10), 0);
        permits.give_back(10);
        permits.set_hungry(false, true);
        permits.set_hungry(false, true);
        assert_eq!(permits.take(100, 0), 5);
        assert_eq!(permits.take(100, 5), 0);
        assert_eq!(permits.take(100, 0), 5);
        permits.set_hungry(true, false);
        permits.give_back(10);
        assert_eq!((permits.take(3, 0), permits.used()), (3, 3));
    }

    #[test]
    fn fewer_permits_take_none_away_and_more_are_there_at_once() {
        let permits = Permits::new(10, Arc::default());
        assert_eq!(permits.take(8, 0), 8);
        permits.set_total(4);
        assert_eq!((permits.room(8), permits.take(1, 8), permits.used()), (0, 0, 8));
        permits.give_back(5);
        assert_eq!(permits.take(9, 3), 1);
        permits.set_total(6);
        assert_eq!((permits.room(4), permits.take(9, 4)), (2, 2));
    }

    #[tokio::test]
    async fn a_starved_queue_hears_of_permits_that_come_back() {
        let bell = Arc::<RoomBell>::default();
        let permits = Permits::new(2, bell.clone());
        assert_eq!(permits.take(2, 0), 2);
        let (took, ()) = tokio::join!(
            async {
                bell.rung(|| permits.room(0) > 0).await;
                permits.take(2, 0)
            },
            async { permits.give_back(1) }
        );
        assert_eq!(took, 1);
    }
}
