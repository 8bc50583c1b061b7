//! The memory that a host has for its guests: what may be held at one time, and who waits.
//!
//! Whoever is about to hold memory on behalf of a plugin reserves the most that it can come to
//! and gives it back by dropping the [`Hold`]. The sum of all holds is never more than the
//! whole. Who does not fit waits, first come first served, so that small ones cannot starve a
//! large one. Who need not wait pays a compare-and-swap to hold and a short lock to give back.
//! Nothing here knows what the memory is for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Holds are counted in these.
const KIB: u64 = 1 << 10;

/// How often a load that waits looks whether it can ever fit.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Bytes that may be held at one time. Clones share them.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    total_kib: u32,
    room: Semaphore,
    waiting: AtomicU32,
    plugins: Mutex<Plugins>,
    /// The largest need of a loaded plugin; 0 if there is none.
    largest_kib: AtomicU32,
    next_plugin: AtomicU64,
    freed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// What loaded plugins hold for as long as they are loaded, and what their attempts need.
#[derive(Default)]
struct Plugins {
    standing_kib: u32,
    needs: BTreeMap<u64, u32>,
}

impl Plugins {
    fn largest(&self) -> u32 {
        self.needs.values().copied().max().unwrap_or(0)
    }
}

/// A budget at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Bytes that may be held.
    pub total_bytes: u64,
    /// Bytes that are held.
    pub held_bytes: u64,
    /// Who waits to hold some.
    pub waiting: u32,
}

/// A plugin does not fit into a budget beside what is loaded already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overfull {
    pub(crate) needed_bytes: u64,
    pub(crate) left_bytes: u64,
}

impl Budget {
    /// A budget of so many bytes, counted in whole KiB; about 4 TiB are as good as no bound.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        let total_kib = u32::try_from(bytes / KIB).unwrap_or(u32::MAX);
        Self(Arc::new(Shared {
            total_kib,
            room: Semaphore::new(total_kib as usize),
            waiting: AtomicU32::new(0),
            plugins: Mutex::default(),
            largest_kib: AtomicU32::new(0),
            next_plugin: AtomicU64::new(0),
            freed: OnceLock::new(),
        }))
    }

    /// A budget that bounds nothing.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::of(u64::MAX)
    }

    /// From now on `tell` is called whenever something was given back, or nobody waits any
    /// more. The first one stays.
    pub fn on_freed(&self, tell: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.freed.set(Box::new(tell));
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> BudgetStatus {
        let free = self.free_kib();
        BudgetStatus {
            total_bytes: u64::from(self.0.total_kib) * KIB,
            held_bytes: u64::from(self.0.total_kib.saturating_sub(free)) * KIB,
            waiting: self.waiting(),
        }
    }

    /// How many of so many bytes each could hold them now; none while anybody waits.
    #[must_use]
    pub fn fits(&self, each_bytes: u64) -> u32 {
        if self.waiting() > 0 { 0 } else { self.free_kib() / kib(each_bytes).max(1) }
    }

    /// How many attempts of so many bytes each fit at one time, beside what plugins hold.
    #[must_use]
    pub fn admits(&self, each_bytes: u64) -> u32 {
        let standing = self.0.plugins.lock().standing_kib;
        self.0.total_kib.saturating_sub(standing) / kib(each_bytes).max(1)
    }

    /// Hold so many bytes for an attempt if nobody has to wait for them.
    #[must_use]
    pub fn try_hold(&self, bytes: u64) -> Option<Hold> {
        self.try_take(self.capped(kib(bytes)))
    }

    /// Hold so many bytes for an attempt, when its turn has come. More than the largest need of
    /// a loaded plugin is never waited for: it is what is known to fit.
    pub async fn hold(&self, bytes: u64) -> Hold {
        self.take(self.capped(kib(bytes))).await
    }

    /// Hold so many bytes, whatever plugins need; nothing if they will never fit beside what
    /// is loaded.
    pub async fn hold_exactly(&self, bytes: u64) -> Option<Hold> {
        self.hold_for_load(bytes).await.ok()
    }

    /// As [`Budget::hold_exactly`], with what is missing.
    pub(crate) async fn hold_for_load(&self, bytes: u64) -> Result<Hold, Overfull> {
        let wanted = kib(bytes);
        let mut taking = std::pin::pin!(self.take(wanted));
        loop {
            let left = {
                let plugins = self.0.plugins.lock();
                self.0.total_kib.saturating_sub(plugins.standing_kib)
            };
            if wanted > left {
                let left_bytes = u64::from(left) * KIB;
                return Err(Overfull { needed_bytes: bytes, left_bytes });
            }
            if let Ok(hold) = tokio::time::timeout(LOOK_EVERY, taking.as_mut()).await {
                return Ok(hold);
            }
        }
    }

    /// Keep `standing_bytes` of a hold for a plugin whose attempts need up to `need_bytes`
    /// each, if the largest need of all plugins fits beside what all of them keep.
    pub(crate) fn settle_in(
        &self,
        mut hold: Hold,
        standing_bytes: u64,
        need_bytes: u64,
    ) -> Result<Standing, Overfull> {
        let (standing, need) = (kib(standing_bytes), kib(need_bytes));
        let mut plugins = self.0.plugins.lock();
        let after = plugins.standing_kib.saturating_add(standing);
        let left = self.0.total_kib.saturating_sub(after);
        if plugins.largest().max(need) > left || hold.kib < standing {
            let left_bytes = u64::from(left) * KIB;
            return Err(Overfull { needed_bytes: need_bytes, left_bytes });
        }
        plugins.standing_kib = after;
        let number = self.0.next_plugin.fetch_add(1, Ordering::Relaxed);
        plugins.needs.insert(number, need);
        self.0.largest_kib.store(plugins.largest(), Ordering::Release);
        drop(plugins);
        hold.shrink_to(standing_bytes);
        Ok(Standing { hold, number })
    }

    fn waiting(&self) -> u32 {
        self.0.waiting.load(Ordering::Acquire)
    }

    fn free_kib(&self) -> u32 {
        u32::try_from(self.0.room.available_permits()).unwrap_or(u32::MAX)
    }

    fn capped(&self, wanted: u32) -> u32 {
        let largest = self.0.largest_kib.load(Ordering::Acquire);
        wanted.min(if largest == 0 { self.0.total_kib } else { largest })
    }

    fn try_take(&self, kib: u32) -> Option<Hold> {
        // Whoever waits has taken what was free, so that nobody gets past.
        let permit = self.0.room.try_acquire_many(kib).ok()?;
        permit.forget();
        Some(Hold { budget: self.clone(), kib })
    }

    async fn take(&self, kib: u32) -> Hold {
        if let Some(hold) = self.try_take(kib) {
            return hold;
        }
        let _counted = Waiting::of(self);
        // It is never closed.
        let kib = self.0.room.acquire_many(kib).await.map_or(0, |permit| {
            permit.forget();
            kib
        });
        Hold { budget: self.clone(), kib }
    }

    fn give_back(&self, kib: u32) {
        if kib == 0 {
            return;
        }
        self.0.room.add_permits(kib as usize);
        self.tell();
    }

    fn tell(&self) {
        if let Some(tell) = self.0.freed.get() {
            tell();
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::unbounded()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.status(), f)
    }
}

/// Bytes in whole KiB, rounded up.
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX)
}

/// Bytes that are held, until it is dropped.
#[derive(Debug)]
pub struct Hold {
    budget: Budget,
    kib: u32,
}

impl Hold {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.kib) * KIB
    }

    /// Give back what is more than so many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let excess = self.kib.saturating_sub(kib(bytes));
        self.kib -= excess;
        self.budget.give_back(excess);
    }

    /// Part with so many bytes, or with all that there are.
    #[must_use]
    pub fn split(&mut self, bytes: u64) -> Self {
        let part = kib(bytes).min(self.kib);
        self.kib -= part;
        Self { budget: self.budget.clone(), kib: part }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.give_back(self.kib);
    }
}

/// What a loaded plugin holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Standing {
    hold: Hold,
    number: u64,
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut plugins = self.hold.budget.0.plugins.lock();
        plugins.needs.remove(&self.number);
        self.hold.budget.0.largest_kib.store(plugins.largest(), Ordering::Release);
        plugins.standing_kib = plugins.standing_kib.saturating_sub(self.hold.kib);
    }
}

/// Counts one who waits.
struct Waiting<'a>(&'a Budget);

impl<'a> Waiting<'a> {
    fn of(budget: &'a Budget) -> Self {
        budget.0.waiting.fetch_add(1, Ordering::AcqRel);
        Self(budget)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            // What is free is free for all again.
            self.0.tell();
        }
    }
}

#[cfg(test)]
mod tests;
