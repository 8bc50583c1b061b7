//! A host inside another program: built from options, stopped by a value, no signals and
//! no environment.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead::{Compiler, Host, HostError, HostOptions, QueueOptions, Shutdown, Trigger};
use bulkhead_core::{QueueName, QueuePolicy, State};
use bulkhead_queue::{Client, NewTask};
use bulkhead_tests::{RedisServer, Site, eventually, task};
use tokio::task::JoinHandle;

fn options(plugins: &Path) -> HostOptions {
    HostOptions {
        name: "embedded".into(),
        plugin_dir: plugins.to_owned(),
        concurrency: 8,
        guest_threads: 2,
        compiler: Some(Compiler::InProcess),
        ..HostOptions::default()
    }
}

/// A host of these options that serves.
async fn serving(
    site: &Site,
    options: HostOptions,
) -> (Trigger, JoinHandle<Result<(), HostError>>) {
    let host = Host::builder(Arc::new(site.server.broker().await), options).build();
    let (trigger, shutdown) = Shutdown::new();
    let running = tokio::spawn(host.expect("a host").run(shutdown));
    eventually("the host serves", || async { site.serving("unruly").await }).await;
    (trigger, running)
}

/// Wait for a host's end, within bounds.
async fn stopped(running: JoinHandle<Result<(), HostError>>) {
    let ended = tokio::time::timeout(Duration::from_secs(20), running).await;
    ended.expect("it stops in time").expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_drained_host_ends_what_runs_and_claims_no_more() {
    let site = Site::new().await;
    let (trigger, running) = serving(&site, options(site.folder())).await;
    assert_eq!(site.ended("echo", "x").await.state, State::Completed);
    let slow = site.submit("sleep", "1500").await;
    site.running(slow).await;
    trigger.drain();
    eventually("the host claims no more", || async {
        let later = site.submit("noop", "").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        (site.view(later).await.state == State::Pending).then_some(())
    })
    .await;
    stopped(running).await;
    assert_eq!(site.view(slow).await.state, State::Completed, "it had its time");
    let hosts = site.client.broker().hosts().await.expect("a broker");
    assert!(hosts.is_empty(), "it has withdrawn: {hosts:?}");
    // Another host takes up what was left.
    let (_trigger, _running) = serving(&site, options(site.folder())).await;
    eventually("nothing is left", || async {
        let stats = site.stats().await;
        (stats.pending + stats.running == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_without_a_trigger_drains() {
    let site = Site::new().await;
    let (trigger, running) = serving(&site, options(site.folder())).await;
    drop(trigger);
    stopped(running).await;
}

#[tokio::test]
async fn a_forced_host_gives_back_what_runs() {
    let site = Site::new().await;
    let (trigger, running) = serving(&site, options(site.folder())).await;
    let slow = site.submit("sleep", "60000").await;
    let busy = site.submit("spin", "").await;
    site.running(slow).await;
    site.running(busy).await;
    let asked = Instant::now();
    trigger.force();
    stopped(running).await;
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    for id in [slow, busy] {
        let view = site.view(id).await;
        assert_eq!((view.state, view.attempts()), (State::Pending, 0), "no attempt is spent");
    }
}

#[tokio::test]
async fn two_queues_share_the_hosts_permits() {
    let site = Site::new().await;
    let mail = QueueName::new("mail").expect("a name");
    let queues = vec![
        QueueOptions::new(QueueName::default()),
        QueueOptions {
            policy: Some(QueuePolicy { concurrency: Some(1), ..QueuePolicy::default() }),
            ..QueueOptions::new(mail.clone())
        },
    ];
    let options = HostOptions { queues, concurrency: 3, ..options(site.folder()) };
    let (trigger, running) = serving(&site, options).await;
    let to = |queue: &QueueName| NewTask { queue: queue.clone(), ..task("sleep", "300") };
    let client: &Client = &site.client;
    let mut tasks: Vec<NewTask> = (0..4).map(|_| to(&mail)).collect();
    tasks.extend((0..6).map(|_| to(&QueueName::default())));
    client.submit_many(tasks).await.expect("submitted");
    let mut most = (0, 0);
    let began = Instant::now();
    let deadline = began + Duration::from_secs(30);
    loop {
        let (in_mail, other) =
            (client.broker().stats(&mail).await.expect("stats"), site.stats().await);
        most = (most.0.max(in_mail.running), most.1.max(in_mail.running + other.running));
        if in_mail.pending + in_mail.running + other.pending + other.running == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{in_mail:?} {other:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(most.0, 1, "the queue's own bound");
    // Four in a row take 1.2 s; a queue that is not told of free permits looks after 5 s.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // Two looks at two queues, and an attempt may end and another begin between them.
    assert!((2..=4).contains(&most.1), "{most:?}");
    trigger.drain();
    stopped(running).await;
}

/// What a host of these options is refused for.
async fn refusal(options: HostOptions) -> String {
    let server = RedisServer::start();
    match Host::builder(Arc::new(server.broker().await), options).build() {
        Ok(_) => panic!("built"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = options(folder.path());
    for (options, says) in [
        (HostOptions { queues: Vec::new(), ..good.clone() }, "no queue is named"),
        (HostOptions { concurrency: 0, ..good.clone() }, "at least 1"),
        (HostOptions { guest_threads: 0, ..good.clone() }, "at least 1"),
        (HostOptions { settlement_buffer: 0, ..good.clone() }, "at least 1"),
        (HostOptions { lease: Duration::from_millis(100), ..good.clone() }, "under 300 ms"),
        (HostOptions { compiler: None, ..good.clone() }, "no compiler is named"),
        (HostOptions { name: String::new(), ..good.clone() }, "1 to 128 bytes"),
        (HostOptions { name: "two words".into(), ..good.clone() }, "without spaces"),
        (HostOptions { name: "x".repeat(129), ..good.clone() }, "1 to 128 bytes"),
    ] {
        let error = refusal(options).await;
        assert!(error.contains("options are not usable"), "{error}");
        assert!(error.contains(says), "`{says}` is not in: {error}");
    }
}

#[tokio::test]
async fn a_missing_plugin_folder_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("no-such-folder");
    let error = refusal(options(&missing)).await;
    assert!(error.contains(&missing.display().to_string()), "{error}");
    assert!(error.contains("create it or name another"), "{error}");
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").expect("written");
    let error = refusal(options(&file)).await;
    assert!(error.contains("cannot be read"), "{error}");
}

#[tokio::test]
async fn an_unreachable_broker_is_an_error_of_run() {
    let mut site = Site::new().await;
    let broker = Arc::new(site.server.broker().await);
    let host = Host::builder(broker, options(site.folder())).build().expect("a host");
    site.server.kill();
    let (_trigger, shutdown) = Shutdown::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), host.run(shutdown)).await;
    let error = ended.expect("in time").expect_err("no broker").to_string();
    assert!(error.contains("broker is unavailable"), "{error}");
}
