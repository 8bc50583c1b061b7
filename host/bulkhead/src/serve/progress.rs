//! What running attempts say of themselves, on its way to the broker.
//!
//! Of each attempt the newest word is kept until a step takes it. Reports are told, not
//! promised: they never delay a claim or a settlement, and an attempt that ends takes its
//! word with it. At most one word is kept for each running attempt.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bulkhead_core::TaskId;
use bulkhead_queue::{ClaimToken, Progress};
use bulkhead_sandbox::ProgressSink;
use parking_lot::Mutex;

use super::line::Line;
use crate::clock::unix_ms;

/// The least time between two words of one attempt to the broker.
const APART: Duration = Duration::from_millis(200);
/// The least time between two steps that are taken for progress alone.
const STEPS_APART: Duration = Duration::from_millis(250);

/// The words of one queue's attempts.
#[derive(Default)]
pub(super) struct Words {
    /// Whether there are any: spares those who never ask the lock.
    any: AtomicBool,
    newest: Mutex<Newest>,
}

#[derive(Default)]
struct Newest {
    by_claim: HashMap<ClaimToken, Progress>,
    taken_at: Option<Instant>,
}

impl Words {
    /// Keep an attempt's newest word; whether it is the only one.
    fn say(&self, token: &ClaimToken, progress: Progress) -> bool {
        let mut newest = self.newest.lock();
        if let Some(said) = newest.by_claim.get_mut(token) {
            *said = progress;
            return false;
        }
        newest.by_claim.insert(token.clone(), progress);
        !self.any.swap(true, Ordering::AcqRel)
    }

    /// When a step is due for these words, not before `now`; nothing if there are none.
    pub(super) fn due_at(&self, now: Instant) -> Option<Instant> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let taken_at = self.newest.lock().taken_at;
        Some(due_at(taken_at, now))
    }

    /// Take the words for a step, if the last ones are long enough ago.
    pub(super) fn take(&self, now: Instant) -> Vec<(ClaimToken, Progress)> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut newest = self.newest.lock();
        if newest.taken_at.is_some_and(|at| now < at + APART) {
            return Vec::new();
        }
        newest.taken_at = Some(now);
        self.any.store(false, Ordering::Release);
        newest.by_claim.drain().collect()
    }

    /// Keep words that the broker did not hear, where no newer ones were said.
    pub(super) fn put_back(&self, words: Vec<(ClaimToken, Progress)>) {
        if words.is_empty() {
            return;
        }
        let mut newest = self.newest.lock();
        for (token, progress) in words {
            if let Entry::Vacant(place) = newest.by_claim.entry(token) {
                place.insert(progress);
            }
        }
        self.any.store(true, Ordering::Release);
    }

    /// Drop the word of an attempt that ended.
    pub(super) fn forget(&self, token: &ClaimToken) {
        if self.any.load(Ordering::Acquire) {
            let mut newest = self.newest.lock();
            newest.by_claim.remove(token);
            self.any.store(!newest.by_claim.is_empty(), Ordering::Release);
        }
    }
}

/// When words that wait now are due, if the last ones went out at `taken_at`. It is never
/// before `now`, so that whoever looks at that very time finds them due.
fn due_at(taken_at: Option<Instant>, now: Instant) -> Instant {
    taken_at.map_or(now, |at| now.max(at + STEPS_APART))
}

/// Takes what one guest reports.
pub(super) struct Reporter {
    pub(super) line: Arc<Line>,
    pub(super) id: TaskId,
    pub(super) token: ClaimToken,
}

impl ProgressSink for Reporter {
    fn report(&self, fraction: f32, message: &str) {
        tracing::debug!(target: "bulkhead::guest", task = %self.id, fraction,
            message = %message.escape_debug(), "progress");
        let progress = Progress { fraction, message: message.to_owned(), at: unix_ms() };
        if self.line.words.say(&self.token, progress) {
            self.line.ledger.bell.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_due_at_once_and_the_next_ones_apart() {
        let now = Instant::now();
        assert_eq!(due_at(None, now), now);
        assert_eq!(due_at(Some(now), now), now + STEPS_APART);
        let late = now + STEPS_APART * 2;
        assert_eq!(due_at(Some(now), late), late);
    }
}
