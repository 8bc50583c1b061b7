//! When schedules fire.

use arbitrary::{Arbitrary, Unstructured};
use bulkhead_core::{Missed, Schedule, Timing};

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", ""];

#[derive(Debug, Arbitrary)]
struct Asked {
    kind: u8,
    zone: u8,
    after: u64,
    interval_ms: u64,
    jitter_ms: u64,
    start: u64,
    late: u64,
    expression: String,
}

/// A timing: what passes its check has fires in order, each after the moment that was asked
/// for, and a text is refused in words that change no terminal.
pub fn times(data: &[u8]) {
    let Ok(asked) = Asked::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let zone = ZONES.get(usize::from(asked.zone) % 8).copied();
    let zone = zone.map_or_else(|| asked.expression.clone(), str::to_owned);
    // Moments that people live in, and any.
    let moment = |at: u64| if asked.kind & 4 == 0 { at % 4_102_444_800_000 } else { at };
    let timing = match asked.kind % 4 {
        0 => Timing::Once { at: moment(asked.start) },
        1 => Timing::Every {
            interval_ms: asked.interval_ms % (1 << 36),
            jitter_ms: asked.jitter_ms % (1 << 36),
            start: moment(asked.start),
        },
        _ => Timing::Cron { expression: asked.expression.clone(), zone },
    };
    if let Ok(missed) = asked.expression.parse::<Missed>() {
        assert_eq!(missed.to_string().parse(), Ok(missed));
    }
    let after = moment(asked.after);
    let checked = timing.check();
    let fires = timing.upcoming("name", after, 8);
    assert_eq!(fires.first().copied(), timing.next_after("name", after));
    assert!(fires.iter().all(|fire| *fire > after), "{timing:?} {after} {fires:?}");
    assert!(fires.is_sorted_by(|a, b| a < b), "{timing:?} {after} {fires:?}");
    if let Err(error) = checked {
        let said = error.to_string();
        assert!(!said.chars().any(char::is_control), "{said:?}");
        return;
    }
    let schedule = Schedule {
        name: "name".to_owned(),
        timing,
        exclusive: false,
        missed: Missed::All { at_most: 100 },
        task: bulkhead_core::Template {
            task_type: "type".parse().unwrap(),
            tenant: Default::default(),
            priority: Default::default(),
            payload: Default::default(),
            metadata: Vec::new(),
            limits: Default::default(),
            terms: Default::default(),
        },
        origin: String::new(),
    };
    if let Some(next) = fires.first() {
        let now = next.saturating_add(asked.late % (366 * 24 * 3_600_000));
        let due = schedule.due(*next, now);
        assert!(due.is_ok(), "{schedule:?} {next} {now}");
    }
}
