//! Schedules: each fire is one task, whoever computes it and however many look.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bulkhead::{Compiler, Host, HostOptions, QueueOptions, QueueSchedule};
use bulkhead_core::{
    LimitsRequest, Missed, Outcome, Payload, Priority, QueueName, Schedule, State, TaskType,
    Template, TenantName, Terms, Timing, UnixMs,
};
use bulkhead_queue::{Broker, ListFilter, ScheduleView, Signal, TaskView, Topic};
use bulkhead_tests::{Inside, eventually, on_both_brokers};

on_both_brokers!(
    three_hosts_fire_each_time_once,
    fires_that_nobody_was_there_for_follow_their_policy,
    an_exclusive_schedule_never_runs_twice_at_a_time,
    a_schedule_that_a_host_is_told_of_fires_there,
    hosts_are_told_of_every_change_of_a_schedule,
    configuration_defines_changes_and_removes_schedules,
);

const HOUR_MS: u64 = 3_600_000;

fn schedule(name: &str, task_type: &str, payload: &str, interval_ms: u64) -> Schedule {
    Schedule {
        name: name.into(),
        timing: Timing::Every { interval_ms, jitter_ms: 0, start: 0 },
        exclusive: false,
        missed: Missed::Once,
        task: Template {
            task_type: TaskType::new(task_type).unwrap(),
            tenant: TenantName::default(),
            priority: Priority::default(),
            payload: Payload::new(Payload::TEXT, payload),
            metadata: Vec::new(),
            limits: LimitsRequest::default(),
            terms: Terms::default(),
        },
        origin: "test".into(),
    }
}

fn queue() -> QueueName {
    QueueName::default()
}

async fn found(broker: &dyn Broker, name: &str) -> Option<ScheduleView> {
    let all = broker.schedules(&queue()).await.unwrap();
    all.into_iter().find(|view| view.schedule.name == name)
}

async fn fired(broker: &dyn Broker, name: &str, times: u64) -> ScheduleView {
    eventually(&format!("{name} has fired {times} times"), || async {
        found(broker, name).await.filter(|view| view.fired >= times)
    })
    .await
}

/// The completed tasks of a schedule.
async fn tasks(broker: &dyn Broker, name: &str) -> Vec<TaskView> {
    let filter = ListFilter {
        schedule: Some(name.into()),
        limit: 1_000,
        ..ListFilter::of(State::Completed)
    };
    broker.list(&queue(), &filter, None).await.unwrap().tasks
}

/// The time that a fired task is for.
fn fired_for(view: &TaskView) -> UnixMs {
    let task = view.task.as_ref().unwrap();
    let (_, at) = task.metadata.iter().find(|(key, _)| key == "schedule_at").unwrap();
    at.parse().unwrap()
}

async fn three_hosts_fire_each_time_once(site: Inside) {
    let broker = site.broker.as_ref();
    // A machine that stalls for a second leaves out nothing either.
    let missed = Missed::All { at_most: 1_000 };
    let tick = Schedule { missed, ..schedule("tick", "noop", "", 1_000) };
    let brought = || HostOptions {
        schedules: Some(vec![QueueSchedule { queue: queue(), schedule: tick.clone() }]),
        ..HostOptions::default()
    };
    let _first = site.host("first", brought()).await;
    let _second = site.host("second", brought()).await;
    let _third = site.host("third", HostOptions::default()).await;
    fired(broker, "tick", 4).await;
    assert!(broker.pause_schedule(&queue(), "tick", true, None).await.unwrap());
    let view = found(broker, "tick").await.unwrap();
    let ended = eventually("every fire's task is completed", || async {
        let ended = tasks(broker, "tick").await;
        (ended.len() as u64 == view.fired).then_some(ended)
    })
    .await;
    let times: BTreeSet<UnixMs> = ended.iter().map(fired_for).collect();
    assert_eq!(times.len(), ended.len(), "each fire is one task");
    assert!(times.iter().all(|at| at % 1_000 == 0));
    let span = times.last().unwrap() - times.first().unwrap();
    assert_eq!(span / 1_000 + 1, times.len() as u64, "no second was left out");
}

async fn fires_that_nobody_was_there_for_follow_their_policy(site: Inside) {
    let broker = site.broker.as_ref();
    let now = site.now().await;
    let hour = now / HOUR_MS * HOUR_MS;
    for (name, missed) in
        [("latest", Missed::Once), ("three", Missed::All { at_most: 3 }), ("none", Missed::Skip)]
    {
        // For `none` the last fire lies two hours and more back, whatever the time is.
        let interval_ms = if missed == Missed::Skip { 366 * 24 * HOUR_MS } else { HOUR_MS };
        let schedule = Schedule { missed, ..schedule(name, "noop", "", interval_ms) };
        broker.put_schedule(&queue(), &schedule, Some(hour - 10 * HOUR_MS)).await.unwrap();
    }
    let _host = site.host("late", HostOptions::default()).await;
    let moved_on = |name: &'static str| async move {
        eventually(&format!("{name} is no longer due"), || async {
            found(broker, name).await.filter(|view| view.next.is_some_and(|next| next > now))
        })
        .await
    };
    for (name, fires) in [("latest", 1), ("three", 3), ("none", 0)] {
        let view = moved_on(name).await;
        assert_eq!(view.fired, fires, "{name}");
    }
    let ended = eventually("the tasks are completed", || async {
        let (latest, three) = (tasks(broker, "latest").await, tasks(broker, "three").await);
        (latest.len() + three.len() == 4).then_some((latest, three))
    })
    .await;
    // The hour may have changed while the host started.
    let newest = fired_for(&ended.0[0]);
    assert!([hour, hour + HOUR_MS].contains(&newest));
    let three: BTreeSet<UnixMs> = ended.1.iter().map(fired_for).collect();
    assert_eq!(three.len(), 3);
    assert_eq!(three.last().unwrap() - three.first().unwrap(), 2 * HOUR_MS);
}

async fn an_exclusive_schedule_never_runs_twice_at_a_time(site: Inside) {
    let broker = site.broker.as_ref();
    let _host = site.host("one", HostOptions::default()).await;
    let slow = Schedule { exclusive: true, ..schedule("slow", "sleep", "1500", 1_000) };
    let now = site.now().await;
    broker.put_schedule(&queue(), &slow, slow.next_after(now)).await.unwrap();
    let view = eventually("two have run and one was skipped", || async {
        found(broker, "slow").await.filter(|view| view.fired >= 3 && view.skipped >= 1)
    })
    .await;
    broker.pause_schedule(&queue(), "slow", true, None).await.unwrap();
    let ended = eventually("the tasks are completed", || async {
        let ended = tasks(broker, "slow").await;
        (ended.len() as u64 >= view.fired).then_some(ended)
    })
    .await;
    let mut runs: Vec<(UnixMs, UnixMs)> = ended
        .iter()
        .map(|view| {
            let report = view.last_report().unwrap();
            (report.started_at, report.started_at + report.metering.wall_us / 1_000)
        })
        .collect();
    runs.sort_unstable();
    assert!(runs.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{runs:?}");
}

async fn a_schedule_that_a_host_is_told_of_fires_there(site: Inside) {
    let broker = site.broker.as_ref();
    let _running = site.host("told", HostOptions::default()).await;
    let now = site.now().await;
    let once = Schedule {
        timing: Timing::Once { at: now + 200 },
        ..schedule("once", "echo", "hi", 1_000)
    };
    assert!(broker.put_schedule(&queue(), &once, once.next_after(now)).await.unwrap());
    let view = fired(broker, "once", 1).await;
    assert_eq!((view.next, view.last.unwrap().at), (None, now + 200));
    let task =
        eventually("its task is completed", || async { tasks(broker, "once").await.pop() }).await;
    assert_eq!(task.id, view.last.unwrap().task);
    let Outcome::Done(output) = &task.last_report().unwrap().outcome else { panic!("{task:?}") };
    assert_eq!(output.data, b"hi");
    // Once over, the same definition brings nothing back.
    assert!(!broker.put_schedule(&queue(), &once, once.next_after(now)).await.unwrap());
    assert_eq!(found(broker, "once").await.unwrap().next, None);
}

/// Hosts look every few seconds by themselves; what a change says spares them the wait.
async fn hosts_are_told_of_every_change_of_a_schedule(site: Inside) {
    let broker = site.broker.as_ref();
    let mut signals = broker.subscribe(Topic::Rescan, Vec::new());
    let mut next = async || {
        let signal = tokio::time::timeout(Duration::from_secs(20), signals.recv()).await;
        signal.expect("a signal").expect("a subscription")
    };
    assert_eq!(next().await, Signal::Connected);
    let named = schedule("named", "noop", "", HOUR_MS);
    let at = Some(u64::MAX / 4);
    assert!(broker.put_schedule(&queue(), &named, at).await.unwrap());
    assert_eq!(next().await, Signal::Schedules);
    assert!(!broker.put_schedule(&queue(), &named, at).await.unwrap(), "nothing to tell");
    for paused in [true, false] {
        assert!(broker.pause_schedule(&queue(), "named", paused, at).await.unwrap());
        assert_eq!(next().await, Signal::Schedules);
    }
    broker.request_rescan().await.unwrap();
    assert_eq!(next().await, Signal::Rescan, "nothing was told between the two");
    assert!(broker.remove_schedule(&queue(), "named").await.unwrap());
    assert_eq!(next().await, Signal::Schedules);
}

async fn configuration_defines_changes_and_removes_schedules(site: Inside) {
    let broker = site.broker.as_ref();
    let run_with = async |name: &str, text: &str| site.host(name, site.configured(text)).await;
    let named = schedule("by-hand", "noop", "", HOUR_MS);
    broker.put_schedule(&queue(), &named, Some(u64::MAX / 4)).await.unwrap();
    let nightly = "[schedules.nightly]\ntype = \"noop\"\ncron = \"30 2 * * *\"\n\
                   zone = \"Europe/Berlin\"\npayload = \"a\"\n";

    drop(run_with("one", nightly).await);
    let first = found(broker, "nightly").await.unwrap();
    assert_eq!(first.schedule.origin, Schedule::FROM_CONFIG);
    assert!(first.next.is_some());
    // What people did stays when the same definition comes again.
    broker.pause_schedule(&queue(), "nightly", true, first.next).await.unwrap();
    drop(run_with("two", nightly).await);
    let same = found(broker, "nightly").await.unwrap();
    assert_eq!((same.paused, same.next), (true, first.next));

    drop(run_with("three", &nightly.replace("\"a\"", "\"b\"")).await);
    let changed = found(broker, "nightly").await.unwrap();
    assert_eq!((changed.paused, changed.schedule.task.payload.data), (true, b"b".to_vec()));
    // A host that says nothing of schedules leaves them alone; one that says there are none
    // removes those of configuration.
    drop(run_with("four", "").await);
    assert!(found(broker, "nightly").await.is_some());
    drop(run_with("five", "[schedules]\n").await);
    assert!(found(broker, "nightly").await.is_none());
    assert!(found(broker, "by-hand").await.is_some());
}

#[tokio::test]
async fn schedules_that_make_no_sense_are_refused_before_anything_starts() {
    let site = Inside::embedded();
    let bad = Schedule {
        timing: Timing::Cron { expression: "0 25 * * *".into(), zone: "UTC".into() },
        ..schedule("bad", "noop", "", 1_000)
    };
    let good = schedule("twice", "noop", "", 1_000);
    let of = |schedules: Vec<Schedule>| HostOptions {
        queues: vec![QueueOptions::new(queue())],
        plugin_dir: Path::new(site.folder()).to_owned(),
        schedules: Some(
            schedules
                .into_iter()
                .map(|schedule| QueueSchedule { queue: queue(), schedule })
                .collect(),
        ),
        compiler: Some(Compiler::InProcess),
        ..HostOptions::default()
    };
    for (schedules, says) in [(vec![bad], "the hour `25`"), (vec![good.clone(), good], "twice")] {
        let host = Host::builder(site.broker.clone(), of(schedules)).build();
        let error = host.map(drop).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
