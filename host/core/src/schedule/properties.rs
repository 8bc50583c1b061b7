//! What holds of every timing, at every moment.

use proptest::prelude::*;

use super::tests::{cron, every, ms, schedule};
use super::*;

fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Kolkata",
            "America/St_Johns",
            "Africa/Casablanca",
            "Pacific/Apia",
            "America/Santiago",
        ][..],
    )
}

fn expression() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "* * * * * *",
            "*/7 * * * *",
            "30 2 * * *",
            "15,45 0-3 * * *",
            "0 0 1 * *",
            "0 0 29 2 *",
            "59 59 23 * * SUN",
            "0 12 L * *",
            "30 1 13 * FRI",
            "@hourly",
            "@weekly",
        ][..],
    )
}

fn timing() -> impl Strategy<Value = Timing> {
    prop_oneof![
        (expression(), zone()).prop_map(|(expression, zone)| cron(expression, zone)),
        (1_000u64..400_000_000, 0.0f64..1.0, 0u64..2_000_000_000_000).prop_map(
            |(interval_ms, share, start)| every(
                interval_ms,
                (interval_ms as f64 * share) as u64 % interval_ms,
                start
            )
        ),
    ]
}

proptest! {
    #[test]
    fn looking_forward_and_looking_back_agree(
        timing in timing(), at in 946_684_800_000u64..2_500_000_000_000,
    ) {
        let fires = timing.fires("s").unwrap();
        let next = fires.next_after(at).unwrap();
        prop_assert!(next > at);
        // No fire lies between, from either side.
        prop_assert_eq!(fires.latest_until(next), Some(next));
        prop_assert_eq!(fires.next_after(next - 1), Some(next));
        if let Some(latest) = fires.latest_until(at) {
            prop_assert!(latest <= at);
            prop_assert_eq!(fires.next_after(latest), Some(next));
            prop_assert_eq!(fires.latest_until(next - 1), Some(latest));
        }
    }

    #[test]
    fn around_a_change_of_clocks_too(
        timing in (expression(), zone()).prop_map(|(e, z)| cron(e, z)),
        year in 2012u64..2036, minutes in 0u64..4_320, march in any::<bool>(),
    ) {
        // Three days about the usual changes, minute by minute.
        let about = if march { format!("{year}-03-28T00:00:00Z") } else { format!("{year}-10-30T00:00:00Z") };
        let at = ms(&about) + minutes * 60_000 + 250;
        let fires = timing.fires("s").unwrap();
        let next = fires.next_after(at).unwrap();
        let latest = fires.latest_until(at).unwrap();
        prop_assert!(latest <= at && at < next);
        prop_assert_eq!(fires.next_after(latest), Some(next));
        prop_assert_eq!(fires.latest_until(next - 1), Some(latest));
    }

    #[test]
    fn jitter_stays_in_its_bounds(
        interval_ms in 1_000u64..10_000_000, share in 0.0f64..1.0, number in 0u64..1_000_000,
    ) {
        let jitter_ms = (interval_ms as f64 * share) as u64 % interval_ms;
        let plain = number * interval_ms;
        let at = every(interval_ms, jitter_ms, 0).fires("s").unwrap().latest_until(plain + jitter_ms);
        prop_assert!(at.is_some_and(|at| plain <= at && at <= plain + jitter_ms));
    }

    #[test]
    fn what_is_due_is_bounded_ordered_and_not_in_the_future(
        timing in timing(), exclusive in any::<bool>(), at_most in 1u32..40,
        now in 1_600_000_000_000u64..1_900_000_000_000, late_ms in 0u64..4_000_000_000,
        which in 0usize..3,
    ) {
        let missed = [Missed::Skip, Missed::Once, Missed::All { at_most }][which];
        let schedule = Schedule { exclusive, ..schedule(timing, missed) };
        let Some(next) = schedule.next_after(now - late_ms) else { return Ok(()) };
        let due = schedule.due(next, now).unwrap();
        prop_assert!(due.fires.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(due.fires.iter().all(|at| (next..=now).contains(at)));
        prop_assert!(due.next.is_none_or(|after| after > now));
        let bound = match missed {
            Missed::Skip => 61,
            Missed::Once => 1,
            Missed::All { at_most } => at_most as usize,
        };
        let bound = if exclusive { 1 } else { bound };
        prop_assert!(due.fires.len() <= bound);
        if next <= now && missed != Missed::Skip {
            prop_assert!(!due.fires.is_empty());
        }
    }

    #[test]
    fn hostile_expressions_never_panic(text in "[@*/0-9,#LWA-Z? -]{0,40}", zone in "[A-Za-z/]{0,20}") {
        let timing = cron(&text, &zone);
        let _ = timing.check();
        let _ = cron(&text, "UTC").check();
    }
}
