//! What a queue bounds, for whom, and how it retries.

use bulkhead_core::{Backoff, Bounds, QueueName, Rate, TaskType, TenantName, TenantPolicy};

use super::*;

#[test]
fn a_policy_is_read_in_full() {
    let (_dir, sources) = file(
        "bulkhead.toml",
        r#"
        [queues.mail]
        concurrency = 50
        rate = "100/s burst 200"
        events = 10_000
        [queues.mail.types.digest]
        concurrency = 2
        [queues.mail.keys."smtp:*"]
        rate = "10/s burst 20"
        [queues.mail.keys."*"]
        concurrency = 5
        [queues.mail.tenants.acme]
        weight = 40
        in_flight = 8
        rate = "5/s"
        pending = 100_000
        payload = "1 MiB"
        fuel_per_minute = 10_000_000_000
        gib_seconds_per_minute = 60
        when_spent = "refuse"
        [queues.mail.tenants."*"]
        in_flight = 2
        [queues.plain]
        retention = "1h"
        "#,
    );
    let config = Config::load(&sources).unwrap();
    let policy = config.queue(&QueueName::new("mail").unwrap()).policy.unwrap();
    assert_eq!((policy.concurrency, policy.events), (Some(50), Some(10_000)));
    assert_eq!(policy.rate, Some(Rate { interval_us: 10_000, burst: 200 }));
    let digest = policy.types[&TaskType::new("digest").unwrap()];
    assert_eq!(digest, Bounds { concurrency: Some(2), rate: None });
    assert_eq!(policy.key_bounds("smtp:a").unwrap().rate.unwrap().burst, 20);
    assert_eq!(policy.key_bounds("other").unwrap().concurrency, Some(5));
    let acme = policy.tenant(&TenantName::new("acme").unwrap());
    assert_eq!((acme.weight, acme.in_flight, acme.pending), (40, Some(8), Some(100_000)));
    assert_eq!((acme.payload_bytes, acme.rate.unwrap().burst), (Some(1 << 20), 5));
    assert_eq!(acme.fuel_per_minute, Some(10_000_000_000));
    assert_eq!(acme.kib_ms_per_minute, Some(60 * TenantPolicy::GIB_SECOND));
    assert_eq!(acme.when_spent, bulkhead_core::WhenSpent::Refuse);
    let other = policy.tenant(&TenantName::new("other").unwrap());
    assert_eq!(other, TenantPolicy { in_flight: Some(2), ..Default::default() });
    // A section that says nothing of it leaves the stored policy alone.
    assert_eq!(config.queue(&QueueName::new("plain").unwrap()).policy, None);

    let path = _dir.path().join("bulkhead.toml").display().to_string();
    for (key, value) in [
        ("queues.mail.rate", "100/s burst 200"),
        ("queues.mail.keys.smtp:*.rate", "10/s burst 20"),
        ("queues.mail.tenants.acme.payload", "1 MiB"),
    ] {
        let shown = setting(&config, key);
        assert_eq!(
            (shown.value.as_str(), shown.origin.to_string()),
            (Some(value), format!("file {path}"))
        );
    }
    assert_eq!(setting(&config, "queues.plain.rate").value, serde_json::Value::Null);
    let absent = "queues.mail.types.digest.rate";
    assert!(config.settings().iter().all(|setting| setting.key != absent));
}

#[test]
fn bounds_that_make_no_sense_name_their_key() {
    insta::assert_snapshot!(
        problems(
            "bulkhead.toml",
            r#"
            [queues.q]
            concurrency = 0
            rate = "fast"
            events = 0
            [queues.q.types."a b"]
            rate = "1/s"
            [queues.q.keys."a b*"]
            concurrency = 1
            [queues.q.keys.x]
            rate = "0/s"
            [queues.q.tenants."*"]
            weight = 0
            in_flight = 0
            pending = 2_000_000_000_000
            payload = "1 TiB"
            fuel_per_minute = 0
            gib_seconds_per_minute = 0
            when_spent = "never"
            [queues.q.tenants.poor]
            when_spent = "refuse"
            "#,
        ),
        @"
        the configuration cannot be used:
          - `queues.q.rate` (file bulkhead.toml): `fast` is no rate; write a count and a period, such as `10/s`, `600/m`, `1/250ms` or `10/s burst 20`
          - `queues.q.keys.x.rate` (file bulkhead.toml): `0/s` is no rate; write a count and a period, such as `10/s`, `600/m`, `1/250ms` or `10/s burst 20`
          - `queues.q.types.a b` (file bulkhead.toml): the task type `a b` has the character ' '; use only A-Z a-z 0-9 . _ -, with a letter or digit first
          - `queues.q.tenants.*.gib_seconds_per_minute` (file bulkhead.toml): 0 is not from 1 to 4294967
          - `queues.q.tenants.*.when_spent` (file bulkhead.toml): `never` is neither `wait` nor `refuse`
          - `queues.q.events` (file bulkhead.toml): 0 is not from 1 to 1000000
          - `queues.q.concurrency` (file bulkhead.toml): 0 is not from 1 to 1000000; pause to stop all
          - `queues.q.keys.a b*` (file bulkhead.toml): the key `a b*` has the character ' '; leave out spaces and control characters
          - `queues.q.tenants.poor.when_spent` (file bulkhead.toml): there is no quota to spend; give `fuel_per_minute` or `gib_seconds_per_minute`
          - `queues.q.tenants.*.weight` (file bulkhead.toml): 0 is not from 1 to 1000
          - `queues.q.tenants.*.in_flight` (file bulkhead.toml): 0 is not from 1 to 1000000; pause to stop all
          - `queues.q.tenants.*.pending` (file bulkhead.toml): 2000000000000 is not from 0 to 1000000000000
          - `queues.q.tenants.*.fuel_per_minute` (file bulkhead.toml): 0 is not from 1 to 4503599627370496
          - `queues.q.tenants.*.payload` (file bulkhead.toml): 1099511627776 bytes are not from 1 byte to 256 MiB
        "
    );
    insta::assert_snapshot!(
        problems(
            "bulkhead.toml",
            "[queues.q.keys.\"a*\"]\nrates = \"1/s\"\n[queues.q.tenants.t]\ninflight = 1\n[queues.q.types.t]\nweight = 1\n",
        ),
        @"
        the configuration cannot be used:
          - `queues.q.keys.a*.rates` (file bulkhead.toml): there is no such key; did you mean `rate`?
          - `queues.q.tenants.t.inflight` (file bulkhead.toml): there is no such key; did you mean `in_flight`?
          - `queues.q.types.t.weight` (file bulkhead.toml): there is no such key; here are `concurrency`, `rate`
        "
    );
}

#[test]
fn a_queue_retries_after_a_list_of_delays_and_up_to_an_age() {
    let (_dir, sources) = file(
        "bulkhead.toml",
        "[queues.q.retry]\nmax_age = \"6h\"\nbackoff = { kind = \"delays\", delays = [\"1s\", \"1m\"] }\n",
    );
    let config = Config::load(&sources).unwrap();
    let retry = config.retry(&QueueName::new("q").unwrap());
    assert_eq!(retry.backoff, Backoff::Delays { delays_ms: vec![1_000, 60_000] });
    assert_eq!((retry.max_age_ms, retry.max_attempts), (Some(6 * 3_600_000), 5));
    let shown = &setting(&config, "queues.q.retry.backoff.delays").value;
    assert_eq!(*shown, serde_json::json!(["1s", "1m"]));
    insta::assert_snapshot!(
        problems(
            "bulkhead.toml",
            "[queues.q.retry]\nmax_age = \"0s\"\nmax_attempts = 0\nbackoff = { kind = \"delays\", delays = [], delay = \"1s\" }\n[queues.r.retry.backoff]\nkind = \"random\"\n",
        ),
        @"
        the configuration cannot be used:
          - `queues.q.retry.max_attempts` (file bulkhead.toml): 0 is not from 1 to 1000000
          - `queues.q.retry.max_age` (file bulkhead.toml): 0s is not from 1s to 366d
          - `queues.q.retry.backoff.delay` (file bulkhead.toml): a delays backoff has delays and no `delay`
          - `queues.q.retry.backoff.delays` (file bulkhead.toml): 0 delays are listed; use 1 to 64
          - `queues.r.retry.backoff.kind` (file bulkhead.toml): `random` is no kind of backoff; use fixed, linear, exponential or delays
        "
    );
}
