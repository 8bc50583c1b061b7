//! The rule: when a new version is worse than the old one, and when enough was seen of it.
//!
//! *Failures*: Fisher's exact test on one side. *Latency*: how many attempts of the new version
//! take longer than one and a half times the old one's 95th percentile, against the 5 % that may.
//! Both look at every count anew. So the bound of a look depends on how many bad attempts there
//! are: the bounds of all numbers of bad attempts add up to the round's, the rounds' to the whole.

use std::fmt;

use super::chance::{drawn_at_least, hit_at_least, real};
use super::{Side, WallTimes};

/// How likely it is, at most, that an equal version is found worse: by each of the two tests.
const ALPHA: f64 = 0.005;

/// Bad attempts below which nothing is found.
const LEAST_BAD: u64 = 3;

/// Attempts that must have succeeded before latencies are compared.
const LEAST_NEW: u64 = 50;
const LEAST_OLD: u64 = 200;

/// Counts beyond this are nobody's.
const MOST: u64 = 1 << 40;

/// The share of attempts that are beyond the 95th percentile.
const BEYOND_P95: f64 = 0.05;

/// The least difference of latencies that counts, in microseconds.
const LEAST_SLOWER_US: u64 = 5_000;

/// How canaries are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanaryRule {
    /// The rounds of the whole canary: shares that are tried one after the other.
    pub rounds: usize,
    /// Attempts on each side that are enough for one round.
    pub attempts: u64,
}

/// What is found after a look.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// The new version is worse.
    Worse(Evidence),
    /// Enough was seen, and it is not.
    Enough,
    /// More must be seen.
    Open,
}

/// Why a version is worse.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// More of its attempts fail.
    Fails {
        /// Failures and attempts of the new version.
        new: (u64, u64),
        /// Those of the old one.
        old: (u64, u64),
        /// How likely this or worse is if they are equal.
        chance: f64,
        /// Below which chance the version is worse.
        bound: f64,
    },
    /// It is slower.
    Slow {
        /// Attempts of the new version that took longer than that, and all that succeeded.
        new: (u64, u64),
        /// The time that counts as long, in microseconds.
        long_us: u64,
        /// 95 of 100 attempts of the new and of the old version took no longer, in microseconds.
        p95_us: [u64; 2],
        /// How likely this or worse is if no more than 5 % may be long.
        chance: f64,
        /// Below which chance the version is worse.
        bound: f64,
    },
}

impl CanaryRule {
    /// Judge what was counted in one round.
    #[must_use]
    pub fn judge(&self, new: &Side, old: &Side) -> Judgement {
        if let Some(evidence) = self.fails(new, old).or_else(|| self.is_slow(new, old)) {
            return Judgement::Worse(evidence);
        }
        match new.attempts.min(old.attempts) >= self.attempts.max(1) {
            true => Judgement::Enough,
            false => Judgement::Open,
        }
    }

    /// The bound of the chance where there are so many bad attempts. Over all numbers from
    /// [`LEAST_BAD`] on, `1 / (bad * (bad + 1))` adds up to `1 / LEAST_BAD`.
    fn bound(&self, bad: u64) -> f64 {
        let weight = real(LEAST_BAD) / (real(bad) * real(bad.saturating_add(1)));
        ALPHA / real(self.rounds.max(1) as u64) * weight
    }

    fn fails(&self, new: &Side, old: &Side) -> Option<Evidence> {
        let bad = new.failures.min(new.attempts);
        if bad < LEAST_BAD || new.attempts.max(old.attempts) > MOST {
            return None;
        }
        let marked = bad.saturating_add(old.failures.min(old.attempts));
        let all = new.attempts.saturating_add(old.attempts);
        let (chance, bound) = (drawn_at_least(bad, new.attempts, marked, all), self.bound(bad));
        (chance < bound).then_some(Evidence::Fails {
            new: (bad, new.attempts),
            old: (old.failures, old.attempts),
            chance,
            bound,
        })
    }

    fn is_slow(&self, new: &Side, old: &Side) -> Option<Evidence> {
        let (n, m) = (new.wall.total(), old.wall.total());
        if n < LEAST_NEW || m < LEAST_OLD || n.max(m) > MOST {
            return None;
        }
        let old_p95 = WallTimes::longest_us(old.wall.at_rank(p95_at_most(m))?);
        let long_us = (old_p95 + old_p95 / 2).max(old_p95 + LEAST_SLOWER_US);
        let bucket = WallTimes::bucket(long_us);
        let bad = new.wall.beyond(bucket);
        if bad < LEAST_BAD {
            return None;
        }
        let (chance, bound) = (hit_at_least(bad, n, BEYOND_P95), self.bound(bad));
        let p95_us = [new.wall.p95_us()?, old.wall.p95_us()?];
        let long_us = WallTimes::longest_us(bucket);
        (chance < bound).then_some(Evidence::Slow { new: (bad, n), long_us, p95_us, chance, bound })
    }
}

/// The rank of an attempt, of so many, that takes as long as the 95th percentile or longer in 999
/// of 1,000 cases: what was seen of the old version is a sample too.
fn p95_at_most(of: u64) -> u64 {
    let spread = 3.1 * (0.95 * 0.05 * real(of)).sqrt();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is positive, and at most about the count"
    )]
    let rank = (0.95 * real(of) + spread).ceil() as u64;
    rank.min(of)
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| real(us) / 1_000.0;
        match self {
            Self::Fails { new, old, chance, bound } => write!(
                f,
                "it failed {} of {} attempts, the old version {} of {}: by chance that happens \
                 with p = {chance:.1e}, and below {bound:.1e} it counts",
                new.0, new.1, old.0, old.1
            ),
            Self::Slow { new, long_us, p95_us, chance, bound } => write!(
                f,
                "{} of its {} attempts took longer than {:.1} ms, where the old version's 95th \
                 percentile is {:.1} ms and its own {:.1} ms: by chance that happens with \
                 p = {chance:.1e}, and below {bound:.1e} it counts",
                new.0,
                new.1,
                ms(*long_us),
                ms(p95_us[1]),
                ms(p95_us[0])
            ),
        }
    }
}

#[cfg(test)]
mod tests;
