//! The rule by simulation: fixed seeds, a look after every few tasks as hosts take them.

use proptest::prelude::*;

use super::*;

const RULE: CanaryRule = CanaryRule { rounds: 3, attempts: 500 };

/// Splitmix: as even as this needs.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0.0 to 1.0.
    fn unit(&mut self) -> f64 {
        real(self.next() >> 11) / real(1 << 53)
    }

    fn hits(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A time with a long tail, around so many microseconds.
    fn time(&mut self, around_us: f64) -> u64 {
        let spread = -(1.0 - self.unit()).ln();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small")]
        let us = (around_us * (0.5 + spread)) as u64;
        us
    }
}

/// How a version behaves.
#[derive(Clone, Copy)]
struct Nature {
    fails: f64,
    around_us: f64,
}

fn attempt(side: &mut Side, nature: Nature, dice: &mut Dice) {
    side.attempts += 1;
    if dice.hits(nature.fails) {
        side.failures += 1;
    } else {
        side.wall.add(WallTimes::bucket(dice.time(nature.around_us)), 1);
    }
}

/// A whole canary; the attempts of the new version until it was found worse, if it was.
fn run(old: Nature, new: Nature, seed: u64) -> Result<(), (usize, u64)> {
    let mut dice = Dice(seed);
    for (round, share) in [0.05, 0.25, 0.5].into_iter().enumerate() {
        let mut sides = [Side::default(), Side::default()];
        loop {
            for _ in 0..17 {
                let is_new = dice.hits(share);
                let nature = if is_new { new } else { old };
                attempt(&mut sides[usize::from(is_new)], nature, &mut dice);
            }
            match RULE.judge(&sides[1], &sides[0]) {
                Judgement::Worse(_) => return Err((round, sides[1].attempts)),
                Judgement::Enough => break,
                Judgement::Open => {}
            }
        }
    }
    Ok(())
}

fn nature(fails: f64, around_us: f64) -> Nature {
    Nature { fails, around_us }
}

#[test]
fn an_equal_version_is_hardly_ever_found_worse() {
    for fails in [0.0, 0.001, 0.02, 0.3] {
        let same = nature(fails, 20_000.0);
        let wrong = (0..200).filter(|seed| run(same, same, *seed).is_err()).count();
        // At most 1 % of them, 2 of 200, are to be expected; more than 6 happen in 1 of 200 cases.
        assert!(wrong <= 6, "{wrong} of 200 where {fails} fail");
    }
}

#[test]
fn a_broken_version_is_found_at_its_third_failure() {
    for seed in 0..100 {
        let (round, attempts) = run(nature(0.0, 2_000.0), nature(1.0, 2_000.0), seed).unwrap_err();
        assert!(round == 0 && attempts <= 8, "{attempts} attempts");
    }
    // Even where one of twenty attempts fails anyway.
    for seed in 0..100 {
        let (round, attempts) = run(nature(0.05, 2_000.0), nature(1.0, 2_000.0), seed).unwrap_err();
        assert!(round == 0 && attempts <= 12, "{attempts} attempts");
    }
}

#[test]
fn a_version_that_fails_now_and_then_is_found() {
    let (good, bad) = (nature(0.01, 2_000.0), nature(0.06, 2_000.0));
    let found = (0..100).filter(|seed| matches!(run(good, bad, *seed), Err((0, _)))).count();
    assert!(found >= 90, "{found} of 100 in the first round");
}

#[test]
fn a_version_that_takes_twice_as_long_is_found() {
    let (good, slow) = (nature(0.0, 20_000.0), nature(0.0, 44_000.0));
    let found = (0..100).filter(|seed| matches!(run(good, slow, *seed), Err((0, _)))).count();
    assert!(found >= 90, "{found} of 100 in the first round");
    // Within the margin it is not.
    let slower = nature(0.0, 24_000.0);
    let found = (0..100).filter(|seed| run(good, slower, *seed).is_err()).count();
    assert!(found <= 3, "{found} of 100");
    // A few milliseconds do not count, however many times longer that is.
    let (fast, slower) = (nature(0.0, 100.0), nature(0.0, 800.0));
    assert!((0..50).all(|seed| run(fast, slower, seed).is_ok()));
}

#[test]
fn bounds_add_up_to_what_is_said() {
    let all: f64 = (LEAST_BAD..200_000).map(|bad| RULE.bound(bad)).sum();
    assert!(all * 3.0 <= ALPHA && all * 3.0 > ALPHA * 0.99, "{all}");
}

#[test]
fn it_is_said_why() {
    let side = |attempts, failures| Side { attempts, failures, ..Side::default() };
    let Judgement::Worse(evidence) = RULE.judge(&side(3, 3), &side(300, 0)) else { panic!() };
    assert_eq!(
        evidence.to_string(),
        "it failed 3 of 3 attempts, the old version 0 of 300: by chance that happens with \
         p = 2.2e-7, and below 4.2e-4 it counts"
    );
    assert_eq!(RULE.judge(&side(2, 2), &side(9_000, 0)), Judgement::Open);
    assert_eq!(RULE.judge(&side(500, 0), &side(499, 0)), Judgement::Open, "too little to compare");
    assert_eq!(RULE.judge(&side(500, 2), &side(500, 0)), Judgement::Enough);
    let mut times = [WallTimes::default(), WallTimes::default()];
    times[0].add(WallTimes::bucket(90_000), 50);
    times[1].add(WallTimes::bucket(2_000), 400);
    let [new, old] = times.map(|wall| Side { attempts: wall.total(), wall, ..Side::default() });
    let Judgement::Worse(evidence) = RULE.judge(&new, &old) else { panic!() };
    let said = evidence.to_string();
    assert!(said.starts_with("50 of its 50 attempts took longer than 7.2 ms"), "{said}");
}

proptest! {
    #[test]
    fn no_counts_are_too_odd(
        counts in prop::array::uniform6(prop_oneof![0_u64..50, any::<u64>().prop_map(|n| n >> 12)]),
    ) {
        let [a, b, c, d, e, f] = counts;
        let side = |attempts, failures, slow| {
            let mut wall = WallTimes::default();
            wall.add(90, slow);
            Side { attempts, failures, excused: 0, wall }
        };
        // Whatever somebody wrote into the broker: an answer, and no more failures than attempts.
        let rule = CanaryRule { rounds: 0, attempts: 0 };
        if let Judgement::Worse(Evidence::Fails { new, chance, .. }) =
            rule.judge(&side(a, b, c), &side(d, e, f))
        {
            prop_assert!(new.0 <= new.1 && (0.0..=1.0).contains(&chance));
        }
    }
}
