//! A bell for lines that have work to claim and no room for it.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// Rung when something came back that a claim takes: a permit, memory, room for records.
#[derive(Default)]
pub(crate) struct RoomBell {
    listening: AtomicU32,
    bell: Notify,
}

impl RoomBell {
    /// Tell those who listen. Costs one look if nobody does.
    pub(crate) fn ring(&self) {
        if self.listening.load(Ordering::SeqCst) > 0 {
            self.bell.notify_waiters();
        }
    }

    /// Wait until it rings, unless there is room already.
    pub(crate) async fn rung(&self, has_room: impl Fn() -> bool) {
        self.listening.fetch_add(1, Ordering::SeqCst);
        let _counted = Listening(&self.listening);
        let mut rung = pin!(self.bell.notified());
        // Registered before looking, so that nothing comes back between the two.
        rung.as_mut().enable();
        if !has_room() {
            rung.await;
        }
    }
}

/// Counts one that listens.
struct Listening<'a>(&'a AtomicU32);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[tokio::test]
    async fn who_listens_hears_of_room_and_is_counted_no_more() {
        let (bell, room) = (RoomBell::default(), AtomicBool::new(false));
        tokio::join!(bell.rung(|| room.load(Ordering::SeqCst)), async {
            room.store(true, Ordering::SeqCst);
            bell.ring();
        });
        bell.rung(|| true).await;
        assert_eq!(bell.listening.load(Ordering::SeqCst), 0);
    }
}
