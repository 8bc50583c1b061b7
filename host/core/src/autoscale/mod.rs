//! How many attempts one host should run at once, by what it sees of its load.
//!
//! A pure controller: the [`Autoscaler`] is told an [`Observation`] at a time and answers with a
//! [`Verdict`] that says what it decided and why. It never leaves its bounds, never changes more
//! often than its cooldowns allow, and more of what asks for attempts never gives fewer of them.
//! It knows no clock and no host: time is part of what was observed.

mod cost;
mod verdict;

use cost::Learned;
pub use verdict::{Direction, Readings, Reason, Signal, Verdict};

use crate::Priority;

/// What one pending task of each priority class weighs: low, normal, high, critical.
const WEIGHTS: [f64; Priority::CLASSES] = [0.5, 1.0, 2.0, 4.0];

/// A queue is long when what waits weighs as much as a slot each, and very long from here on.
const LONG: f64 = 1.0;
const VERY_LONG: f64 = 4.0;
/// A queue below this is empty, but for what has just come.
const SHORT: f64 = 0.1;

/// Slots are what is lacking when so many of them are used; most are idle below the lower one.
const FULL_USE: f64 = 0.8;
const LOW_USE: f64 = 0.5;
/// What is left after shrinking is used so far. Between the two above, so that neither follows.
const AIMED_USE: f64 = 0.7;

/// From here on the CPUs have nothing left to give, and below the lower one they have.
const CPU_SPENT: f64 = 0.95;
const CPU_LEFT: f64 = 0.75;

/// Of the attempts that ended, the share that failed as under a load that is too high.
const FAILING: f64 = 0.5;
const DOUBTFUL: f64 = 0.2;

/// Of the memory's ceiling, the share that is resident.
const MEMORY_FULL: f64 = 0.95;
const MEMORY_TIGHT: f64 = 0.85;

/// How much is taken away at once: when attempts do harm, and when they only gain nothing.
const BACK_OFF: f64 = 0.7;
const SHRINK: f64 = 0.8;

/// How often in a row the same must be seen before it is acted upon, and how long the host is
/// left alone after a change before this one is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Observations in a row, at least 1.
    pub signals: u32,
    /// Milliseconds since the last change, in either direction.
    pub cooldown_ms: u64,
}

/// Within which bounds, and how fast, a host's concurrency follows its load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoscalePolicy {
    /// Fewest attempts at once, at least 1. The host begins with so many.
    pub min: u32,
    /// Most attempts at once, at least `min`.
    pub max: u32,
    /// How it goes up.
    pub up: Pace,
    /// How it goes down.
    pub down: Pace,
    /// Of 100 tasks 95 should begin within so many milliseconds of being submitted. While that
    /// is missed half the signals do for going up, and a short queue counts; while it is met
    /// with half of it to spare, half the signals do for going down.
    pub pick_up_target_ms: Option<u64>,
    /// CPUs that attempts can use at once.
    pub cpus: u32,
}

impl Default for AutoscalePolicy {
    fn default() -> Self {
        Self {
            min: 1,
            max: 64,
            up: Pace { signals: 2, cooldown_ms: 10_000 },
            down: Pace { signals: 6, cooldown_ms: 60_000 },
            pick_up_target_ms: None,
            cpus: 1,
        }
    }
}

/// What attempts came to since the observation before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Attempts that ended.
    pub ended: u64,
    /// Of which failed as they do where too much is asked of something: they timed out, or
    /// asked to be tried again.
    pub overloaded: u64,
    /// How long they ran, in microseconds together.
    pub run_us: u64,
    /// CPU time that they took, in microseconds together.
    pub cpu_us: u64,
}

/// How the host's memory stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryLoad {
    /// What is resident, as a share of what may be.
    pub resident: f64,
    /// How many more attempts there is memory for.
    pub fits: u32,
    /// Attempts that wait for memory.
    pub waiting: u32,
}

/// What a host sees of its load at one time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Observation {
    /// When, in milliseconds of any clock that does not go back.
    pub at_ms: u64,
    /// Attempts that run.
    pub in_flight: u32,
    /// Tasks that it could claim, by priority class.
    pub pending: [u64; Priority::CLASSES],
    /// What ended since the observation before.
    pub work: Work,
    /// The share of the CPUs that the host has used since then, from 0 to 1.
    pub cpu_busy: f64,
    /// Within how many milliseconds 95 of 100 tasks began that began since then; none if none
    /// did.
    pub pick_up_ms: Option<u64>,
    /// How its memory stands, if that is bounded.
    pub memory: Option<MemoryLoad>,
}

/// Follows the load of one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Autoscaler {
    policy: AutoscalePolicy,
    current: u32,
    changed_at_ms: Option<u64>,
    /// The direction last voted for, and how often in a row.
    streak: (Direction, u32),
    learned: Learned,
}

/// What one observation asks for.
struct Vote {
    direction: Direction,
    to: u32,
    reason: Reason,
}

impl Autoscaler {
    /// Begin at the policy's least. Bounds that cross each other are taken as the lower one.
    #[must_use]
    pub fn new(policy: AutoscalePolicy) -> Self {
        let max = policy.max.max(1);
        let min = policy.min.clamp(1, max);
        Self {
            policy: AutoscalePolicy { min, max, cpus: policy.cpus.max(1), ..policy },
            current: min,
            changed_at_ms: None,
            streak: (Direction::Hold, 0),
            learned: Learned::default(),
        }
    }

    /// How many attempts there may be at once now.
    #[must_use]
    pub fn current(&self) -> u32 {
        self.current
    }

    /// The bounds that it keeps.
    #[must_use]
    pub fn policy(&self) -> &AutoscalePolicy {
        &self.policy
    }

    /// Take in what was seen; what follows from it.
    pub fn observe(&mut self, seen: &Observation) -> Verdict {
        self.learned.count(&seen.work);
        let readings = self.readings(seen);
        let vote = self.vote(seen, &readings);
        self.learned.learn(seen.cpu_busy);
        let (last, times) = self.streak;
        let in_a_row = if last == vote.direction { times.saturating_add(1) } else { 1 };
        self.streak = (vote.direction, in_a_row);
        let (needed, cooldown_ms) = self.asks(vote.direction, seen);
        let since_ms = self.changed_at_ms.map(|at| seen.at_ms.saturating_sub(at));
        let cooldown_left_ms = since_ms.map_or(0, |since| cooldown_ms.saturating_sub(since));
        let from = self.current;
        let acts = vote.to != from && in_a_row >= needed && cooldown_left_ms == 0;
        if acts {
            self.current = vote.to;
            self.changed_at_ms = Some(seen.at_ms);
            self.streak = (Direction::Hold, 0);
        }
        Verdict {
            from,
            to: self.current,
            direction: vote.direction,
            reason: vote.reason,
            in_a_row,
            needed,
            cooldown_left_ms,
            readings,
        }
    }

    /// How many votes in a row it takes, and how long after the last change.
    fn asks(&self, direction: Direction, seen: &Observation) -> (u32, u64) {
        let AutoscalePolicy { up, down, pick_up_target_ms, .. } = self.policy;
        let half = |signals: u32| signals.div_ceil(2);
        let compared = pick_up_target_ms.zip(seen.pick_up_ms);
        let is_missed = compared.is_some_and(|(target, p95)| p95 > target);
        let is_met_well = compared.is_some_and(|(target, p95)| p95 <= target / 2);
        let (signals, cooldown_ms) = match direction {
            Direction::Hold => return (0, 0),
            Direction::Up if is_missed => (half(up.signals), up.cooldown_ms),
            Direction::Up => (up.signals, up.cooldown_ms),
            Direction::Down if is_met_well => (half(down.signals), down.cooldown_ms),
            Direction::Down => (down.signals, down.cooldown_ms),
        };
        (signals.max(1), cooldown_ms)
    }

    fn readings(&self, seen: &Observation) -> Readings {
        let slots = f64::from(self.current);
        let weigh = |(pending, weight): (&u64, f64)| *pending as f64 * weight;
        Readings {
            pressure: seen.pending.iter().zip(WEIGHTS).map(weigh).sum::<f64>() / slots,
            utilisation: f64::from(seen.in_flight) / slots,
            cpu_busy: seen.cpu_busy,
            useful: self.learned.useful(self.policy.cpus, seen.cpu_busy >= CPU_SPENT),
            overloaded: self.learned.overloaded(),
            memory: seen.memory.map(|memory| memory.resident),
            pick_up_ms: seen.pick_up_ms,
        }
    }

    fn vote(&self, seen: &Observation, readings: &Readings) -> Vote {
        let brake = self.brakes(seen, readings).into_iter().flatten().min_by_key(|(to, _)| *to);
        if let Some((to, reason)) = brake {
            let to = to.max(self.policy.min);
            return match to < self.current {
                true => Vote { direction: Direction::Down, to, reason },
                false => self.hold(Reason::AtLeast),
            };
        }
        self.growth(seen, readings)
    }

    fn hold(&self, reason: Reason) -> Vote {
        Vote { direction: Direction::Hold, to: self.current, reason }
    }

    /// All that asks for fewer attempts, each with how many are left.
    fn brakes(&self, seen: &Observation, readings: &Readings) -> [Option<(u32, Reason)>; 4] {
        let current = self.current;
        let left = |share: f64| (f64::from(current) * share) as u32;
        let memory =
            seen.memory.filter(|memory| memory.waiting > 0 || memory.resident >= MEMORY_FULL);
        // Attempts that have their memory need not make room for those that wait for it.
        let memory = memory.map(|memory| match memory.resident >= MEMORY_FULL {
            true => left(BACK_OFF),
            false => left(BACK_OFF).max(seen.in_flight.saturating_sub(memory.waiting)),
        });
        let failing = readings.overloaded.is_some_and(|share| share >= FAILING);
        let spent =
            readings.useful.filter(|useful| readings.cpu_busy >= CPU_SPENT && current > *useful);
        let idle = readings.utilisation <= LOW_USE && readings.pressure <= SHORT;
        let needed = (f64::from(seen.in_flight) / AIMED_USE).ceil() as u32;
        let brakes = [
            memory.map(|to| (to, Reason::MemoryFull)),
            failing.then(|| (left(BACK_OFF), Reason::Failing)),
            spent.map(|useful| (left(SHRINK).max(useful), Reason::CpuSpent)),
            idle.then(|| (left(SHRINK).max(needed), Reason::Idle)),
        ];
        // What leaves as many as there are is no brake.
        brakes.map(|brake| brake.filter(|(to, _)| *to < current))
    }

    /// More attempts, if work waits and they would gain something.
    fn growth(&self, seen: &Observation, readings: &Readings) -> Vote {
        let current = self.current;
        let target = self.policy.pick_up_target_ms;
        let is_late = target.zip(seen.pick_up_ms).is_some_and(|(target, p95)| p95 > target);
        let is_long = readings.pressure >= LONG;
        let waits = is_long || is_late && readings.pressure > SHORT;
        if !waits {
            return self.hold(Reason::Steady);
        }
        if readings.utilisation < FULL_USE {
            return self.hold(Reason::NotTheSlots);
        }
        if readings.overloaded.is_some_and(|share| share >= DOUBTFUL) {
            return self.hold(Reason::Doubtful);
        }
        let fits = seen.memory.map_or(u32::MAX, |memory| match memory.resident >= MEMORY_TIGHT {
            true => 0,
            // As if attempts had all of it, so that growing does not fill it.
            false => {
                let more = f64::from(seen.in_flight) * (MEMORY_TIGHT / memory.resident.max(0.01));
                (more as u32).min(seen.in_flight.saturating_add(memory.fits))
            }
        });
        let useful = match readings.cpu_busy < CPU_LEFT {
            true => u32::MAX,
            // What is not known to gain something is left alone.
            false => readings.useful.unwrap_or(current),
        };
        let (cap, capped) = [
            (fits, Reason::MemoryTight),
            (useful, Reason::CpuBound),
            (self.policy.max, Reason::AtMost),
        ]
        .into_iter()
        .min_by_key(|(cap, _)| *cap)
        .unwrap_or((current, Reason::AtMost));
        if cap <= current {
            return self.hold(capped);
        }
        let factor = if readings.pressure >= VERY_LONG { 2.0 } else { 1.5 };
        let wanted = (f64::from(current) * factor).ceil() as u32;
        let reason = if is_long { Reason::Backlog } else { Reason::Late };
        Vote { direction: Direction::Up, to: wanted.max(current + 1).min(cap), reason }
    }
}

#[cfg(test)]
mod tests;
