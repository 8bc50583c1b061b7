//! What a host counts, held against what happened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bulkhead::HostOptions;
use bulkhead::metrics::{TABLE, TenantClasses};
use bulkhead_core::{
    LimitsRequest, Missed, Payload, Priority, QueueName, RetryRequest, Schedule, TaskType,
    Template, TenantName, Terms, Timing,
};
use bulkhead_queue::{Entry, NewTask, RedisBroker, RedisConfig};
use bulkhead_tests::{Exposition, Inside, Proxy, Running, eventually, install, install_as, task};

fn read(host: &Running) -> Exposition {
    Exposition::read(&host.metrics.render())
}

/// Wait until as many tasks are counted as ended: the count follows the settlement.
async fn counted(host: &Running, tasks: f64) -> Exposition {
    eventually("all ends are counted", || async {
        let exposed = read(host);
        (exposed.sum("bulkhead_tasks_ended_total", &[]) >= tasks).then_some(exposed)
    })
    .await
}

fn tenant(name: &str) -> TenantName {
    TenantName::new(name).unwrap()
}

const QUEUE: (&str, &str) = ("queue", "default");

#[tokio::test]
async fn what_happened_is_what_is_counted() {
    let inside = Inside::redis().await;
    let classes = TenantClasses {
        named: [(tenant("acme"), "gold".to_owned())].into(),
        ..TenantClasses::default()
    };
    let options = HostOptions {
        tenant_classes: classes,
        sample_every: Duration::from_millis(50),
        lease: Duration::from_millis(900),
        ..HostOptions::default()
    };
    let host = inside.host("counting", options).await;
    let mut views = Vec::new();
    for (tenant_name, priority, number) in [
        ("default", Priority::NORMAL, 3),
        ("acme", Priority::CRITICAL, 2),
        ("stranger", Priority::LOW, 1),
    ] {
        for at in 0..number {
            let tenant = tenant(tenant_name);
            let task = NewTask { tenant, priority, ..task("echo", format!("{at}")) };
            let id = inside.submit(task).await;
            views.push(inside.wait(id).await);
        }
    }
    views.push(inside.ended("reject", "no").await);
    let hasty = LimitsRequest { wall_ms: Some(50), ..LimitsRequest::default() };
    let once = RetryRequest { max_attempts: Some(1), ..RetryRequest::default() };
    let terms = Terms { retry: Some(once), ..Terms::default() };
    let late = NewTask { limits: hasty, terms: terms.clone(), ..task("sleep", "60000") };
    let late = inside.submit(late).await;
    views.push(inside.wait(late).await);
    let twice = RetryRequest {
        max_attempts: Some(2),
        backoff: Some(bulkhead_core::Backoff::Fixed { delay_ms: 1 }),
        ..RetryRequest::default()
    };
    let retried = Terms { retry: Some(twice), ..Terms::default() };
    let retried = inside.submit(NewTask { terms: retried, ..task("retry", "") }).await;
    views.push(inside.wait(retried).await);
    let stopped = inside.submit(task("sleep", "60000")).await;
    eventually("it runs", || async {
        let exposed = read(&host);
        (exposed.value("bulkhead_in_flight", &[QUEUE]) == Some(1.0)).then_some(exposed)
    })
    .await;
    // Two renewals of its lease.
    eventually("its lease is renewed", || async {
        let renewed = read(&host).value("bulkhead_lease_margin_seconds_count", &[QUEUE]);
        renewed.is_some_and(|renewed| renewed >= 2.0).then_some(())
    })
    .await;
    inside.broker.cancel(&QueueName::default(), &[stopped], 60_000).await.unwrap();
    views.push(inside.wait(stopped).await);

    let exposed = counted(&host, 10.0).await;
    let ended = |task_type, class, priority, outcome| {
        let labels = [
            QUEUE,
            ("type", task_type),
            ("tenant_class", class),
            ("priority", priority),
            ("outcome", outcome),
        ];
        exposed.value("bulkhead_tasks_ended_total", &labels).unwrap_or(0.0)
    };
    assert_eq!(ended("echo", "default", "normal", "completed"), 3.0);
    assert_eq!(ended("echo", "gold", "critical", "completed"), 2.0);
    assert_eq!(ended("echo", "other", "low", "completed"), 1.0);
    assert_eq!(ended("reject", "default", "normal", "failed"), 1.0);
    assert_eq!(ended("sleep", "default", "normal", "failed"), 1.0);
    assert_eq!(ended("retry", "default", "normal", "failed"), 1.0);
    assert_eq!(ended("sleep", "default", "normal", "cancelled"), 1.0);
    assert_eq!(exposed.sum("bulkhead_tasks_ended_total", &[]), 10.0);
    let attempts = |task_type, outcome| {
        let labels = [QUEUE, ("type", task_type), ("outcome", outcome)];
        exposed.value("bulkhead_attempts_total", &labels).unwrap_or(0.0)
    };
    assert_eq!(attempts("echo", "done"), 6.0);
    assert_eq!(attempts("retry", "retry"), 2.0, "every attempt counts");
    assert_eq!(attempts("reject", "reject"), 1.0);
    assert_eq!(attempts("sleep", "timed_out"), 1.0);
    assert_eq!(attempts("sleep", "cancelled"), 1.0);
    assert_eq!(exposed.sum("bulkhead_attempts_total", &[]), 11.0);

    // What was used is what the tasks' own records say.
    let mut used: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for view in &views {
        let reports = view.history.iter().filter_map(|entry| match entry {
            Entry::Ended(_, report) => Some(report),
            _ => None,
        });
        for report in reports {
            let task_type = view.task.as_ref().map_or("", |task| task.task_type.as_str());
            let sum = used.entry(task_type).or_default();
            sum.0 += report.metering.fuel;
            sum.1 += report.metering.cpu_us;
            sum.2 += report.metering.wall_us;
        }
    }
    for (task_type, (fuel, cpu_us, wall_us)) in used {
        let labels = [QUEUE, ("type", task_type)];
        let near = |name: &str, wanted: f64| {
            let value = exposed.value(name, &labels).unwrap_or_default();
            assert!(
                (value - wanted).abs() <= wanted * 1e-9,
                "{name} {task_type}: {value} {wanted}"
            );
        };
        near("bulkhead_fuel_total", fuel as f64);
        near("bulkhead_guest_cpu_seconds_total", cpu_us as f64 / 1e6);
        near("bulkhead_run_seconds_sum", wall_us as f64 / 1e6);
    }
    assert_eq!(exposed.sum("bulkhead_run_seconds_count", &[]), 11.0);
    assert_eq!(exposed.sum("bulkhead_peak_memory_bytes_count", &[]), 11.0);
    assert_eq!(exposed.sum("bulkhead_instantiate_seconds_count", &[]), 11.0);
    assert_eq!(exposed.sum("bulkhead_latency_seconds_count", &[QUEUE]), 6.0, "those completed");
    assert_eq!(exposed.sum("bulkhead_pickup_seconds_count", &[QUEUE]), 10.0, "first attempts");
    let critical = [QUEUE, ("priority", "critical")];
    assert_eq!(exposed.value("bulkhead_pickup_seconds_count", &critical), Some(2.0));
    // A lease of 900 ms is renewed after 300 ms.
    let margin = exposed.value("bulkhead_lease_margin_seconds_sum", &[QUEUE]).unwrap();
    assert!(margin > 0.0, "{margin}");

    // The host, its plugins and the broker.
    assert_eq!(exposed.value("bulkhead_permits", &[]), Some(64.0));
    assert!(exposed.value("bulkhead_pool_slots", &[]).unwrap() >= 64.0);
    assert_eq!(exposed.value("bulkhead_plugin_loads_total", &[("result", "accepted")]), Some(1.0));
    assert_eq!(exposed.value("bulkhead_plugins", &[("state", "serving")]), Some(1.0));
    assert_eq!(exposed.sum("bulkhead_compile_seconds_count", &[]), 1.0);
    let steps = exposed.value("bulkhead_redis_script_seconds_count", &[("script", "step")]);
    assert!(steps.unwrap() >= 10.0, "{steps:?}");
    let scripts = exposed.value("bulkhead_redis_round_trip_seconds_count", &[("call", "script")]);
    assert!(scripts.unwrap() >= steps.unwrap());
    eventually("the queue is sampled", || async {
        let exposed = read(&host);
        let dead = exposed.value("bulkhead_queue_tasks", &[QUEUE, ("state", "failed")]);
        (dead == Some(3.0)).then_some(())
    })
    .await;

    // All that is exposed is in the table, with the labels that are in it.
    let families: Vec<&str> = exposed.families().map(|(name, _)| name).collect();
    assert_eq!(families.len(), TABLE.len());
    for declared in TABLE {
        let family = match declared.kind {
            "counter" => declared.name.strip_suffix("_total").expect("a counter's name"),
            _ => declared.name,
        };
        assert!(families.contains(&family), "{family}");
        let sample = match declared.kind {
            "histogram" => format!("{}_sum", declared.name),
            _ => declared.name.to_owned(),
        };
        let labels = exposed.labels_of(&sample);
        assert!(labels.iter().all(|label| declared.labels.contains(label)), "{sample}: {labels:?}");
    }
}

/// A command that ends well.
const NOTHING: &str = r#"(component
    (core module $m (func (export "run") (result i32) (i32.const 0)))
    (core instance $i (instantiate $m))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance (export "wasi:cli/run@0.2.0") (export "run" (func $run))))"#;

#[tokio::test]
async fn labels_are_bounded_whatever_strangers_do() {
    const TYPES: usize = 130;
    const TASKS: usize = 1_000;
    let inside = Inside::embedded();
    let component = wat::parse_str(NOTHING).unwrap();
    for at in 0..TYPES {
        install_as(inside.folder(), &format!("t{at}"), &component);
    }
    let host = inside.host("bounded", HostOptions::default()).await;
    let all = (0..TASKS).map(|at| NewTask {
        tenant: tenant(&format!("tenant-{at}")),
        ..task(&format!("t{}", at % TYPES), "")
    });
    inside.client.submit_many(all.collect()).await.unwrap();
    let exposed = counted(&host, TASKS as f64).await;
    assert_eq!(exposed.sum("bulkhead_tasks_ended_total", &[]), TASKS as f64);
    assert_eq!(exposed.values_of("type").len(), 101, "a hundred and `other`");
    assert!(exposed.sum("bulkhead_tasks_ended_total", &[("type", "other")]) > 0.0);
    assert_eq!(exposed.values_of("tenant_class").into_iter().collect::<Vec<_>>(), ["other"]);
    assert!(!host.metrics.render().contains("tenant-"));
}

/// Whether a guest's calls are counted; the host.
async fn calls_are_counted(inside: &Inside) -> Running {
    install(inside.folder(), "notebook");
    std::fs::write(inside.folder().join("notebook.toml"), "[grants]\nkv = true\n").unwrap();
    let host = inside.host("calling", HostOptions::default()).await;
    eventually("the notebook serves", || async {
        (read(&host).value("bulkhead_plugins", &[("state", "serving")]) == Some(2.0)).then_some(())
    })
    .await;
    inside.ended("note", "a=1\na\nb+1").await;
    let exposed = counted(&host, 1.0).await;
    let calls =
        |capability| exposed.value("bulkhead_host_calls_total", &[("capability", capability)]);
    assert_eq!((calls("kv"), calls("http")), (Some(3.0), Some(0.0)));
    host
}

#[tokio::test]
async fn calls_of_guests_in_processes_are_counted() {
    calls_are_counted(&Inside::redis().await.apart()).await;
}

#[tokio::test]
async fn calls_of_guests_and_schedules_are_counted() {
    let inside = Inside::redis().await;
    let host = calls_are_counted(&inside).await;
    assert_eq!(read(&host).value("bulkhead_worker_processes", &[]), Some(0.0));
    let schedule = Schedule {
        name: "often".into(),
        timing: Timing::Every { interval_ms: 1_000, jitter_ms: 0, start: 0 },
        exclusive: false,
        missed: Missed::Once,
        task: Template {
            task_type: TaskType::new("noop").unwrap(),
            tenant: TenantName::default(),
            priority: Priority::default(),
            payload: Payload::new(Payload::TEXT, ""),
            metadata: Vec::new(),
            limits: LimitsRequest::default(),
            terms: Terms::default(),
        },
        origin: String::new(),
    };
    let now = inside.now().await;
    inside.broker.put_schedule(&QueueName::default(), &schedule, Some(now)).await.unwrap();
    eventually("it fires", || async {
        let fired = read(&host).value("bulkhead_schedule_lag_seconds_count", &[QUEUE]);
        fired.is_some_and(|fired| fired >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_file_is_counted_by_its_gate() {
    let inside = Inside::embedded();
    std::fs::write(inside.folder().join("bad.wasm"), b"no wasm").unwrap();
    let host = inside.host("refusing", HostOptions::default()).await;
    eventually("it is refused", || async {
        let exposed = read(&host);
        let refused = exposed.value("bulkhead_plugin_loads_total", &[("result", "invalid")]);
        let rejected = exposed.value("bulkhead_plugins", &[("state", "rejected")]);
        (refused == Some(1.0) && rejected == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_is_away_is_seen() {
    let inside = Inside::redis().await;
    let proxy = Proxy::to(inside.port()).await;
    let broker = RedisBroker::connect(RedisConfig::new(proxy.url())).await.unwrap();
    let host = inside.host_on(Arc::new(broker), "patient", HostOptions::default()).await;
    proxy.cut();
    eventually("it is away", || async {
        let exposed = read(&host);
        let failures = exposed.value("bulkhead_redis_failures_total", &[]);
        let away = exposed.value("bulkhead_broker_away", &[QUEUE]) == Some(1.0);
        (away && failures.is_some_and(|failures| failures > 0.0)).then_some(())
    })
    .await;
    proxy.mend();
    eventually("it is back", || async {
        let exposed = read(&host);
        let reconnects = exposed.value("bulkhead_redis_reconnects_total", &[]);
        let away = exposed.value("bulkhead_broker_away", &[QUEUE]) == Some(1.0);
        (!away && reconnects.is_some_and(|reconnects| reconnects > 0.0)).then_some(())
    })
    .await;
}
