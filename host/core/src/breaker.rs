//! A circuit breaker: nothing is let through to what fails again and again, until a few probes
//! show that it works.
//!
//! Pure: time is an argument. What ends after the state in which it was let through is over
//! counts no more, so that an old failure neither opens nor closes anything anew.

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerPolicy {
    /// Failures within the window that it takes, at least 1.
    pub failures: u32,
    /// The share of what ended within the window that must have failed, too: from 0 to 1.
    pub share: f64,
    /// The window, in milliseconds, at least 1.
    pub window_ms: u64,
    /// How long it is open before probes are let through, in milliseconds, at least 1.
    pub open_ms: u64,
    /// So many probes are let through, and must succeed for it to close; at least 1.
    pub probes: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 10, share: 0.5, window_ms: 30_000, open_ms: 10_000, probes: 1 }
    }
}

/// The window is forgotten by so many parts.
const PARTS: usize = 10;

/// How long those wait who come while probes run, in parts of the time that it was open.
const WHILE_PROBING: u64 = 4;

/// A permission to go through. It is given back with what came of it, or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Passage {
    epoch: u64,
}

/// What came of a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// It worked.
    Well,
    /// It failed in a way that counts.
    Badly,
    /// It says nothing of what it went to.
    Neither,
}

/// What a breaker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets everything through.
    Closed,
    /// Lets nothing through.
    Open,
    /// Lets probes through.
    HalfOpen,
}

/// One breaker.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
    /// Counts states: what was let through in an earlier one counts no more.
    epoch: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Closed(Window),
    Open { until_ms: u64 },
    HalfOpen { running: u32, succeeded: u32 },
}

/// What ended lately, by parts of the window.
#[derive(Debug, Clone, Default, PartialEq)]
struct Window {
    /// The number of the newest part since time 0.
    newest: u64,
    parts: [(u32, u32); PARTS],
}

impl Window {
    /// Forget what is over at this time.
    fn forget(&mut self, now_ms: u64, window_ms: u64) {
        let newest = now_ms / (window_ms / PARTS as u64).max(1);
        let passed = newest.saturating_sub(self.newest).min(PARTS as u64);
        for part in 1..=passed {
            self.parts[((self.newest + part) % PARTS as u64) as usize] = (0, 0);
        }
        // A clock that went back changes nothing.
        self.newest = self.newest.max(newest);
    }

    fn count(&mut self, failed: bool) {
        let part = &mut self.parts[(self.newest % PARTS as u64) as usize];
        part.0 = part.0.saturating_add(1);
        part.1 = part.1.saturating_add(u32::from(failed));
    }

    /// All that ended, and what of it failed.
    fn sums(&self) -> (u64, u64) {
        let add = |(all, bad): (u64, u64), part: &(u32, u32)| {
            (all + u64::from(part.0), bad + u64::from(part.1))
        };
        self.parts.iter().fold((0, 0), add)
    }
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: State::Closed(Window::default()), epoch: 0 }
    }

    /// What it does now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed(_) => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Let something through; or how many milliseconds it should wait.
    pub fn admit(&mut self, now_ms: u64) -> Result<Passage, u64> {
        match &mut self.state {
            State::Closed(_) => {}
            State::Open { until_ms } if now_ms < *until_ms => return Err(*until_ms - now_ms),
            State::Open { .. } => self.become_state(State::HalfOpen { running: 1, succeeded: 0 }),
            State::HalfOpen { running, succeeded } => {
                if *running + *succeeded >= self.policy.probes.max(1) {
                    return Err((self.policy.open_ms / WHILE_PROBING).max(1));
                }
                *running += 1;
            }
        }
        Ok(Passage { epoch: self.epoch })
    }

    /// Take a passage back. What the breaker does from now on, if that changed.
    pub fn record(&mut self, passage: Passage, came: Passed, now_ms: u64) -> Option<BreakerState> {
        if passage.epoch != self.epoch {
            return None;
        }
        let policy = self.policy;
        let next = match &mut self.state {
            State::Open { .. } => return None,
            State::Closed(window) => {
                if came == Passed::Neither {
                    return None;
                }
                window.forget(now_ms, policy.window_ms);
                window.count(came == Passed::Badly);
                let (all, bad) = window.sums();
                let opens = bad >= u64::from(policy.failures.max(1))
                    && bad as f64 >= policy.share * all as f64;
                opens.then(|| Self::open(&policy, now_ms))?
            }
            State::HalfOpen { running, succeeded } => {
                *running = running.saturating_sub(1);
                match came {
                    Passed::Neither => return None,
                    Passed::Badly => Self::open(&policy, now_ms),
                    Passed::Well => {
                        *succeeded += 1;
                        if *succeeded < policy.probes {
                            return None;
                        }
                        State::Closed(Window::default())
                    }
                }
            }
        };
        self.become_state(next);
        Some(self.state())
    }

    fn open(policy: &BreakerPolicy, now_ms: u64) -> State {
        State::Open { until_ms: now_ms.saturating_add(policy.open_ms.max(1)) }
    }

    fn become_state(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: BreakerPolicy =
        BreakerPolicy { failures: 3, share: 0.5, window_ms: 1_000, open_ms: 400, probes: 2 };

    /// Go through at one time and come back at once.
    fn pass(breaker: &mut Breaker, came: Passed, now_ms: u64) -> Option<BreakerState> {
        let passage = breaker.admit(now_ms).unwrap();
        breaker.record(passage, came, now_ms)
    }

    fn opened(at_ms: u64) -> Breaker {
        let mut breaker = Breaker::new(POLICY);
        let last = (0..3).map(|_| pass(&mut breaker, Passed::Badly, at_ms)).last();
        assert_eq!(last, Some(Some(BreakerState::Open)));
        breaker
    }

    #[test]
    fn it_opens_by_number_and_share_within_the_window() {
        opened(0);
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..4 {
            assert_eq!(pass(&mut breaker, Passed::Well, 0), None);
        }
        for _ in 0..3 {
            assert_eq!(pass(&mut breaker, Passed::Badly, 0), None, "3 of 7 are too few");
        }
        assert_eq!(pass(&mut breaker, Passed::Badly, 0), Some(BreakerState::Open));
        let mut breaker = Breaker::new(POLICY);
        for at_ms in [0, 0, 1_000, 1_000, 2_000, 2_000, 9_000] {
            assert_eq!(pass(&mut breaker, Passed::Badly, at_ms), None, "never 3 in a window");
        }
    }

    #[test]
    fn probes_close_it_and_one_failure_opens_it_again() {
        let mut breaker = opened(0);
        assert_eq!(breaker.admit(399), Err(1));
        let probes = [breaker.admit(400).unwrap(), breaker.admit(400).unwrap()];
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.admit(400), Err(100), "no more than two");
        assert_eq!(breaker.record(probes[0], Passed::Well, 410), None);
        assert_eq!(breaker.admit(410), Err(100), "one has succeeded, one runs");
        let reopened = breaker.record(probes[1], Passed::Badly, 420);
        assert_eq!((reopened, breaker.admit(420)), (Some(BreakerState::Open), Err(400)));
        let probes = [breaker.admit(820).unwrap(), breaker.admit(820).unwrap()];
        assert_eq!(breaker.record(probes[0], Passed::Neither, 830), None);
        let third = breaker.admit(830).unwrap();
        assert_eq!(breaker.record(probes[1], Passed::Well, 840), None);
        assert_eq!(breaker.record(third, Passed::Well, 840), Some(BreakerState::Closed));
    }

    #[test]
    fn what_was_let_through_before_counts_no_more() {
        let mut breaker = Breaker::new(POLICY);
        let old = breaker.admit(0).unwrap();
        for _ in 0..3 {
            let _ = pass(&mut breaker, Passed::Badly, 0);
        }
        assert_eq!(breaker.record(old, Passed::Well, 10), None);
        let probe = breaker.admit(400).unwrap();
        assert_eq!(breaker.record(old, Passed::Badly, 400), None);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.record(probe, Passed::Well, 400), None, "the other probe is missing");
    }

    proptest! {
        /// However things go, it lets through again what waits for as long as it says.
        #[test]
        fn it_never_stays_shut(
            steps in prop::collection::vec((0_u64..500, 0_u8..3, any::<bool>()), 1..200),
        ) {
            let mut breaker = Breaker::new(POLICY);
            let (mut now, mut held) = (0, Vec::new());
            for (later, came, keep) in steps {
                now += later;
                let came = [Passed::Well, Passed::Badly, Passed::Neither][usize::from(came)];
                match breaker.admit(now) {
                    Ok(passage) if keep => held.push((passage, came)),
                    Ok(passage) => drop(breaker.record(passage, came, now)),
                    Err(wait_ms) => prop_assert!((1..=POLICY.open_ms).contains(&wait_ms)),
                }
                prop_assert!(held.len() < 300);
            }
            for (passage, _) in held {
                let _ = breaker.record(passage, Passed::Neither, now);
            }
            prop_assert!(breaker.admit(now + POLICY.open_ms).is_ok());
        }
    }
}
