//! When a schedule fires: pure arithmetic on a name, a timing and a moment.
//!
//! Nothing here counts through time fire by fire: an interval is divided, a calendar is
//! searched from the moment that is asked for.

use uuid::Uuid;

use super::cron::{WallClock, moment};
use super::{Timing, TimingError};
use crate::UnixMs;

/// The intervals that are accepted, in milliseconds.
const INTERVAL_MS: std::ops::RangeInclusive<u64> = 1_000..=366 * 24 * 3_600_000;
/// Most fires that are listed at once.
const MAX_LISTED: usize = 1_000;

/// The namespace of the ids and delays that schedules make.
pub(super) const NAMESPACE: Uuid = Uuid::from_u128(0x8d8f_2f5c_3b0e_4f6a_9a51_6c1d_7e02_b4c3);

impl Timing {
    /// Say what is wrong with it, and where.
    pub fn check(&self) -> Result<(), TimingError> {
        let fires = self.fires("")?;
        match (&fires, self) {
            (Fires::Cron(clock), Self::Cron { expression, .. }) if !clock.ever() => {
                Err(TimingError::Never { expression: expression.escape_debug().to_string() })
            }
            _ => Ok(()),
        }
    }

    /// The first fire after a moment, of the schedule of this name. Nothing if there is
    /// none, or if the timing does not pass [`Timing::check`].
    #[must_use]
    pub fn next_after(&self, name: &str, after: UnixMs) -> Option<UnixMs> {
        self.fires(name).ok()?.next_after(after)
    }

    /// The next fires after a moment, at most `count` and at most 1,000.
    #[must_use]
    pub fn upcoming(&self, name: &str, after: UnixMs, count: usize) -> Vec<UnixMs> {
        let Ok(fires) = self.fires(name) else { return Vec::new() };
        let next = |at: &UnixMs| fires.next_after(*at);
        std::iter::successors(fires.next_after(after), next).take(count.min(MAX_LISTED)).collect()
    }

    /// Make it ready for questions.
    pub(super) fn fires<'a>(&'a self, name: &'a str) -> Result<Fires<'a>, TimingError> {
        match *self {
            Self::Once { at } => {
                moment(at).ok_or(TimingError::Time { at })?;
                Ok(Fires::Once(at))
            }
            Self::Cron { ref expression, ref zone } => {
                WallClock::new(expression, zone).map(|clock| Fires::Cron(Box::new(clock)))
            }
            Self::Every { interval_ms, jitter_ms, start } => {
                if !INTERVAL_MS.contains(&interval_ms) {
                    return Err(TimingError::Interval { interval_ms });
                }
                if jitter_ms >= interval_ms {
                    return Err(TimingError::Jitter { jitter_ms, interval_ms });
                }
                moment(start).ok_or(TimingError::Time { at: start })?;
                Ok(Fires::Every(Every { name, interval_ms, jitter_ms, start }))
            }
        }
    }
}

/// A timing that makes sense.
pub(super) enum Fires<'a> {
    Once(UnixMs),
    Cron(Box<WallClock>),
    Every(Every<'a>),
}

impl Fires<'_> {
    /// The first fire after a moment.
    pub(super) fn next_after(&self, after: UnixMs) -> Option<UnixMs> {
        match self {
            Self::Once(at) => Some(*at).filter(|at| *at > after),
            Self::Cron(clock) => clock.next_after(after),
            Self::Every(every) => every.next_after(after),
        }
    }

    /// The last fire not after a moment.
    pub(super) fn latest_until(&self, until: UnixMs) -> Option<UnixMs> {
        match self {
            Self::Once(at) => Some(*at).filter(|at| *at <= until),
            Self::Cron(clock) => clock.latest_until(until),
            Self::Every(every) => every.latest_until(until),
        }
    }
}

/// An interval with its jitter. Since the jitter is less than the interval, fires keep
/// their order.
pub(super) struct Every<'a> {
    name: &'a str,
    interval_ms: u64,
    jitter_ms: u64,
    start: UnixMs,
}

impl Every<'_> {
    fn next_after(&self, after: UnixMs) -> Option<UnixMs> {
        let number = after.saturating_sub(self.start) / self.interval_ms;
        let found = self.fire(number).filter(|at| *at > after);
        found.or_else(|| self.fire(number + 1))
    }

    fn latest_until(&self, until: UnixMs) -> Option<UnixMs> {
        let number = until.checked_sub(self.start)? / self.interval_ms;
        let found = self.fire(number).filter(|at| *at <= until);
        found.or_else(|| self.fire(number.checked_sub(1)?))
    }

    /// The fire of this number; nothing beyond the calendar.
    fn fire(&self, number: u64) -> Option<UnixMs> {
        let at = number.checked_mul(self.interval_ms)?.checked_add(self.start)?;
        let at = at.checked_add(self.jitter(at))?;
        moment(at).map(|_| at)
    }

    /// How much a fire is delayed: a hash, so that nobody needs to remember it.
    fn jitter(&self, at: UnixMs) -> u64 {
        if self.jitter_ms == 0 {
            return 0;
        }
        let hash = Uuid::new_v5(&NAMESPACE, format!("jitter/{}/{at}", self.name).as_bytes());
        // The low half has two fixed bits at its top, the high half four in its middle.
        let (high, low) = hash.as_u64_pair();
        (high.rotate_left(32) ^ low.rotate_left(2)) % (self.jitter_ms + 1)
    }
}
