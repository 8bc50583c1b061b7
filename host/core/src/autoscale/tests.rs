use proptest::prelude::*;

use super::*;

/// Observations are so many milliseconds apart.
const EVERY_MS: u64 = 2_000;

fn policy(min: u32, max: u32) -> AutoscalePolicy {
    AutoscalePolicy { min, max, cpus: 2, ..AutoscalePolicy::default() }
}

/// Everything waits for slots.
fn hungry(at_ms: u64, slots: u32) -> Observation {
    Observation { at_ms, in_flight: slots, pending: [0, 1_000, 0, 0], ..Observation::default() }
}

/// Nothing is to do.
fn idle(at_ms: u64) -> Observation {
    Observation { at_ms, ..Observation::default() }
}

fn work(ended: u64, overloaded: u64, run_ms: u64, cpu_ms: u64) -> Work {
    Work { ended, overloaded, run_us: ended * run_ms * 1_000, cpu_us: ended * cpu_ms * 1_000 }
}

/// A scaler that has been driven to the most.
fn at_most(policy: AutoscalePolicy) -> (Autoscaler, u64) {
    let mut scaler = Autoscaler::new(policy);
    let mut at_ms = 0;
    while scaler.current() < policy.max {
        at_ms += EVERY_MS;
        let slots = scaler.current();
        scaler.observe(&hungry(at_ms, slots));
    }
    (scaler, at_ms)
}

#[test]
fn it_goes_up_only_after_signals_in_a_row_and_waits_between_changes() {
    let mut scaler = Autoscaler::new(policy(4, 64));
    let first = scaler.observe(&hungry(0, 4));
    assert_eq!((first.is_change(), first.in_a_row, first.needed), (false, 1, 2));
    scaler.observe(&Observation { in_flight: 3, ..idle(1) });
    assert!(!scaler.observe(&hungry(2, 4)).is_change(), "a row begins anew");
    let second = scaler.observe(&hungry(3, 4));
    assert_eq!((second.from, second.to, second.reason), (4, 8, Reason::Backlog));
    for at_ms in [4, 5, 10_002] {
        let verdict = scaler.observe(&hungry(at_ms, 8));
        assert_eq!(verdict.cooldown_left_ms, 10_003 - at_ms, "{verdict}");
    }
    let third = scaler.observe(&hungry(10_003, 8));
    assert_eq!((third.from, third.to), (8, 16));
    assert_eq!(
        third.to_string(),
        "8 to 16: more work waits than there are slots (4 in a row); pressure 125.0, 100 % in \
         use, CPU 0 %"
    );
}

#[test]
fn priority_decides_whether_what_waits_is_much() {
    let after_two = |pending| {
        let mut scaler = Autoscaler::new(policy(10, 64));
        let seen = |at_ms| Observation { at_ms, in_flight: 10, pending, ..Observation::default() };
        scaler.observe(&seen(0));
        scaler.observe(&seen(1)).to
    };
    assert_eq!(after_two([10, 0, 0, 0]), 10);
    assert_eq!(after_two([0, 10, 0, 0]), 15);
    assert_eq!(after_two([0, 0, 10, 0]), 15);
    assert_eq!(after_two([0, 0, 0, 10]), 20);
}

#[test]
fn work_that_waits_for_something_else_than_slots_changes_nothing() {
    let mut scaler = Autoscaler::new(policy(10, 64));
    for at in 0..20 {
        let verdict = scaler.observe(&Observation { in_flight: 7, ..hungry(at * EVERY_MS, 10) });
        assert_eq!((verdict.to, verdict.reason), (10, Reason::NotTheSlots));
    }
}

#[test]
fn cpu_bound_tasks_get_about_as_many_slots_as_there_are_cpus_and_waiting_ones_more() {
    for (run_ms, cpu_ms, at_least, at_most) in [(100_u32, 100_u32, 2, 3), (100, 10, 20, 24)] {
        let mut scaler = Autoscaler::new(policy(1, 64));
        for at in 0..200_u64 {
            let slots = scaler.current();
            // As many as keep two CPUs busy.
            let knee = 2.0 * f64::from(run_ms) / f64::from(cpu_ms);
            let cpu_busy = (f64::from(slots) / knee).min(1.0);
            scaler.observe(&Observation {
                work: work(20, 0, run_ms.into(), cpu_ms.into()),
                cpu_busy,
                ..hungry(at * 10_000, slots)
            });
        }
        assert!((at_least..=at_most).contains(&scaler.current()), "{}", scaler.current());
    }
}

#[test]
fn when_tasks_become_cpu_bound_the_slots_that_gain_nothing_go() {
    let (mut scaler, mut at_ms) = at_most(policy(1, 64));
    for (run_ms, cpu_ms, cpu_busy) in [(100, 1, 0.3), (2_000, 100, 1.0)] {
        for _ in 0..100 {
            at_ms += 20_000;
            let slots = scaler.current();
            let work = work(20, 0, run_ms, cpu_ms);
            scaler.observe(&Observation { work, cpu_busy, ..hungry(at_ms, slots) });
        }
    }
    assert_eq!(scaler.current(), 2);
}

#[test]
fn it_backs_off_while_most_attempts_fail_for_an_overload() {
    let (mut scaler, at_ms) = at_most(policy(4, 64));
    let mut last = None;
    for at in 1..100 {
        let slots = scaler.current();
        let work = work(100, 60, 10, 1);
        let seen = Observation { work, ..hungry(at_ms + at * 20_000, slots) };
        last = Some(scaler.observe(&seen));
    }
    assert_eq!((scaler.current(), last.map(|v| v.reason)), (4, Some(Reason::AtLeast)));
    let doubtful = Observation { work: work(100, 30, 10, 1), ..hungry(at_ms + 3_000_000, 4) };
    assert_eq!(scaler.observe(&doubtful).reason, Reason::Doubtful);
}

#[test]
fn memory_holds_it_and_pushes_it_back() {
    let mut scaler = Autoscaler::new(policy(8, 64));
    let load = |resident, fits, waiting| Some(MemoryLoad { resident, fits, waiting });
    let seen = |at_ms, memory| Observation { memory, ..hungry(at_ms, 8) };
    assert_eq!(scaler.observe(&seen(0, load(0.9, 10, 0))).reason, Reason::MemoryTight);
    assert_eq!(scaler.observe(&seen(1, load(0.5, 0, 0))).reason, Reason::MemoryTight);
    scaler.observe(&seen(2, load(0.5, 3, 0)));
    assert_eq!(scaler.observe(&seen(3, load(0.5, 3, 0))).to, 11, "as many as there is room for");
    let mut full = |at_ms, memory| {
        let slots = scaler.current();
        scaler.observe(&Observation { memory, ..hungry(at_ms, slots) })
    };
    let verdicts: Vec<Verdict> = (0..6).map(|n| full(100_000 + n, load(0.5, 0, 1))).collect();
    assert_eq!(verdicts.last().map(|v| (v.to, v.reason)), Some((10, Reason::MemoryFull)));
    let verdicts: Vec<Verdict> = (0..6).map(|n| full(200_000 + n, load(0.97, 5, 0))).collect();
    assert_eq!(verdicts.last().map(|v| (v.to, v.reason)), Some((8, Reason::MemoryFull)));
}

#[test]
fn a_missed_target_hurries_it_up_and_one_well_met_down() {
    let target = Some(100);
    let mut scaler =
        Autoscaler::new(AutoscalePolicy { pick_up_target_ms: target, ..policy(10, 64) });
    // Too little for a backlog.
    let late = Observation {
        in_flight: 10,
        pending: [0, 3, 0, 0],
        pick_up_ms: Some(101),
        ..Observation::default()
    };
    let verdict = scaler.observe(&late);
    assert_eq!((verdict.to, verdict.reason, verdict.needed), (15, Reason::Late, 1));
    for (pick_up_ms, needed) in [(None, 6), (Some(60), 6), (Some(50), 3)] {
        let verdict = scaler.observe(&Observation { pick_up_ms, ..idle(1) });
        assert_eq!((verdict.direction, verdict.needed), (Direction::Down, needed));
    }
}

#[test]
fn what_was_seen_long_ago_is_forgotten() {
    let mut scaler = Autoscaler::new(policy(1, 8));
    scaler.observe(&Observation { work: work(20, 20, 10, 1), ..idle(0) });
    let told: Vec<bool> =
        (1..20).map(|at| scaler.observe(&idle(at)).readings.overloaded.is_some()).collect();
    assert_eq!(told.iter().filter(|known| **known).count(), 11);
    assert!(!told[18]);
}

/// A host as a fluid: tasks come, wait for slots, run and wait by themselves, share CPUs.
struct Plant {
    scaler: Autoscaler,
    backlog: f64,
    at_ms: u64,
    wait_ms: f64,
    cpu_ms: f64,
    cpus: u32,
    /// The share of memory that is resident without attempts, and what each adds.
    memory: (f64, f64),
}

impl Plant {
    fn observe(&mut self, per_second: f64) -> Verdict {
        self.at_ms += EVERY_MS;
        let slots = f64::from(self.scaler.current());
        let seconds = EVERY_MS as f64 / 1_000.0;
        let run_ms = self.wait_ms + self.cpu_ms;
        let cpu_bound = f64::from(self.cpus) * 1_000.0 / self.cpu_ms;
        let most = (slots * 1_000.0 / run_ms).min(cpu_bound);
        let offered = self.backlog + per_second * seconds;
        let served = offered.min(most * seconds);
        self.backlog = (offered - served).min(1e6);
        let busy = self.backlog >= 1.0;
        // Who waits for a CPU is in flight as well.
        let in_flight = if busy { slots } else { (served / seconds * run_ms / 1_000.0).min(slots) };
        let ran_us = in_flight * seconds * 1e6;
        self.scaler.observe(&Observation {
            at_ms: self.at_ms,
            in_flight: in_flight.round() as u32,
            pending: [0, self.backlog as u64, 0, 0],
            work: Work {
                ended: served as u64,
                overloaded: 0,
                run_us: ran_us as u64,
                cpu_us: (served * self.cpu_ms * 1_000.0) as u64,
            },
            cpu_busy: (served / seconds / cpu_bound).min(1.0),
            pick_up_ms: Some((self.backlog / most * 1_000.0) as u64),
            memory: Some(MemoryLoad {
                resident: self.memory.0 + self.memory.1 * in_flight,
                fits: 1_000,
                waiting: 0,
            }),
        })
    }
}

fn observation() -> impl Strategy<Value = Observation> {
    let work = (0_u64..50, 0_u64..50, 0_u64..5_000_000, 0_u64..5_000_000)
        .prop_map(|(ended, overloaded, run_us, cpu_us)| Work { ended, overloaded, run_us, cpu_us });
    let memory = (0.0..1.1_f64, 0_u32..20, 0_u32..3)
        .prop_map(|(resident, fits, waiting)| MemoryLoad { resident, fits, waiting });
    (
        1_u64..30_000,
        0_u32..200,
        prop::array::uniform4(0_u64..100),
        work,
        0.0..1.2_f64,
        prop::option::of(0_u64..2_000),
        prop::option::of(memory),
    )
        .prop_map(|(at_ms, in_flight, pending, work, cpu_busy, pick_up_ms, memory)| {
            Observation { at_ms, in_flight, pending, work, cpu_busy, pick_up_ms, memory }
        })
}

fn policies() -> impl Strategy<Value = AutoscalePolicy> {
    let pace = || {
        (0_u32..8, 0_u64..90_000).prop_map(|(signals, cooldown_ms)| Pace { signals, cooldown_ms })
    };
    (0_u32..40, 0_u32..200, pace(), pace(), prop::option::of(1_u64..2_000), 0_u32..9).prop_map(
        |(min, max, up, down, pick_up_target_ms, cpus)| AutoscalePolicy {
            min,
            max,
            up,
            down,
            pick_up_target_ms,
            cpus,
        },
    )
}

/// A scaler that has seen these, each so much after the one before; the time then.
fn after(policy: AutoscalePolicy, seen: &[Observation]) -> (Autoscaler, u64) {
    let mut scaler = Autoscaler::new(policy);
    let mut at_ms = 0;
    for observation in seen {
        at_ms += observation.at_ms;
        scaler.observe(&Observation { at_ms, ..*observation });
    }
    (scaler, at_ms)
}

proptest! {
    #[test]
    fn it_never_leaves_its_bounds_nor_hurries(
        policy in policies(), seen in prop::collection::vec(observation(), 1..200),
    ) {
        let mut scaler = Autoscaler::new(policy);
        let (min, max) = (scaler.policy().min, scaler.policy().max);
        let (mut at_ms, mut changed_at, mut since) = (0, None::<u64>, 0_u32);
        for observation in seen {
            at_ms += observation.at_ms;
            since += 1;
            let before = scaler.current();
            let verdict = scaler.observe(&Observation { at_ms, ..observation });
            prop_assert_eq!((verdict.from, verdict.to), (before, scaler.current()));
            prop_assert!((min..=max).contains(&scaler.current()));
            prop_assert_eq!(verdict.reason.signal().as_str().is_empty(), false);
            if !verdict.is_change() {
                continue;
            }
            let is_up = verdict.to > verdict.from;
            prop_assert_eq!(is_up, verdict.direction == Direction::Up);
            let pace = if is_up { policy.up } else { policy.down };
            prop_assert!(since >= pace.signals.div_ceil(2));
            if let Some(changed_at) = changed_at {
                prop_assert!(at_ms - changed_at >= pace.cooldown_ms);
            }
            (changed_at, since) = (Some(at_ms), 0);
        }
    }

    /// More work never gives fewer attempts; more trouble never gives more.
    #[test]
    fn it_answers_more_with_more(
        policy in policies(),
        before in prop::collection::vec(observation(), 0..40),
        low in observation(), high in observation(), which in 0_usize..9,
    ) {
        let (scaler, now) = after(policy, &before);
        let base = Observation { at_ms: now + low.at_ms, ..low };
        let mut other = base;
        // From here on `base` asks for at most as many as `other`, or the reverse.
        let other_is_more = match which {
            class @ 0..=3 => {
                other.pending[class] = base.pending[class].max(high.pending[class]);
                true
            }
            4 => {
                other.in_flight = base.in_flight.max(high.in_flight);
                true
            }
            5 => {
                other.pick_up_ms = base.pick_up_ms.zip(high.pick_up_ms).map(|(a, b)| a.max(b));
                if other.pick_up_ms.is_none() {
                    return Ok(());
                }
                true
            }
            6 => {
                other.cpu_busy = base.cpu_busy.max(high.cpu_busy);
                false
            }
            7 => {
                other.work.overloaded = base.work.overloaded.max(high.work.overloaded);
                false
            }
            _ => {
                let (Some(mine), Some(theirs)) = (base.memory, high.memory) else { return Ok(()) };
                other.memory = Some(MemoryLoad {
                    resident: mine.resident.max(theirs.resident),
                    fits: mine.fits.min(theirs.fits),
                    waiting: mine.waiting.max(theirs.waiting),
                });
                false
            }
        };
        let to = |seen: &Observation| scaler.clone().observe(seen).to;
        let (less, more) = if other_is_more { (&base, &other) } else { (&other, &base) };
        prop_assert!(to(less) <= to(more), "{} {} {less:?} {more:?}", to(less), to(more));
    }

    #[test]
    fn a_constant_load_converges(
        min in 1_u32..20, span in 0_u32..200, cpus in 1_u32..17, per_second in 0.1..400.0_f64,
        cpu_ms in 0.5..200.0_f64, waits in 0.0..50.0_f64, target in prop::option::of(50_u64..5_000),
        memory in (0.0..0.9_f64, 0.0..0.1_f64),
    ) {
        let policy =
            AutoscalePolicy { cpus, pick_up_target_ms: target, ..policy(min, min + span) };
        let scaler = Autoscaler::new(policy);
        let mut plant =
            Plant { scaler, backlog: 0.0, at_ms: 0, wait_ms: cpu_ms * waits, cpu_ms, cpus, memory };
        for _ in 0..3_000 {
            plant.observe(per_second);
        }
        let settled = plant.scaler.current();
        for _ in 0..500 {
            let verdict = plant.observe(per_second);
            prop_assert!(!verdict.is_change(), "{settled}: {verdict}");
        }
    }

    /// A load that swings more slowly than the cooldowns turns the concurrency round at most
    /// as often as it turns itself.
    #[test]
    fn a_swinging_load_is_followed_no_faster_than_it_swings(
        half_s in 200_u64..900, high in 20.0..400.0_f64, share in 0.0..0.3_f64,
        cpu_ms in 0.5..5.0_f64, wait_ms in 20.0..200.0_f64,
    ) {
        let scaler = Autoscaler::new(AutoscalePolicy { cpus: 4, ..policy(1, 256) });
        let mut plant = Plant {
            scaler,
            backlog: 0.0,
            at_ms: 0,
            wait_ms,
            cpu_ms,
            cpus: 4,
            memory: (0.1, 0.001),
        };
        let steps = half_s * 1_000 / EVERY_MS;
        let (mut turns, mut last) = (0, Direction::Hold);
        const SWINGS: u32 = 6;
        for half in 0..2 * SWINGS {
            let load = if half % 2 == 0 { high } else { high * share };
            for _ in 0..steps {
                let verdict = plant.observe(load);
                if verdict.is_change() && verdict.direction != last {
                    turns += 1;
                    last = verdict.direction;
                }
            }
        }
        // Up and down for each swing, and once more back from what the backlog asked for.
        prop_assert!(turns <= 4 * SWINGS, "{turns}");
    }
}
