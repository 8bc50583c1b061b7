//! What is said of logs, metrics, traces and alerts.

use bulkhead_core::{AlertRule, AlertSignal, Bound, TenantName};

use super::*;

#[test]
fn nothing_said_is_nothing_exported_and_nothing_warned_of() {
    let config = Config::load(&Sources::default()).unwrap();
    assert!(config.otlp.is_none() && config.host.alerts.is_empty());
    assert!(!config.host.log_payloads);
    assert_eq!(config.host.sample_every, Duration::from_secs(10));
    assert_eq!(config.host.tenant_classes, Default::default());
    assert_eq!(setting(&config, "telemetry.otlp.sample_ratio").value, 1.0);
}

#[test]
fn a_telemetry_section_is_read_and_shown() {
    let (_dir, mut sources) = file(
        "bulkhead.toml",
        r#"
        [log]
        payloads = true
        [telemetry]
        sample_every = "5s"
        [telemetry.otlp]
        endpoint = "https://collector.example.com/otlp"
        sample_ratio = 0.25
        headers = { authorization = { env = "OTLP_TOKEN" } }
        [tenants.acme]
        class = "gold"
        [tenants."*"]
        class = "guests"
        "#,
    );
    sources.env = env(&[("OTLP_TOKEN", "s3cret"), ("BULKHEAD_TELEMETRY__OTLP__SERVICE_NAME", "h")]);
    let config = Config::load(&sources).unwrap();
    assert!(config.host.log_payloads);
    assert_eq!(config.host.sample_every, Duration::from_secs(5));
    let classes = &config.host.tenant_classes;
    assert_eq!(classes.class("acme"), "gold");
    assert_eq!((classes.class("other"), classes.class("default")), ("guests", "default"));
    assert!(classes.named.contains_key(&TenantName::new("acme").unwrap()));
    let otlp = config.otlp.as_ref().unwrap();
    assert_eq!((otlp.sample_ratio, otlp.service_name.as_str()), (0.25, "h"));
    assert_eq!(otlp.endpoint.to_string(), "https://collector.example.com:443");
    let (name, given) = &otlp.headers[0];
    assert_eq!((name.as_str(), given.secret().unwrap().expose()), ("authorization", "s3cret"));
    config.check_secrets().unwrap();
    sources.env.clear();
    let missing = Config::load(&sources).unwrap().check_secrets().unwrap_err().to_string();
    let place = "`telemetry.otlp.headers.authorization`";
    assert!(missing.contains(place) && missing.contains("`OTLP_TOKEN` is not set"), "{missing}");
    let shown = setting(&config, "telemetry.otlp.headers.authorization.env");
    assert_eq!(shown.value, "OTLP_TOKEN", "where it is, and not what it is");
    assert_eq!(setting(&config, "tenants.acme.class").value, "gold");
}

#[test]
fn alerts_are_read_with_the_units_of_their_signals() {
    let (_dir, sources) = file(
        "bulkhead.toml",
        r#"
        [alerts.backlog]
        signal = "oldest_age"
        queue = "mail"
        above = "5m"
        clear = "1m"
        for = "2m"
        webhook = "http://127.0.0.1:9/hook"
        [alerts.success]
        signal = "success_rate"
        below = 0.95
        window = "10m"
        [alerts.depth]
        signal = "depth"
        above = 1000
        "#,
    );
    let config = Config::load(&sources).unwrap();
    let [backlog, depth, success] = config.host.alerts.as_slice() else { panic!("three") };
    assert_eq!(backlog.name, "backlog");
    assert_eq!(backlog.queue.as_ref().unwrap().as_str(), "mail");
    let rule = |signal, bound, clear, for_ms| AlertRule { signal, bound, clear, for_ms };
    let oldest = rule(AlertSignal::OldestAge, Bound::Above(300.0), 60.0, 120_000);
    assert_eq!(backlog.rule, oldest);
    assert_eq!(backlog.webhook.as_ref().unwrap().to_string(), "http://127.0.0.1:9");
    assert_eq!(success.rule, rule(AlertSignal::SuccessRate, Bound::Below(0.95), 0.95, 0));
    assert_eq!(success.window, Duration::from_secs(600));
    assert_eq!((depth.queue.clone(), depth.webhook.clone()), (None, None));
    assert_eq!(depth.rule, rule(AlertSignal::Depth, Bound::Above(1_000.0), 1_000.0, 0));
    assert_eq!(setting(&config, "alerts.backlog.for").value, "2m");
    assert_eq!(setting(&config, "alerts.backlog.webhook").value, "http://127.0.0.1:9/…");
}

#[test]
fn what_makes_no_sense_is_said_with_its_place() {
    insta::assert_snapshot!(
        problems(
            "bulkhead.toml",
            r#"
            [telemetry]
            sample_every = "10ms"
            [telemetry.otlp]
            endpoint = "collector:4318"
            protocol = "grpc"
            sample_ratio = 2.0
            headers = { "a b" = { env = "X", file = "y" } }
            [tenants.acme]
            class = "a b"
            [alerts.none]
            above = 1
            [alerts.both]
            signal = "depth"
            above = 1
            below = 2
            [alerts.unit]
            signal = "wait"
            above = 5
            [alerts.share]
            signal = "error_rate"
            above = 5
            [alerts.side]
            signal = "depth"
            above = 5
            clear = 6
            [alerts.hook]
            signal = "dept"
            above = 5
            webhook = "http://u:p@h/"
            "#
        ),
        @r#"
    the configuration cannot be used:
      - `tenants.acme.class` (file bulkhead.toml): the class `a b` has the character ' '; use only A-Z a-z 0-9 . _ -, with a letter or digit first
      - `telemetry.sample_every` (file bulkhead.toml): 10ms is not from 1s to 1h
      - `alerts.both` (file bulkhead.toml): say either `above` or `below`
      - `alerts.hook.webhook` (file bulkhead.toml): it is no address to send to: leave out the user and the password
      - `alerts.hook.signal` (file bulkhead.toml): `dept` is no signal; use one of depth, oldest_age, error_rate, success_rate, p95_latency, wait
      - `alerts.none` (file bulkhead.toml): it has no `signal`; name one of depth, oldest_age, error_rate, success_rate, p95_latency, wait
      - `alerts.share.above` (file bulkhead.toml): `error_rate` is a share, from 0 to 1
      - `alerts.side.clear` (file bulkhead.toml): it is on the side on which the alert fires
      - `alerts.unit.above` (file bulkhead.toml): `wait` is a time; write a duration such as "30s"
      - `telemetry.otlp.protocol` (file bulkhead.toml): `grpc` is not spoken; use http/protobuf
      - `telemetry.otlp.sample_ratio` (file bulkhead.toml): 2 is not from 0 to 1
      - `telemetry.otlp.headers.a b` (file bulkhead.toml): it is no name of a header
      - `telemetry.otlp.headers.a b` (file bulkhead.toml): name exactly one place: `env`, `file` or, for a secret, `stored = true`
      - `telemetry.otlp.endpoint` (file bulkhead.toml): it is no address to send to: it begins with neither http:// nor https://
    "#
    );
}
