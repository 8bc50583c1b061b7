//! What attempts cost, as far as those that ended tell: how much of their time is CPU time,
//! and how many failed for an overload.
//!
//! How long a task waits of its own can only be seen while the CPUs have time: where they have
//! none, all waiting looks alike. So it is learnt then, and believed as long as tasks take about
//! as much CPU time as they did.

use super::Work;

/// Attempts that say something together.
const ENOUGH: u64 = 10;
/// Observations after which what was seen is forgotten if too little came after it.
const STALE_AFTER: u32 = 12;
/// The CPUs have time for all who want it below this.
const CPU_FREE: f64 = 0.9;
/// A task whose CPU time is so many times another's is another task.
const ANOTHER_TASK: f64 = 2.0;
/// Above what keeps the CPUs busy on the average, so that they seldom wait.
const MARGIN: f64 = 1.1;

/// What was learnt.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Learned {
    /// What has ended since the last time that it was enough.
    gathered: Work,
    /// The last that was enough.
    last: Option<Work>,
    /// Observations since `last`.
    age: u32,
    profile: Option<Profile>,
}

/// Tasks as they are while the CPUs have time for them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Profile {
    /// How long a task runs, as a multiple of its CPU time.
    stretch: f64,
    cpu_us: f64,
}

impl Work {
    fn cpu_us_each(&self) -> f64 {
        self.cpu_us as f64 / self.ended.max(1) as f64
    }
}

impl Learned {
    /// Add what has ended.
    pub(super) fn count(&mut self, work: &Work) {
        let sum = &mut self.gathered;
        sum.ended = sum.ended.saturating_add(work.ended);
        sum.overloaded = sum.overloaded.saturating_add(work.overloaded.min(work.ended));
        sum.run_us = sum.run_us.saturating_add(work.run_us);
        sum.cpu_us = sum.cpu_us.saturating_add(work.cpu_us);
        self.age += 1;
        if self.gathered.ended >= ENOUGH {
            self.last = Some(std::mem::take(&mut self.gathered));
            self.age = 0;
        } else if self.age >= STALE_AFTER {
            (self.last, self.gathered, self.age) = (None, Work::default(), 0);
        }
    }

    /// Remember what tasks are like, if the CPUs had time for them.
    pub(super) fn learn(&mut self, cpu_busy: f64) {
        let Some(work) = self.last.filter(|work| self.age == 0 && work.cpu_us > 0) else { return };
        if cpu_busy < CPU_FREE {
            let stretch = (work.run_us as f64 / work.cpu_us as f64).max(1.0);
            self.profile = Some(Profile { stretch, cpu_us: work.cpu_us_each() });
        }
    }

    /// How many attempts keep so many CPUs busy; none if that is not known. Where the CPUs are
    /// spent and tasks are unlike those that are known, those that need nothing but CPU time are
    /// assumed.
    pub(super) fn useful(&self, cpus: u32, is_spent: bool) -> Option<u32> {
        let known = self.profile.filter(|profile| {
            let Some(now) = self.last.map(|work| work.cpu_us_each()) else { return true };
            now <= profile.cpu_us * ANOTHER_TASK && profile.cpu_us <= now * ANOTHER_TASK
        });
        match known {
            Some(profile) => {
                let useful = f64::from(cpus) * profile.stretch * MARGIN;
                Some((useful.ceil() as u32).max(cpus))
            }
            None => is_spent.then_some(cpus),
        }
    }

    /// The share of attempts that failed for an overload; none if too few have ended.
    pub(super) fn overloaded(&self) -> Option<f64> {
        self.last.map(|work| work.overloaded as f64 / work.ended.max(1) as f64)
    }
}
