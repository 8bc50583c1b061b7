//! Schedules: when they fire and what they submit.

use bulkhead_core::{Missed, Payload, Priority, Schedule, Timing};

use super::*;

fn schedules(text: &str) -> Vec<crate::QueueSchedule> {
    let (_dir, sources) = file("bulkhead.toml", text);
    Config::load(&sources).unwrap().host.schedules.unwrap()
}

#[test]
fn without_a_section_the_stored_ones_stay_and_an_empty_one_says_none() {
    assert_eq!(Config::load(&Sources::default()).unwrap().host.schedules, None);
    assert_eq!(schedules("[schedules]\n"), []);
}

#[test]
fn each_way_of_firing_is_read() {
    let found = schedules(
        r#"
        [schedules.a-nightly]
        type = "report"
        cron = "0 30 2 * * MON-FRI"
        zone = "Europe/Berlin"
        [schedules.b-poll]
        type = "poll"
        every = "90s"
        jitter = "10s"
        start = "2026-01-01T00:00:00Z"
        [schedules.c-once]
        type = "launch"
        at = 2026-12-24T18:00:00+01:00
        [schedules.d-plain]
        type = "poll"
        every = "1h"
        "#,
    );
    let timings: Vec<Timing> = found.into_iter().map(|found| found.schedule.timing).collect();
    let expression = "0 30 2 * * MON-FRI".to_owned();
    assert_eq!(
        timings,
        [
            Timing::Cron { expression, zone: "Europe/Berlin".into() },
            Timing::Every { interval_ms: 90_000, jitter_ms: 10_000, start: 1_767_225_600_000 },
            Timing::Once { at: 1_798_131_600_000 },
            Timing::Every { interval_ms: 3_600_000, jitter_ms: 0, start: 0 },
        ]
    );
}

#[test]
fn a_schedule_says_all_of_its_task() {
    let text = r#"
        [schedules.nightly]
        queue = "reports"
        type = "report"
        cron = "@daily"
        exclusive = true
        missed = "all 3"
        json = { month = 5, names = ["a"] }
        metadata = { layout = "page" }
        tenant = "acme"
        priority = "high"
        key = "db:main"
        limits = { wall = "10m", memory = "64 MiB" }
        retry = { max_attempts = 2, backoff = { kind = "fixed", delay = "1m" } }
        retention = "2d"
        expires = "30m"
        deadline = "1h"
    "#;
    let (_dir, sources) = file("bulkhead.toml", text);
    let config = Config::load(&sources).unwrap();
    let [found] = config.host.schedules.as_deref().unwrap() else { panic!("one schedule") };
    let Schedule { name, timing, exclusive, missed, task, origin } = &found.schedule;
    assert_eq!(
        (name.as_str(), found.queue.as_str(), origin.as_str()),
        ("nightly", "reports", "config")
    );
    assert_eq!(*timing, Timing::Cron { expression: "@daily".into(), zone: "UTC".into() });
    assert_eq!((*exclusive, *missed), (true, Missed::All { at_most: 3 }));
    assert_eq!(task.payload, Payload::new(Payload::JSON, r#"{"month":5,"names":["a"]}"#));
    assert_eq!(task.metadata, [("layout".to_owned(), "page".to_owned())]);
    assert_eq!((task.tenant.as_str(), task.priority), ("acme", Priority::HIGH));
    assert_eq!((task.limits.wall_ms, task.limits.memory_bytes), (Some(600_000), Some(64 << 20)));
    assert_eq!(task.terms.retry.as_ref().unwrap().max_attempts, Some(2));
    assert_eq!(task.terms.retry.as_ref().unwrap().jitter, None);
    assert_eq!(task.terms.key.as_ref().unwrap().as_str(), "db:main");
    let times = (task.terms.retention_ms, task.terms.expires_at, task.terms.deadline_at);
    assert_eq!(times, (Some(172_800_000), Some(1_800_000), Some(3_600_000)));

    let json = setting(&config, "schedules.nightly.json");
    assert_eq!(json.value, serde_json::json!({ "month": 5, "names": ["a"] }));
    assert!(json.origin.to_string().starts_with("file "), "{}", json.origin);
    assert!(config.settings().iter().all(|setting| setting.key != "schedules.nightly.every"));
}

#[test]
fn payloads_are_text_json_or_a_file_beside_the_configuration() {
    let (dir, sources) = file(
        "bulkhead.toml",
        r#"
        [schedules.a]
        type = "t"
        every = "1m"
        payload = "hello"
        [schedules.b]
        type = "t"
        every = "1m"
        file = "page.md"
        [schedules.c]
        type = "t"
        every = "1m"
        payload = "<x/>"
        content_type = "application/xml"
        "#,
    );
    std::fs::write(dir.path().join("page.md"), "# Page").unwrap();
    let found = Config::load(&sources).unwrap().host.schedules.unwrap();
    let payloads: Vec<&Payload> = found.iter().map(|found| &found.schedule.task.payload).collect();
    assert_eq!(*payloads[0], Payload::new(Payload::TEXT, "hello"));
    assert_eq!(*payloads[1], Payload::new("text/markdown; charset=utf-8", "# Page"));
    assert_eq!(*payloads[2], Payload::new("application/xml", "<x/>"));
}

#[test]
fn schedules_that_make_no_sense_are_all_reported() {
    insta::assert_snapshot!(
        problems(
            "bulkhead.toml",
            r#"
            [submit]
            payload_bytes = 3
            [schedules.a]
            cron = "0 25 * * *"
            type = "t"
            [schedules.b]
            type = "t"
            cron = "@daily"
            every = "1m"
            [schedules.c]
            every = "1s"
            jitter = "2s"
            [schedules.d]
            type = "t"
            every = "1m"
            zone = "Europe/Berlin"
            missed = "sometimes"
            [schedules.e]
            type = "t"
            at = "tomorrow"
            payload = "long"
            json = 1
            [schedules.f]
            type = "t"
            at = "2026-12-24T18:00:00Z"
            payload = "long"
            expires = "0s"
            retry = { jitter = 7 }
            [schedules.g]
            type = "t"
            cron = "@daily"
            zone = "Europe/Berln"
            file = "missing.json"
            [schedules."h h"]
            type = "t"
            every = "1s"
            "#,
        ),
        @"
        the configuration cannot be used:
          - `schedules.a.cron` (file bulkhead.toml): the hour `25` of the cron expression is not understood; use 0 to 23, *, lists `1,2`, ranges `1-5` and steps `*/6`
          - `schedules.b` (file bulkhead.toml): it has to say when it fires with one of `cron`, `every` and `at`
          - `schedules.c` (file bulkhead.toml): it has no `type`; name the task type that it submits
          - `schedules.c.jitter` (file bulkhead.toml): the jitter of 2000 ms is not less than the interval of 1000 ms; fires would change places
          - `schedules.d.missed` (file bulkhead.toml): `sometimes` is no way with missed fires; use skip, once, all or all 10 (the latest ten)
          - `schedules.d.zone` (file bulkhead.toml): this belongs to `cron`, which is not there
          - `schedules.e` (file bulkhead.toml): it has more than one of `payload`, `json` and `file`
          - `schedules.e.at` (file bulkhead.toml): `tomorrow` is no time; write one such as 2026-12-24T18:00:00+01:00 or 2026-12-24T17:00:00Z
          - `schedules.f` (file bulkhead.toml): its payload has 4 B; `submit.payload_bytes` is 3 B
          - `schedules.f.expires` (file bulkhead.toml): 0s is not from 1s to 366d
          - `schedules.f.retry.jitter` (file bulkhead.toml): 7 is not from 0 to 1
          - `schedules.g.file` (file bulkhead.toml): `missing.json` cannot be read: No such file or directory (os error 2)
          - `schedules.g.zone` (file bulkhead.toml): `Europe/Berln` is no IANA time zone; write one such as `Europe/Berlin` or `UTC`
          - `schedules.h h` (file bulkhead.toml): the schedule name `h h` has the character ' '; use only A-Z a-z 0-9 . _ -, with a letter or digit first
        "
    );
    insta::assert_snapshot!(
        problems("bulkhead.toml", "[schedules.a]\ncrom = \"@daily\"\nlimits = { wal = \"1s\" }\n"),
        @"
        the configuration cannot be used:
          - `schedules.a.crom` (file bulkhead.toml): there is no such key; did you mean `cron`?
          - `schedules.a.limits.wal` (file bulkhead.toml): there is no such key; did you mean `wall`?
        "
    );
}
