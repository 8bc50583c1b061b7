//! A host's concurrency follows its load, and a host whose machine is too full claims nothing:
//! shown with real hosts, on either broker.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bulkhead::{
    AdmissionOptions, AutoscaleOptions, CpuTime, HostOptions, Linux, Machine, MemoryUse,
};
use bulkhead_core::{AdmissionMarks, Direction, DiskMark, Mark, Pace, Reason, State, TaskId};
use bulkhead_queue::{HostInfo, NewTask};
use bulkhead_tests::{HostProcess, Inside, Ran, Site, eventually, on_both_brokers, task};

const GIB: u64 = 1 << 30;

on_both_brokers![
    concurrency_goes_up_under_load_and_down_after_it,
    a_host_claims_nothing_while_its_machine_is_full_and_goes_on_with_what_runs,
    a_host_that_starts_on_a_full_machine_leaves_the_work_to_others,
];

/// The host of this name, as it last said.
async fn info(place: &Inside, name: &str) -> Option<HostInfo> {
    let hosts = place.broker.hosts().await.ok()?;
    hosts.into_iter().find(|host| host.name == name)
}

/// The host of this name, once it is so.
async fn once(place: &Inside, name: &str, what: &str, is: impl Fn(&HostInfo) -> bool) -> HostInfo {
    eventually(what, || async { info(place, name).await.filter(|host| is(host)) }).await
}

async fn concurrency_goes_up_under_load_and_down_after_it(place: Inside) {
    let pace = |signals, cooldown_ms| Pace { signals, cooldown_ms };
    let autoscale = AutoscaleOptions {
        min: 2,
        max: Some(12),
        interval: Duration::from_millis(100),
        up: pace(1, 0),
        down: pace(2, 200),
        pick_up_target: None,
    };
    let autoscale = Some(autoscale);
    let options = HostOptions { concurrency: 16, autoscale, ..HostOptions::default() };
    let host = place.host("elastic", options).await;
    let idle = info(&place, "elastic").await.expect("a host");
    assert_eq!(idle.concurrency, 2, "it begins with the least");
    // They wait and need next to no CPU.
    let tasks: Vec<NewTask> = (0..60).map(|_| task("sleep", "1000")).collect();
    let submitted = place.client.submit_many(tasks).await.expect("submitted");
    let busy = once(&place, "elastic", "it goes up", |host| host.concurrency > 4).await;
    let scaling = busy.scaling.expect("it follows its load");
    assert_eq!((scaling.min, scaling.max), (2, 12));
    let up = scaling.changes.last().expect("a change");
    assert_eq!((up.verdict.from, up.verdict.reason), (2, Reason::Backlog), "{scaling:?}");
    assert!(up.explanation.contains("more work waits than there are slots"), "{up:?}");
    for done in submitted {
        assert_eq!(place.wait(done.id).await.state, State::Completed);
    }
    let rested = once(&place, "elastic", "it goes down", |host| host.concurrency == 2).await;
    let scaling = rested.scaling.expect("it follows its load");
    let down = scaling.changes.first().expect("a change");
    assert_eq!((down.verdict.direction, down.verdict.reason), (Direction::Down, Reason::Idle));
    let bounds = scaling.changes.iter().all(|change| (2..=12).contains(&change.verdict.to));
    assert!(bounds, "{scaling:?}");
    let told = host.metrics.render();
    assert!(told.contains("bulkhead_autoscaler_target 2.0"), "{told}");
    for direction in ["up", "down", "hold"] {
        let decisions = format!("bulkhead_autoscaler_decisions_total{{direction=\"{direction}\"}}");
        assert!(told.contains(&decisions), "{decisions}: {told}");
    }
}

/// A machine whose disk is as full as the test says.
#[derive(Debug)]
struct Disk(AtomicU64);

impl Machine for Disk {
    fn cpu(&self) -> Option<CpuTime> {
        None
    }
    fn memory(&self) -> Option<MemoryUse> {
        None
    }
    fn resident_bytes(&self) -> Option<u64> {
        None
    }
    fn process_cpu_us(&self) -> Option<u64> {
        None
    }
    fn free_bytes(&self, _: &Path) -> Option<u64> {
        Some(self.0.load(Ordering::SeqCst))
    }
}

fn admission(disk: DiskMark) -> AdmissionOptions {
    AdmissionOptions {
        marks: AdmissionMarks { disk: Some(disk), ..AdmissionMarks::default() },
        interval: Duration::from_millis(100),
        folders: Vec::new(),
    }
}

async fn a_host_claims_nothing_while_its_machine_is_full_and_goes_on_with_what_runs(place: Inside) {
    let disk = Arc::new(Disk(AtomicU64::new(10 * GIB)));
    let marks = DiskMark { least_bytes: GIB, resume_bytes: 2 * GIB };
    let options = HostOptions {
        admission: admission(marks),
        machine: disk.clone(),
        ..HostOptions::default()
    };
    let _host = place.host("narrow", options).await;
    let runs = place.submit(task("sleep", "1500")).await;
    eventually("it runs", || async {
        (place.view(runs).await.state == State::Running).then_some(())
    })
    .await;
    disk.0.store(GIB - 1, Ordering::SeqCst);
    let full = once(&place, "narrow", "it refuses", |host| !host.refusing.is_empty()).await;
    assert!(full.refusing[0].ends_with("has 1023 MiB free; work goes on at 2048 MiB"), "{full:?}");
    let waits = place.submit(task("echo", "later")).await;
    assert_eq!(place.wait(runs).await.state, State::Completed, "what runs goes on");
    // Between the marks it stays as it was.
    disk.0.store(2 * GIB - 1, Ordering::SeqCst);
    let still = once(&place, "narrow", "it sees the new reading", |host| {
        host.refusing.iter().any(|why| why.contains("2047 MiB free"))
    })
    .await;
    assert_eq!(still.in_flight, 0);
    assert_eq!(place.view(waits).await.state, State::Pending);
    disk.0.store(2 * GIB, Ordering::SeqCst);
    assert_eq!(place.wait(waits).await.state, State::Completed);
    once(&place, "narrow", "it claims again", |host| host.refusing.is_empty()).await;
}

async fn a_host_that_starts_on_a_full_machine_leaves_the_work_to_others(place: Inside) {
    let id = place.submit(task("echo", "whoever")).await;
    // The real disk has less than this free.
    let more_than_any = DiskMark { least_bytes: u64::MAX >> 1, resume_bytes: u64::MAX >> 1 };
    let options = HostOptions {
        admission: admission(more_than_any),
        machine: Arc::new(Linux),
        ..HostOptions::default()
    };
    let _full = place.host("full", options).await;
    once(&place, "full", "it refuses", |host| !host.refusing.is_empty()).await;
    let marks = AdmissionMarks {
        cpu: Some(Mark { high: 1.1, low: 1.1 }),
        memory: Some(Mark { high: 1.1, low: 1.1 }),
        disk: Some(DiskMark { least_bytes: 1, resume_bytes: 1 }),
    };
    let roomy = AdmissionOptions { marks, ..admission(more_than_any) };
    let options = HostOptions { admission: roomy, ..HostOptions::default() };
    let _roomy = place.host("roomy", options).await;
    let view = place.wait(id).await;
    assert_eq!(view.last_report().expect("a report").host, "roomy");
}

/// The real binary, configured by a file.
async fn configured(site: &Site, host: &str) -> HostProcess {
    let path = site.folder().join("bulkhead.config.toml");
    std::fs::write(&path, host).expect("a file");
    let config = path.to_str().expect("a path");
    site.host("small", &["--config", config]).await
}

async fn pending(site: &Site, id: TaskId) -> bool {
    site.view(id).await.state == State::Pending
}

#[tokio::test]
async fn the_operator_is_told_of_a_full_disk() {
    let site = Site::new().await;
    let text = "[host.admission]\ndisk_free = \"1000 TiB\"\ninterval = \"100ms\"\n";
    let host = configured(&site, text).await;
    let id = site.submit("echo", "waits").await;
    let url = site.server.url();
    let list = || Ran::of(&["--broker", &url, "host", "list"]).said();
    let shown = eventually("it is told", || async {
        let shown = list();
        shown.contains("small claims nothing: `").then_some(shown)
    })
    .await;
    assert!(shown.contains("MiB free; work goes on at 1153433600 MiB"), "{shown}");
    assert!(host.log().contains("the host claims nothing more"), "{}", host.log());
    assert!(pending(&site, id).await);
}

#[tokio::test]
async fn the_operator_is_told_how_concurrency_changed() {
    let site = Site::new().await;
    let text = "[host]\nconcurrency = 8\n[host.autoscale]\nenabled = true\nmin = 1\n\
                interval = \"100ms\"\nup_signals = 1\nup_cooldown = \"0s\"\n";
    let host = configured(&site, text).await;
    site.submit_many(40, "sleep", "500").await;
    let url = site.server.url();
    let shown = eventually("it is told", || async {
        let shown = Ran::of(&["--broker", &url, "host", "list"]).said();
        shown.contains("more work waits than there are slots").then_some(shown)
    })
    .await;
    assert!(shown.contains("(1 to 8)"), "{shown}");
    let log = host.log();
    assert!(log.contains("concurrency 1 to 2: more work waits than there are slots"), "{log}");
}
