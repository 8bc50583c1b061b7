//! Tails of two distributions, exact but for rounding.

/// Terms of one sum at most.
const MAX_TERMS: usize = 100_000;

/// At least `hits` of `drawn`, where `drawn` of `all` are drawn and `marked` of all are marked:
/// how likely that is by chance. Fisher's exact test on one side.
pub(super) fn drawn_at_least(hits: u64, drawn: u64, marked: u64, all: u64) -> f64 {
    let (drawn, marked) = (drawn.min(all), marked.min(all));
    let most = drawn.min(marked);
    let least = (drawn + marked).saturating_sub(all);
    if hits <= least {
        return 1.0;
    }
    let ln_of = |hits: u64| {
        ln_choose(marked, hits) + ln_choose(all - marked, drawn - hits) - ln_choose(all, drawn)
    };
    let ratio = |hits: u64| {
        let (up, down) = (real(marked - hits) * real(drawn - hits), real(hits + 1));
        up / (down * real(all + hits + 1 - marked - drawn))
    };
    tail(hits, most, ln_of, ratio)
}

/// At least `hits` of `tries`, each of which hits with this probability.
pub(super) fn hit_at_least(hits: u64, tries: u64, probability: f64) -> f64 {
    if hits == 0 {
        return 1.0;
    }
    let (ln_hit, ln_miss) = (probability.ln(), (-probability).ln_1p());
    let ln_of =
        |hits: u64| ln_choose(tries, hits) + real(hits) * ln_hit + real(tries - hits) * ln_miss;
    let odds = probability / (1.0 - probability);
    tail(hits, tries, ln_of, |hits| odds * real(tries - hits) / real(hits + 1))
}

/// The sum of terms from `from` to `to`; the first by its logarithm, each next by its ratio to the
/// one before. It ends where terms no longer matter, or with 1 where there are too many of them:
/// then nothing is far from what chance brings.
fn tail(from: u64, to: u64, ln_of: impl Fn(u64) -> f64, ratio: impl Fn(u64) -> f64) -> f64 {
    if from > to {
        return 0.0;
    }
    let mut term = ln_of(from).exp();
    let mut sum = term;
    for at in (from..to).take(MAX_TERMS) {
        let next = ratio(at);
        term *= next;
        sum += term;
        if next < 1.0 && term < sum * 1e-15 {
            return sum.min(1.0);
        }
    }
    match to - from > MAX_TERMS as u64 {
        true => 1.0,
        false => sum.min(1.0),
    }
}

fn ln_choose(of: u64, choose: u64) -> f64 {
    ln_factorial(of) - ln_factorial(choose) - ln_factorial(of - choose)
}

/// By Stirling's series, which is exact to 1e-12 from 16 on.
fn ln_factorial(n: u64) -> f64 {
    if n < 16 {
        return (2..=n).map(|factor| real(factor).ln()).sum();
    }
    let n = real(n);
    let series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1_260.0 * n * n)) / (n * n)) / n;
    (n + 0.5) * n.ln() - n + 0.5 * std::f64::consts::TAU.ln() + series
}

/// A count as a number to reckon with; beyond 2^53 it is rounded.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
    }

    #[test]
    fn tails_are_what_tables_say() {
        // The lady who tasted tea.
        assert!(close(drawn_at_least(4, 4, 4, 8), 1.0 / 70.0));
        assert!(close(drawn_at_least(3, 4, 4, 8), 17.0 / 70.0));
        assert!(close(drawn_at_least(3, 3, 3, 303), 6.0 / (303.0 * 302.0 * 301.0)));
        assert!(close(drawn_at_least(0, 5, 3, 10), 1.0));
        assert!(close(hit_at_least(2, 2, 0.05), 0.0025));
        assert!(close(hit_at_least(1, 10, 0.05), 1.0 - 0.95_f64.powi(10)));
        assert!(close(hit_at_least(0, 10, 0.05), 1.0));
        assert!(close(hit_at_least(60, 100, 0.5), 0.028_443_966_820_49));
    }

    proptest! {
        #[test]
        fn tails_are_sums_of_all_terms(
            (all, marked, drawn) in (1_u64..60).prop_flat_map(|n| (Just(n), 0..=n, 0..=n)),
            hits in 0_u64..60,
        ) {
            let choose = |n: u64, k: u64| -> f64 {
                if k > n { return 0.0; }
                (0..k).map(|i| real(n - i) / real(k - i)).product()
            };
            let term = |h: u64| match drawn.checked_sub(h) {
                Some(rest) => choose(marked, h) * choose(all - marked, rest) / choose(all, drawn),
                None => 0.0,
            };
            let sum: f64 = (hits..=drawn.max(hits)).map(term).sum();
            let told = drawn_at_least(hits, drawn, marked, all);
            prop_assert!((sum - told).abs() < 1e-9, "{sum} {told}");
        }

        #[test]
        fn more_hits_are_less_likely(tries in 1_u64..5_000, a in 0_u64..5_000, b in 0_u64..5_000) {
            let (few, many) = (a.min(b).min(tries), a.max(b).min(tries));
            prop_assert!(hit_at_least(few, tries, 0.05) >= hit_at_least(many, tries, 0.05) - 1e-12);
        }
    }
}
