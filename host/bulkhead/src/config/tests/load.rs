//! `[host.autoscale]` and `[host.admission]`.

use bulkhead_core::{AdmissionMarks, DiskMark, Mark, Pace};

use super::*;
use crate::options::{AdmissionOptions, AutoscaleOptions};

fn host(text: &str) -> HostOptions {
    let (_dir, sources) = file("bulkhead.toml", text);
    Config::load(&sources).unwrap().host
}

#[test]
fn nothing_said_is_a_fixed_concurrency_and_no_marks() {
    for text in ["", "[host.autoscale]\nmin = 4\n", "[host.admission]\ninterval = \"5s\"\n"] {
        let host = host(text);
        assert_eq!((host.autoscale, host.admission.marks.is_any()), (None, false), "{text}");
    }
}

#[test]
fn the_autoscaler_takes_what_is_said() {
    let enabled = |rest: &str| {
        let text = format!("[host]\nconcurrency = 32\n[host.autoscale]\nenabled = true\n{rest}");
        host(&text).autoscale.unwrap()
    };
    assert_eq!(enabled(""), AutoscaleOptions::default());
    let said = enabled(
        "min = 4\nmax = 16\ninterval = \"500ms\"\nup_signals = 3\nup_cooldown = \"1s\"\n\
         down_signals = 9\ndown_cooldown = \"2m\"\npick_up_target = \"250ms\"\n",
    );
    let expected = AutoscaleOptions {
        min: 4,
        max: Some(16),
        interval: Duration::from_millis(500),
        up: Pace { signals: 3, cooldown_ms: 1_000 },
        down: Pace { signals: 9, cooldown_ms: 120_000 },
        pick_up_target: Some(Duration::from_millis(250)),
    };
    assert_eq!(said, expected);
}

#[test]
fn marks_are_percent_and_a_lower_one_need_not_be_said() {
    let text = "broker = \"embedded:data\"\n[host.admission]\ncpu = 90\nmemory = 80\n\
                memory_resume = 60\ndisk_free = \"10 GiB\"\n";
    let AdmissionOptions { marks, folders, .. } = host(text).admission;
    let near = |mark: Option<Mark>, high: f64, low: f64| {
        mark.is_some_and(|m| (m.high - high).abs() < 1e-9 && (m.low - low).abs() < 1e-9)
    };
    let AdmissionMarks { cpu, memory, disk } = marks;
    assert!(near(cpu, 0.9, 0.81) && near(memory, 0.8, 0.6), "{marks:?}");
    assert_eq!(disk, Some(DiskMark { least_bytes: 10 << 30, resume_bytes: 11 << 30 }));
    assert!(folders.iter().any(|folder| folder.ends_with("data")), "{folders:?}");
}

fn layers(text: &str) -> Vec<String> {
    let host = host(text);
    host.queues[0].layers.iter().map(|layer| layer.name.clone()).collect()
}

#[test]
fn a_queue_has_the_layers_that_it_names_in_its_order() {
    assert!(layers("[queues.mail]\n").is_empty());
    let text = "[queues.mail]\nlayers = [\"slow\", \"logging\", \"quiet\", \"metrics\"]\n\
                [layers.slow]\nkind = \"rate_limit\"\nrate = \"5/m\"\nper = \"tenant\"\n\
                [layers.quiet]\nkind = \"redaction\"\nkeys = [\"iban\"]\n";
    assert_eq!(layers(text), ["slow", "logging", "quiet", "metrics"]);
}

#[test]
fn queues_that_name_one_layer_share_it() {
    let host = host(
        "[queues.a]\nlayers = [\"circuit_breaker\"]\n[queues.b]\nlayers = [\"circuit_breaker\"]\n",
    );
    let [a, b] = &host.queues[..] else { panic!("two queues") };
    assert!(std::sync::Arc::ptr_eq(&a.layers[0].layer, &b.layers[0].layer));
}

#[test]
fn layers_that_make_no_sense_are_all_reported() {
    insta::assert_snapshot!(
        problems(
            "bulkhead.toml",
            "[queues.a]\nlayers = [\"none\", \"logging\", \"logging\", \"timeout\", \"odd\"]\n\
             [layers.odd]\nkind = \"magic\"\n[layers.late]\nkind = \"timeout\"\nrate = \"1/s\"\n\
             [layers.fast]\nkind = \"rate_limit\"\nrate = \"often\"\n\
             [layers.circuit_breaker]\nfailures = 0\nshare = 2.0\nopen = \"1h\"\non = [\"sometimes\"]\n\
             [layers.payload_size]\n",
        ),
        @"
    the configuration cannot be used:
      - `layers.circuit_breaker.failures` (file bulkhead.toml): 0 is not from 1 to 1000000
      - `layers.circuit_breaker.share` (file bulkhead.toml): 2 is not from 0 to 1
      - `layers.circuit_breaker.open` (file bulkhead.toml): 1h is not from 100ms to 5m
      - `layers.circuit_breaker.on` (file bulkhead.toml): `sometimes` is no failure kind
      - `layers.fast.rate` (file bulkhead.toml): `often` is no rate; write a count and a period, such as `10/s`, `600/m`, `1/250ms` or `10/s burst 20`
      - `layers.late.rate` (file bulkhead.toml): a layer of kind `timeout` has no such key
      - `layers.late` (file bulkhead.toml): `after` is missing
      - `layers.odd.kind` (file bulkhead.toml): `magic` is no kind of layer; there are `logging`, `metrics`, `timeout`, `rate_limit`, `payload_size`, `redaction`, `circuit_breaker`, `upstream_breaker`
      - `layers.payload_size` (default): it says neither `payload` nor `result`
      - `queues.a.layers` (file bulkhead.toml): there is no layer `none`; give it a section `[layers.none]`
      - `queues.a.layers` (file bulkhead.toml): `logging` is there twice
      - `queues.a.layers` (file bulkhead.toml): there is no layer `timeout`; give it a section `[layers.timeout]`
    "
    );
}

#[test]
fn bounds_and_marks_that_make_no_sense_are_all_reported() {
    insta::assert_snapshot!(
        problems(
            "bulkhead.toml",
            "[host]\nconcurrency = 8\n[host.autoscale]\nmin = 9\nmax = 10\ninterval = \"1ms\"\n\
             up_signals = 0\n[host.admission]\ncpu = 101\nmemory_resume = 5\ndisk_free = \"2 GiB\"\n\
             disk_free_resume = \"1 GiB\"\n",
        ),
        @"
    the configuration cannot be used:
      - `host.autoscale.min` (file bulkhead.toml): 9 is not from 1 to 8
      - `host.autoscale.max` (file bulkhead.toml): 10 is not from 8 to 8
      - `host.autoscale.up_signals` (file bulkhead.toml): 0 is not from 1 to 1000
      - `host.autoscale.interval` (file bulkhead.toml): 1ms is not from 100ms to 1h
      - `host.admission.cpu` (file bulkhead.toml): 101 is not from 1 to 100
      - `host.admission.memory_resume` (file bulkhead.toml): it says nothing without `memory`
      - `host.admission.disk_free_resume` (file bulkhead.toml): 1 GiB is not from 2 GiB to 1024 TiB
    "
    );
}
