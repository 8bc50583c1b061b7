//! The connections of each tenant on a host: how many there are, and who waits for one.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bulkhead_core::TenantName;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

/// Look-ups of one tenant at one time. They cannot be called back, so that these are few.
const LOOKUPS: usize = 4;

/// Tenants that are remembered before those without attempts are forgotten.
const TENANTS_KEPT: usize = 1_024;

/// The lines of all tenants.
#[derive(Default)]
pub(super) struct Lines(Mutex<HashMap<TenantName, Arc<Line>>>);

impl Lines {
    pub(super) fn of(&self, tenant: &TenantName) -> Arc<Line> {
        let mut lines = self.0.lock();
        if let Some(line) = lines.get(tenant) {
            return Arc::clone(line);
        }
        if lines.len() >= TENANTS_KEPT {
            lines.retain(|_, line| Arc::strong_count(line) > 1);
        }
        Arc::clone(lines.entry(tenant.clone()).or_default())
    }
}

/// The connections of one tenant.
pub(crate) struct Line {
    open: AtomicU32,
    freed: Notify,
    pub(in crate::outbound) lookups: Arc<Semaphore>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            open: AtomicU32::new(0),
            freed: Notify::new(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }
}

impl Line {
    /// Wait until there are fewer than `most`, and be one of them. Plugins of a tenant may have
    /// different quotas; each sees the connections of all.
    pub(super) async fn enter(self: &Arc<Self>, most: u32) -> Place {
        loop {
            // Listening before looking, so that no place is freed unheard.
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            let entered = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < most).then(|| open + 1)
            });
            if entered.is_ok() {
                return Place(Arc::clone(self));
            }
            freed.await;
        }
    }

    pub(super) fn open(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }
}

/// One connection of a tenant; dropping it makes room.
pub(crate) struct Place(Arc<Line>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: usize) -> TenantName {
        format!("tenant-{number}").parse().unwrap()
    }

    #[tokio::test]
    async fn one_more_waits_until_one_goes() {
        let line = Arc::new(Line::default());
        let first = line.enter(2).await;
        let _second = line.enter(2).await;
        let mut third = polled(line.enter(2));
        assert!(third.now().is_none());
        assert!(polled(line.enter(3)).now().is_some(), "its quota is higher");
        drop(first);
        assert!(third.now().is_some());
    }

    #[test]
    fn idle_tenants_are_forgotten_and_busy_ones_are_not() {
        let lines = Lines::default();
        let busy = lines.of(&tenant(0));
        for number in 1..=TENANTS_KEPT {
            lines.of(&tenant(number));
        }
        assert_eq!(lines.0.lock().len(), 2);
        assert!(Arc::ptr_eq(&busy, &lines.of(&tenant(0))));
    }

    struct Polled<F>(std::pin::Pin<Box<F>>);

    fn polled<F: Future>(future: F) -> Polled<F> {
        Polled(Box::pin(future))
    }

    impl<F: Future> Polled<F> {
        fn now(&mut self) -> Option<F::Output> {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            match self.0.as_mut().poll(&mut cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            }
        }
    }
}
