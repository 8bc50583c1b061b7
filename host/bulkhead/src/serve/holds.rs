//! Task types of which a line claims nothing for a while, since what it claimed of them went
//! back. Without it a task that is given back would be claimed again at once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bulkhead_core::TaskType;
use bulkhead_queue::Serves;
use parking_lot::Mutex;

/// The shortest and the longest hold.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(300);

/// What is held, by line.
#[derive(Default)]
pub(super) struct Holds {
    /// Whether anything is, so that a line without any looks no further.
    is_any: AtomicBool,
    until: Mutex<HashMap<TaskType, Instant>>,
}

impl Holds {
    /// Claim nothing of this type for so long; whether that is news. The later end counts.
    pub(super) fn hold(&self, task_type: &TaskType, hold: Duration) -> bool {
        let until = Instant::now() + hold.clamp(SHORTEST, LONGEST);
        let mut all = self.until.lock();
        let is_news = !all.contains_key(task_type);
        let end = all.entry(task_type.clone()).or_insert(until);
        *end = until.max(*end);
        self.is_any.store(true, Ordering::Release);
        is_news
    }

    /// When the next hold ends.
    pub(super) fn next(&self) -> Option<Instant> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        self.until.lock().values().min().copied()
    }

    /// Forget holds that are over; whether there were any.
    pub(super) fn release(&self, now: Instant) -> bool {
        if !self.is_any.load(Ordering::Acquire) {
            return false;
        }
        let mut all = self.until.lock();
        let before = all.len();
        all.retain(|_, until| *until > now);
        self.is_any.store(!all.is_empty(), Ordering::Release);
        all.len() < before
    }

    /// What is left to claim.
    pub(super) fn without<'a>(&self, serves: Cow<'a, [Serves]>) -> Cow<'a, [Serves]> {
        if !self.is_any.load(Ordering::Acquire) {
            return serves;
        }
        let all = self.until.lock();
        let is_free = |serves: &&Serves| !all.contains_key(&serves.task_type);
        Cow::Owned(serves.iter().filter(is_free).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_not_claimed_until_it_is_over() {
        let holds = Holds::default();
        let types = ["a", "b"].map(|name| TaskType::new(name).unwrap());
        let serves: Vec<Serves> = types.iter().cloned().map(Serves::from).collect();
        let left = |holds: &Holds| holds.without(Cow::Borrowed(&serves)).len();
        assert_eq!((left(&holds), holds.next(), holds.release(Instant::now())), (2, None, false));
        assert!(holds.hold(&types[0], Duration::from_secs(60)));
        assert!(!holds.hold(&types[0], Duration::ZERO), "the later end counts");
        let end = holds.next().unwrap();
        assert!(end > Instant::now() + Duration::from_secs(50));
        assert_eq!((left(&holds), holds.release(end - Duration::from_secs(1))), (1, false));
        assert!(holds.hold(&types[1], Duration::from_secs(86_400)));
        assert!(holds.release(end));
        assert_eq!(left(&holds), 1);
        assert!(holds.release(Instant::now() + LONGEST), "nothing is held for longer");
        assert_eq!((left(&holds), holds.next()), (2, None));
    }
}
