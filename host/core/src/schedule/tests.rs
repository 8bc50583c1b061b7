//! Fire times in simulated time, over real zones.

use jiff::Timestamp;

use super::*;
use crate::QueueName;

const DAY_MS: u64 = 86_400_000;

pub(super) fn ms(text: &str) -> UnixMs {
    u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
}

fn show(at: UnixMs) -> String {
    Timestamp::from_millisecond(i64::try_from(at).unwrap()).unwrap().to_string()
}

pub(super) fn cron(expression: &str, zone: &str) -> Timing {
    Timing::Cron { expression: expression.into(), zone: zone.into() }
}

pub(super) fn every(interval_ms: u64, jitter_ms: u64, start: UnixMs) -> Timing {
    Timing::Every { interval_ms, jitter_ms, start }
}

pub(super) fn schedule(timing: Timing, missed: Missed) -> Schedule {
    Schedule {
        name: "s".into(),
        timing,
        exclusive: false,
        missed,
        task: Template {
            task_type: TaskType::new("t").unwrap(),
            tenant: TenantName::default(),
            priority: Priority::default(),
            payload: Payload::default(),
            metadata: Vec::new(),
            limits: LimitsRequest::default(),
            terms: Terms::default(),
        },
        origin: String::new(),
    }
}

#[test]
fn cron_follows_the_zones_wall_clock() {
    for (expression, zone, after, fires) in [
        // Clocks go forward from 02:00 to 03:00: what was meant for the hour that is left
        // out fires at its end, once.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"][..],
        ),
        (
            "*/20 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            &["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"],
        ),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:15:00Z",
            &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        ),
        // Clocks go back from 03:00 to 02:00: the hour that comes twice fires once, the
        // first time.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        ),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-24T23:45:00Z",
            &["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T12:00:00Z",
            &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
        ),
        (
            "30 2 * * *",
            "America/New_York",
            "2026-03-07T12:00:00Z",
            &["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
        ),
        // Half an hour: 02:00 to 02:30 is left out, 01:30 to 02:00 comes twice.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00:00Z",
            &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T00:00:00Z",
            &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
        ),
        // The day before the date line moved was left out as a whole.
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T00:00:00Z",
            &["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"],
        ),
        (
            "0 9 * * MON-FRI",
            "Asia/Kolkata",
            "2026-02-27T12:00:00Z",
            &["2026-03-02T03:30:00Z", "2026-03-03T03:30:00Z"],
        ),
        // Leap days, ends of months, weekdays.
        (
            "0 0 29 2 *",
            "UTC",
            "2026-01-01T00:00:00Z",
            &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"],
        ),
        ("0 0 29 2 *", "UTC", "2097-01-01T00:00:00Z", &["2104-02-29T00:00:00Z"]),
        (
            "0 0 31 * *",
            "UTC",
            "2026-01-31T00:00:00Z",
            &["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"],
        ),
        (
            "0 0 L * *",
            "UTC",
            "2028-02-01T00:00:00Z",
            &["2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"],
        ),
        // A day of the month and one of the week: either.
        (
            "0 0 13 * FRI",
            "UTC",
            "2026-02-06T12:00:00Z",
            &["2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"],
        ),
        ("0 0 * * 7", "UTC", "2026-02-06T12:00:00Z", &["2026-02-08T00:00:00Z"]),
        ("0 0 * * FRI#L", "UTC", "2026-02-06T12:00:00Z", &["2026-02-27T00:00:00Z"]),
        // Seconds, and moments between them.
        (
            "*/20 * * * * *",
            "UTC",
            "2026-02-06T12:00:39.999Z",
            &["2026-02-06T12:00:40Z", "2026-02-06T12:01:00Z"],
        ),
        ("@daily", "UTC", "2026-02-06T12:00:00Z", &["2026-02-07T00:00:00Z"]),
        ("@midnight", "Asia/Kolkata", "2026-02-06T12:00:00Z", &["2026-02-06T18:30:00Z"]),
        ("@Yearly", "UTC", "2026-02-06T12:00:00Z", &["2027-01-01T00:00:00Z"]),
    ] {
        let timing = cron(expression, zone);
        assert_eq!(timing.check(), Ok(()), "{expression}");
        let found: Vec<String> =
            timing.upcoming("s", ms(after), fires.len()).into_iter().map(show).collect();
        assert_eq!(found, fires, "{expression} in {zone}");
    }
}

#[test]
fn while_the_clock_shows_times_again_nothing_of_them_fires_again() {
    let timing = cron("* * * * * *", "Europe/Berlin");
    for after in ["2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T01:59:59.999Z"] {
        assert_eq!(timing.next_after("s", ms(after)).map(show).unwrap(), "2026-10-25T02:00:00Z");
    }
    let before = timing.next_after("s", ms("2026-10-25T00:59:58Z")).map(show);
    assert_eq!(before.unwrap(), "2026-10-25T00:59:59Z");
}

#[test]
fn what_cannot_be_kept_says_what_and_where() {
    for (timing, says) in [
        (cron("* * * *", "UTC"), "has 4 fields; write five"),
        (cron("* * * * * * 2026", "UTC"), "has 7 fields"),
        (cron("", "UTC"), "has 0 fields"),
        (cron("0 25 * * *", "UTC"), "the hour `25` of the cron expression"),
        (cron("60 * * * * *", "UTC"), "the second `60`"),
        (cron("0 0 1,,2 * *", "UTC"), "the day of the month `1,,2`"),
        (cron("0 0 * FOO *", "UTC"), "the month `FOO`"),
        (cron("0 0 * * \u{1b}", "UTC"), "the day of the week `\\u{1b}`"),
        (cron("@reboot", "UTC"), "@hourly"),
        (cron(&"*".repeat(999), "UTC"), "999 bytes"),
        (cron("0 0 30 2 *", "UTC"), "never comes"),
        (cron("* * * * *", "Mars/Base"), "`Mars/Base` is no IANA time zone"),
        (every(999, 0, 0), "999 ms"),
        (every(367 * DAY_MS, 0, 0), "366 days"),
        (every(1_000, 1_000, 0), "not less than the interval"),
        (every(1_000, 0, u64::MAX), "year 9999"),
        (Timing::Once { at: u64::MAX }, "year 9999"),
    ] {
        let error = timing.check().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains('\u{1b}'), "{error}");
    }
    for (at_most, ok) in [(0, false), (1, true), (1_000, true), (1_001, false)] {
        let schedule = schedule(every(1_000, 0, 0), Missed::All { at_most });
        assert_eq!(schedule.check().is_ok(), ok, "{at_most}");
    }
    let unnamed = Schedule { name: "a b".into(), ..schedule(every(1_000, 0, 0), Missed::Once) };
    assert!(unnamed.check().unwrap_err().to_string().contains("schedule name"));
}

#[test]
fn once_fires_once() {
    let timing = Timing::Once { at: 5_000 };
    assert_eq!(timing.upcoming("s", 0, 3), [5_000]);
    assert_eq!(timing.next_after("s", 5_000), None);
    let due = schedule(timing, Missed::Once).due(5_000, 9_000_000).unwrap();
    assert_eq!(due, Due { fires: vec![5_000], next: None });
}

#[test]
fn an_interval_counts_from_its_start_and_knows_no_zone() {
    let timing = every(7_000, 0, 1_000);
    assert_eq!(timing.upcoming("s", 0, 3), [1_000, 8_000, 15_000]);
    assert_eq!(timing.next_after("s", 1_000), Some(8_000));
    assert_eq!(timing.next_after("s", 7_999), Some(8_000));
}

#[test]
fn what_becomes_of_missed_fires_is_read_and_shown() {
    for text in ["skip", "once", "all 10", "all 1000"] {
        assert_eq!(text.parse::<Missed>().unwrap().to_string(), text);
    }
    assert_eq!("all".parse(), Ok(Missed::All { at_most: 1_000 }));
    for bad in ["", "never", "all x", "all -1", "all10"] {
        assert!(bad.parse::<Missed>().unwrap_err().contains("skip, once"), "{bad}");
    }
}

#[test]
fn missed_fires_follow_their_policy() {
    // One fire a second since second 10, and it is second 200 now.
    let fires = |missed, exclusive, next, now| {
        let schedule = Schedule { exclusive, ..schedule(every(1_000, 0, 0), missed) };
        let due = schedule.due(next, now).unwrap();
        assert!(due.fires.is_sorted());
        assert_eq!(due.next, Some(if next > now { next } else { now / 1_000 * 1_000 + 1_000 }));
        let ends = (due.fires.first().copied(), due.fires.last().copied());
        (due.fires.len(), ends.0.unwrap_or(0), ends.1.unwrap_or(0))
    };
    let all = |at_most| Missed::All { at_most };
    assert_eq!(fires(Missed::Skip, false, 10_000, 200_500), (60, 141_000, 200_000));
    assert_eq!(fires(Missed::Skip, false, 200_000, 200_000), (1, 200_000, 200_000));
    assert_eq!(fires(Missed::Once, false, 10_000, 200_500), (1, 200_000, 200_000));
    assert_eq!(fires(all(5), false, 10_000, 200_500), (5, 196_000, 200_000));
    assert_eq!(fires(all(1_000), false, 10_000, 200_500), (191, 10_000, 200_000));
    assert_eq!(
        fires(all(1_000), false, 10_000, 3_000_000_000),
        (1_000, 2_999_001_000, 3_000_000_000)
    );
    // Nothing is due yet.
    assert_eq!(fires(Missed::Once, false, 300_000, 200_000), (0, 0, 0));
    // Several at once would overlap.
    assert_eq!(fires(all(5), true, 10_000, 200_500), (1, 200_000, 200_000));
    assert_eq!(fires(Missed::Skip, true, 10_000, 200_500), (1, 200_000, 200_000));
}

#[test]
fn a_fire_that_is_over_a_minute_late_is_dropped_if_asked() {
    let hourly = schedule(every(3_600_000, 0, 0), Missed::Skip);
    let at = 3_600_000;
    assert_eq!(hourly.due(at, at + 59_999).unwrap().fires, [at]);
    assert_eq!(hourly.due(at, at + 60_000).unwrap().fires, Vec::<UnixMs>::new());
    assert_eq!(hourly.due(at, at + 60_000).unwrap().next, Some(2 * at));
}

#[test]
fn years_that_nobody_was_there_for_cost_no_more_than_a_minute() {
    let timing = cron("* * * * * *", "America/New_York");
    let now = ms("2026-11-01T05:30:00Z");
    let due = schedule(timing, Missed::All { at_most: 3 }).due(0, now).unwrap();
    let shown: Vec<String> = due.fires.into_iter().map(show).collect();
    assert_eq!(shown, ["2026-11-01T05:29:58Z", "2026-11-01T05:29:59Z", "2026-11-01T05:30:00Z"]);
}

#[test]
fn a_fire_is_one_task_whoever_computes_it() {
    let queue = QueueName::new("mail").unwrap();
    let mut definition = schedule(every(60_000, 0, 0), Missed::Once);
    definition.task.terms.expires_at = Some(30_000);
    definition.task.terms.deadline_at = Some(45_000);
    definition.task.terms.not_before = Some(1);
    let task = definition.task(&queue, 120_000, 120_007);
    assert_eq!(task.id, definition.task(&queue, 120_000, 999_999).id);
    assert_eq!(task.id.to_string(), "353ae069-d6c3-5c65-b522-9d58cef9d6ff");
    assert_eq!((task.submitted_at, task.terms.schedule.as_deref()), (120_007, Some("s")));
    assert_eq!((task.terms.expires_at, task.terms.deadline_at), (Some(150_000), Some(165_000)));
    assert_eq!(task.terms.not_before, None);
    assert!(task.metadata.contains(&("schedule_at".into(), "120000".into())));
    let others = [
        fire_id(&QueueName::default(), "s", 120_000),
        fire_id(&queue, "t", 120_000),
        fire_id(&queue, "s", 120_001),
    ];
    assert!(others.iter().all(|id| *id != task.id));
}

#[test]
fn jitter_spreads_evenly() {
    let timing = every(10_000, 999, 0);
    let mut tenths = [0u32; 10];
    for at in timing.upcoming("s", 9_999, 1_000) {
        tenths[usize::try_from(at % 10_000 / 100).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| (60..=140).contains(count)), "{tenths:?}");
}
