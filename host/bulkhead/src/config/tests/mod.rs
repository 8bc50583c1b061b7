mod load;
mod plugins;
mod queues;
mod schedules;
mod secrets;
mod telemetry;
mod tenants;

use std::time::Duration;

use bulkhead_core::Backoff;

use super::*;

fn file(name: &str, text: &str) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name), text).unwrap();
    let sources = Sources { dir: dir.path().to_owned(), ..Sources::default() };
    (dir, sources)
}

fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn text_flag(flag: &'static str, key: &'static str, value: &str) -> Flag {
    Flag { flag, key, value: FlagValue::Text(value.into()) }
}

fn setting<'a>(config: &'a Config, key: &str) -> &'a Setting {
    config.settings().iter().find(|setting| setting.key == key).unwrap()
}

/// The problems, the temporary folder's name left out.
fn problems(name: &str, text: &str) -> String {
    let (dir, sources) = file(name, text);
    let error = Config::load(&sources).unwrap_err().to_string();
    error.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn nothing_given_is_the_defaults() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config.broker.to_string(), "redis://127.0.0.1:6379");
    assert_eq!(config.namespace, "bulkhead");
    assert_eq!(config.host.queues.len(), 1);
    assert_eq!(config.submit, SubmitLimits::default());
    assert_eq!(config.host.ceilings, bulkhead_core::Limits::default());
    assert!(config.settings().iter().all(|setting| setting.origin == Origin::Default));
}

#[test]
fn flags_win_over_environment_over_file_and_each_value_knows_its_place() {
    let (dir, mut sources) = file(
        "bulkhead.toml",
        "namespace = \"file\"\n[host]\nconcurrency = 1\nlease = \"1s\"\ngrace = \"1s\"\n",
    );
    sources.env =
        env(&[("BULKHEAD_HOST__CONCURRENCY", "2"), ("BULKHEAD_HOST__LEASE", "2s"), ("HOME", "/")]);
    sources.flags = vec![text_flag("--lease", "host.lease", "3s")];
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.host.concurrency, 2);
    assert_eq!(config.host.lease, Duration::from_secs(3));
    assert_eq!(config.host.grace, Duration::from_secs(1));

    let from = |key| setting(&config, key).origin.to_string();
    let path = dir.path().join("bulkhead.toml");
    assert_eq!(from("namespace"), format!("file {}", path.display()));
    assert_eq!(from("host.concurrency"), "env BULKHEAD_HOST__CONCURRENCY");
    assert_eq!(from("host.lease"), "flag --lease");
    assert_eq!(from("limits.fuel"), "default");
}

#[test]
fn the_file_is_the_flags_then_the_environments_then_the_folders() {
    let (dir, mut sources) = file("bulkhead.yaml", "namespace: folder");
    let named = |name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("namespace = \"{}\"", &name[..4])).unwrap();
        path
    };
    assert_eq!(Config::load(&sources).unwrap().namespace, "folder");
    let by_env = named("envi.toml");
    sources.env = env(&[("BULKHEAD_CONFIG", by_env.to_str().unwrap())]);
    assert_eq!(Config::load(&sources).unwrap().namespace, "envi");
    sources.file = Some(named("flag.toml"));
    assert_eq!(Config::load(&sources).unwrap().namespace, "flag");
    sources.file = Some(dir.path().join("missing.toml"));
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(error.contains("missing.toml: cannot read it"), "{error}");
}

#[test]
fn toml_and_yaml_say_the_same() {
    let toml = r#"
        [queues.mail]
        retention = "1h"
        concurrency = 3
        retry = { max_attempts = 2, backoff = { kind = "linear", initial = "1s", step = "500ms" } }
    "#;
    let yaml = "
queues:
  mail:
    retention: 1h
    concurrency: 3
    retry:
      max_attempts: 2
      backoff: { kind: linear, initial: 1s, step: 500ms }
";
    for (name, text) in [("bulkhead.toml", toml), ("bulkhead.yml", yaml)] {
        let (_dir, sources) = file(name, text);
        let config = Config::load(&sources).unwrap();
        let [queue] = config.host.queues.as_slice() else { panic!("one queue") };
        assert_eq!(queue.name.as_str(), "mail");
        assert_eq!(
            (queue.retention_ms, queue.policy.as_ref().and_then(|policy| policy.concurrency)),
            (3_600_000, Some(3))
        );
        assert_eq!(queue.dead_retention_ms, 7 * 24 * 3_600_000);
        assert_eq!(queue.retry.max_attempts, 2);
        let backoff = Backoff::Linear { initial_ms: 1_000, step_ms: 500, max_ms: 600_000 };
        assert_eq!(queue.retry.backoff, backoff);
        assert_eq!(setting(&config, "queues.mail.retry.backoff.step").value, "500ms");
    }
}

#[test]
fn unknown_keys_name_their_place_and_what_was_meant() {
    insta::assert_snapshot!(
        problems("bulkhead.toml", "brokr = \"x\"\n[host]\nconcurency = 1\n[queues.a]\nretires = 1\n[xyzzy]\n"),
        @"
    the configuration cannot be used:
      - `brokr` (file bulkhead.toml): there is no such key; did you mean `broker`?
      - `host.concurency` (file bulkhead.toml): there is no such key; did you mean `concurrency`?
      - `queues.a.retires` (file bulkhead.toml): there is no such key; did you mean `retry`?
      - `xyzzy` (file bulkhead.toml): there is no such key; here are `alerts`, `api`, `broker`, `config`, `grants`, `host`, `layers`, `limits`, `log`, `namespace`, `plugins`, `queues`, `schedules`, `secrets`, `secrets_key`, `submit`, `telemetry`, `tenants`
    "
    );
    let sources = Sources {
        env: env(&[
            ("BULKHEAD_HOST__LEASES", "1s"),
            ("BULKHEAD_SERVICE_HOST", "10.0.0.1"),
            ("BULKHEAD_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
        ]),
        ..Sources::default()
    };
    insta::assert_snapshot!(
        Config::load(&sources).unwrap_err(),
        @"the configuration cannot be used: `host.leases` (env BULKHEAD_HOST__LEASES): there is no such key; did you mean `lease`?"
    );
}

#[test]
fn values_of_the_wrong_type_name_their_key() {
    insta::assert_snapshot!(
        problems("bulkhead.toml", "host = 5\n[log]\nlevel = { a = 1 }\n"),
        @"
    the configuration cannot be used:
      - `host` (file bulkhead.toml): this is a section, with `admission`, `autoscale`, `concurrency`, `grace`, `guest_threads`, `isolation`, `isolation_strict`, `lease`, `memory`, `name`, `queues`, `scratch_dir`, `settlement_buffer`, `worker_idle`, `workers`
      - `log.level` (file bulkhead.toml): this takes one value and is no section
    "
    );
    insta::assert_snapshot!(
        problems("bulkhead.toml", "[host]\nconcurrency = \"many\"\n"),
        @r#"the configuration cannot be used: `host.concurrency` (file bulkhead.toml): string "many" is given, but this takes a whole number, zero or more"#
    );
    insta::assert_snapshot!(
        problems("bulkhead.toml", "[host]\nlease = 10\n"),
        @r#"the configuration cannot be used: `host.lease` (file bulkhead.toml): number `10` is given, but this takes a duration in quotes, such as "10s" or "250ms""#
    );
    insta::assert_snapshot!(
        problems("bulkhead.toml", "[limits]\nmemory = \"lots\"\n"),
        @"the configuration cannot be used: `limits.memory` (file bulkhead.toml): `lots` is no size; write bytes as a number or with a unit, such as 64 KiB, 64 MiB or 1 GiB"
    );
}

#[test]
fn values_that_make_no_sense_are_all_reported() {
    insta::assert_snapshot!(
        problems(
            "bulkhead.toml",
            r#"
            broker = "embedded"
            namespace = "a b"
            [host]
            concurrency = 0
            lease = "10ms"
            queues = ["ok", "not ok"]
            [limits]
            memory = "1 TiB"
            [log]
            level = "inof"
            format = "xml"
            [queues.q.retry]
            jitter = 2.0
            retry_on = ["timed_out", "sometimes"]
            backoff = { kind = "fixed", initial = "1s" }
            "#,
        ),
        @"
    the configuration cannot be used:
      - `broker` (file bulkhead.toml): `embedded` names no broker; write `embedded:PATH` for one that keeps tasks in a folder, or `embedded:` for one in memory
      - `namespace` (file bulkhead.toml): the namespace `a b` has the character ' '; use only A-Z a-z 0-9 . _ -, with a letter or digit first
      - `queues.q.retry.jitter` (file bulkhead.toml): 2 is not from 0 to 1
      - `queues.q.retry.retry_on` (file bulkhead.toml): `sometimes` is no failure kind; use some of retry, reject, trapped, out_of_fuel, out_of_memory, stack_overflow, result_too_large, hostcall_too_large, too_many_handles, too_many_instances, timed_out, cancelled, lease_lost, no_handler, unreadable
      - `queues.q.retry.backoff.initial` (file bulkhead.toml): a fixed backoff has delay and no `initial`
      - `limits.memory` (file bulkhead.toml): 1 TiB is not from 64 KiB to 4 GiB
      - `host.concurrency` (file bulkhead.toml): 0 is not from 1 to 10000
      - `host.queues` (file bulkhead.toml): the queue name `not ok` has the character ' '; use only A-Z a-z 0-9 . _ -, with a letter or digit first
      - `host.lease` (file bulkhead.toml): 10ms is not from 300ms to 1h
      - `log.format` (file bulkhead.toml): `xml` is no log format; use pretty, compact or json
      - `log.level` (file bulkhead.toml): `inof` is no log level; use off, error, warn, info, debug, trace or directives such as info,bulkhead_queue=debug
    "
    );
}

#[test]
fn a_file_that_does_not_parse_says_where_and_keeps_the_password() {
    let error = problems("bulkhead.toml", "broker = redis://ann:secret@h:1\n");
    assert!(error.contains("bulkhead.toml") && error.contains("line 1"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn the_password_is_in_no_setting() {
    let sources =
        Sources { env: env(&[("BULKHEAD_BROKER", "redis://:hunter2@h:1")]), ..Sources::default() };
    let config = Config::load(&sources).unwrap();
    assert_eq!(setting(&config, "broker").value, "redis://:***@h:1");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(config.redis().url.contains("hunter2"));
}

#[test]
fn text_in_the_environment_stays_text() {
    let sources = Sources {
        env: env(&[("BULKHEAD_NAMESPACE", "123"), ("BULKHEAD_HOST__QUEUES", "[a, b]")]),
        ..Sources::default()
    };
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.namespace, "123");
    let names: Vec<&str> = config.host.queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_plugin_folder_in_a_file_is_meant_from_there() {
    let (dir, mut sources) = file("bulkhead.toml", "[plugins]\ndir = \"handlers\"\n");
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.host.plugin_dir, dir.path().join("handlers"));
    sources.flags = vec![text_flag("--plugins", "plugins.dir", "handlers")];
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.host.plugin_dir, Path::new("handlers"));
}

#[test]
fn the_shown_settings_load_to_the_same_configuration() {
    let (_dir, sources) = file(
        "bulkhead.toml",
        "[limits]\nmemory = \"1536 KiB\"\n[queues.a]\nretention = \"90m\"\n[queues.b.retry.backoff]\nkind = \"fixed\"\n",
    );
    let config = Config::load(&sources).unwrap();
    let flags = config.settings().iter().filter(|setting| !setting.value.is_null());
    let again = flags
        .map(|setting| {
            let key: &'static str = setting.key.clone().leak();
            let value = match &setting.value {
                serde_json::Value::String(text) => FlagValue::Text(text.clone()),
                serde_json::Value::Number(number) if number.is_u64() => {
                    FlagValue::Number(number.as_u64().unwrap())
                }
                serde_json::Value::Array(items) => FlagValue::List(
                    items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
                ),
                // No flag takes a fraction; the defaults hold for both.
                _ => {
                    return Flag {
                        flag: "",
                        key: "namespace",
                        value: FlagValue::Text("bulkhead".into()),
                    };
                }
            };
            Flag { flag: "", key, value }
        })
        .collect();
    let again = Config::load(&Sources { flags: again, ..Sources::default() }).unwrap();
    let values = |config: &Config| -> Vec<_> {
        config.settings().iter().map(|s| (s.key.clone(), s.value.clone())).collect()
    };
    assert_eq!(values(&again), values(&config));
}

#[test]
fn the_machines_memory_is_a_default_that_says_where_it_comes_from() {
    let memory = Some(MachineMemory { bytes: 10 << 30, limited: true });
    let sources = Sources { memory, ..Sources::default() };
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.host.memory_bytes, Some(8 << 30));
    let shown = setting(&config, "host.memory");
    assert_eq!(shown.value, "8 GiB");
    assert_eq!(shown.origin.to_string(), "default: 80 % of the cgroup's limit");
    let said = Sources { env: env(&[("BULKHEAD_HOST__MEMORY", "1 GiB")]), ..sources };
    let config = Config::load(&said).unwrap();
    assert_eq!(config.host.memory_bytes, Some(1 << 30));
    assert!(matches!(setting(&config, "host.memory").origin, Origin::Env(_)));
    // A machine that says nothing bounds nothing.
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config.host.memory_bytes, None);
    assert!(config.settings().iter().all(|setting| setting.key != "host.memory"));
}

#[test]
fn a_memory_that_leaves_nothing_for_attempts_is_refused() {
    for (text, says) in [
        ("[host]\nmemory = \"200 MiB\"\n", "200 MiB leave nothing for attempts"),
        ("[host]\nmemory = \"1 KiB\"\n", "is not from"),
    ] {
        let error = problems("bulkhead.toml", text);
        assert!(error.contains("`host.memory`") && error.contains(says), "{error}");
    }
    let small = "[host]\nmemory = \"200 MiB\"\nconcurrency = 2\nguest_threads = 1\n";
    let (_dir, sources) = file("bulkhead.toml", small);
    let config = Config::load(&sources).unwrap();
    assert!(config.host.division().unwrap().unwrap().budget >= 16 << 20);
}
