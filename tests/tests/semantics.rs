//! What a host does with a task's terms: deadlines, retention, progress, results that are
//! remembered, answers that get lost, ends that others wait for.

use std::sync::Arc;
use std::time::Duration;

use bulkhead::{Host, HostOptions, QueueOptions, Shutdown, Trigger};
use bulkhead_core::{
    Backoff, Bounds, FailureKind, QueueName, QueuePolicy, RetryRequest, State, TaskId, TaskRef,
    TaskType, Terms,
};
use bulkhead_queue::{Broker, NewTask, TaskView};
use bulkhead_tests::{HostProcess, LosingBroker, Site, eventually, failure, lost_leases, task};

fn queue() -> QueueName {
    QueueName::default()
}

/// The broker's time.
async fn now(site: &Site) -> u64 {
    site.client.broker().due_schedules(&queue(), 1).await.unwrap().now
}

async fn ended(site: &Site, task: NewTask) -> TaskView {
    let id = site.client.submit(task).await.unwrap().id;
    site.wait(id).await
}

/// A host in this process on a broker of its own; it stops when the trigger is dropped.
async fn host_on(site: &Site, broker: Arc<dyn Broker>, options: HostOptions) -> Trigger {
    let options = HostOptions {
        name: "inside".into(),
        plugin_dir: site.folder().to_owned(),
        guest_threads: 1,
        ..options
    };
    let host = Host::builder(broker, options).build().unwrap();
    let (trigger, shutdown) = Shutdown::new();
    tokio::spawn(host.run(shutdown));
    eventually("the host serves", || async { site.serving("unruly").await }).await;
    trigger
}

#[tokio::test]
async fn a_deadline_ends_an_attempt_and_plans_no_other() {
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;
    let deadline_at = Some(now(&site).await + 1_000);
    let terms = Terms { deadline_at, ..Terms::default() };
    let view = ended(&site, NewTask { terms, ..task("sleep", "60000") }).await;
    assert_eq!((view.state, view.attempts()), (State::Failed, 1));
    assert_eq!(failure(&view).kind, FailureKind::TimedOut);
    assert!(view.last_report().unwrap().metering.fuel > 0, "it ran until then");
}

#[tokio::test]
async fn what_is_claimed_after_its_deadline_does_not_run() {
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;
    let broker = site.client.broker();
    broker.pause(&queue(), None).await.unwrap();
    let deadline_at = now(&site).await + 100;
    let terms = Terms { deadline_at: Some(deadline_at), ..Terms::default() };
    let id = site.client.submit(NewTask { terms, ..task("noop", "") }).await.unwrap().id;
    eventually("the deadline has passed", || async {
        (now(&site).await > deadline_at).then_some(())
    })
    .await;
    broker.resume(&queue(), None).await.unwrap();
    let view = site.wait(id).await;
    assert_eq!((view.state, view.attempts()), (State::Failed, 1));
    let failure = failure(&view);
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.message.contains("did not run"), "{}", failure.message);
    assert_eq!(view.last_report().unwrap().metering.fuel, 0);
}

#[tokio::test]
async fn a_dead_letter_is_kept_as_long_as_the_task_says() {
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;
    let before = now(&site).await;
    let terms = Terms { retention_ms: Some(3_600_000), ..Terms::default() };
    let own = ended(&site, NewTask { terms, ..task("reject", "") }).await;
    let usual = ended(&site, task("reject", "")).await;
    let after = now(&site).await;
    let kept = |view: &TaskView| {
        assert_eq!(view.state, State::Failed);
        view.kept_until.unwrap()
    };
    assert!((before + 3_600_000..=after + 3_600_000).contains(&kept(&own)));
    assert!(kept(&usual) >= before + 7 * 24 * 3_600_000, "the queue's week");
}

#[tokio::test]
async fn what_a_running_attempt_says_is_seen_until_it_ends() {
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;
    let id = site.submit("progress", "60000").await;
    let said = eventually("progress is seen", || async {
        site.view(id).await.progress.filter(|progress| progress.message == "half")
    })
    .await;
    assert_eq!(said.fraction, 0.5);
    site.client.broker().cancel(&queue(), &[id], 60_000).await.unwrap();
    let view = site.wait(id).await;
    assert_eq!((view.state, view.progress), (State::Cancelled, None));
    assert_eq!(site.ended("progress", "").await.state, State::Completed);
}

#[tokio::test]
async fn results_are_remembered_where_the_manifest_asks_for_it() {
    let site = Site::new().await;
    std::fs::write(site.folder().join("unruly.toml"), "cache = { echo = \"1h\", retry = \"1h\" }")
        .unwrap();
    let _host = site.host("host", &[]).await;
    let cached = |view: &TaskView| {
        let report = view.last_report().unwrap();
        (report.cached, report.metering.fuel > 0)
    };
    let first = site.ended("echo", "same").await;
    let second = site.ended("echo", "same").await;
    assert_eq!((cached(&first), cached(&second)), ((false, true), (true, false)));
    assert_eq!(bulkhead_tests::output(&second), "same");
    let reports = [&first, &second].map(|view| view.last_report().unwrap().plugin);
    assert_eq!(reports[0], reports[1], "the report names the version whose result it is");
    // Another payload or metadata is other work, and other types are not remembered.
    assert_eq!(cached(&site.ended("echo", "other").await), (false, true));
    let metadata = vec![("a".to_owned(), "b".to_owned())];
    let other = ended(&site, NewTask { metadata, ..task("echo", "same") }).await;
    assert_eq!(cached(&other), (false, true));
    for _ in 0..2 {
        assert_eq!(cached(&site.ended("noop", "").await), (false, true));
    }
    // A failure is nothing to remember: every attempt runs.
    let retry = RetryRequest {
        max_attempts: Some(3),
        backoff: Some(Backoff::Fixed { delay_ms: 1 }),
        ..RetryRequest::default()
    };
    let terms = Terms { retry: Some(retry), ..Terms::default() };
    let failed = ended(&site, NewTask { terms, ..task("retry", "") }).await;
    assert_eq!((failed.state, failed.attempts()), (State::Failed, 3));
    // Nor does a new version answer with an old one's results.
    let digest = bulkhead_tests::install_version(site.folder(), "unruly", 2);
    site.serves("unruly", digest).await;
    assert_eq!(cached(&site.ended("echo", "same").await), (false, true));
    assert_eq!(cached(&site.ended("echo", "same").await), (true, false));
}

#[tokio::test]
async fn a_manifest_that_remembers_what_is_not_served_is_refused() {
    let site = Site::new().await;
    std::fs::write(site.folder().join("unruly.toml"), "cache = { absent = \"1h\" }").unwrap();
    let host = HostProcess::start(&site.server.url(), site.folder(), "host", &[]);
    let refused = eventually(&format!("the plugin is refused\n{}", host.log()), || async {
        site.plugin("unruly").await.and_then(|plugin| plugin.rejected)
    })
    .await;
    assert_eq!(refused.gate, "manifest");
    assert!(refused.reason.contains("`absent`"), "{}", refused.reason);
}

#[tokio::test]
async fn a_lost_answer_costs_no_attempt() {
    let site = Site::new().await;
    let losing = Arc::new(LosingBroker::before(Arc::new(site.server.broker().await)));
    let options = HostOptions { concurrency: 4, ..HostOptions::default() };
    let _host = host_on(&site, losing.clone(), options).await;
    for round in 0..3 {
        losing.lose(1);
        let lost_before = losing.lost();
        let ids = site.submit_many(40, "noop", "").await;
        let mut views = Vec::new();
        for id in ids {
            views.push(site.wait(id).await);
        }
        assert!(losing.lost() > lost_before, "round {round}: an answer was lost");
        for view in views {
            assert_eq!((view.state, view.attempts()), (State::Completed, 1), "{view:?}");
            assert_eq!(lost_leases(&view), 0, "no lease had to run out");
        }
    }
}

#[tokio::test]
async fn an_end_reaches_the_tasks_of_other_queues() {
    let site = Site::new().await;
    let other = QueueName::new("other").unwrap();
    let queues = vec![QueueOptions::new(queue()), QueueOptions::new(other.clone())];
    let broker: Arc<dyn Broker> = Arc::new(site.server.broker().await);
    let _host = host_on(&site, broker, HostOptions { queues, ..HostOptions::default() }).await;
    let parent = site.submit("sleep", "300").await;
    let reference = |id: TaskId| TaskRef { queue: queue(), id };
    let child = NewTask {
        queue: other.clone(),
        terms: Terms { after: vec![reference(parent)], ..Terms::default() },
        ..task("echo", "child")
    };
    let child = site.client.submit(child).await.unwrap().id;
    let ended = site.client.wait(&other, child, Duration::from_secs(30)).await.unwrap();
    let view = ended.expect("the child has ended");
    assert_eq!(view.state, State::Completed);
    assert_eq!(site.view(parent).await.state, State::Completed);
    let (parent_report, child_report) = {
        let parent = site.view(parent).await;
        (parent.last_report().unwrap().clone(), view.last_report().unwrap().clone())
    };
    assert!(child_report.started_at >= parent_report.started_at + 300);
}

#[tokio::test]
async fn a_queues_configured_policy_replaces_the_stored_one() {
    let site = Site::new().await;
    let broker = site.client.broker();
    let start = |name: &'static str, text: &'static str| {
        let site = &site;
        async move {
            let path = site.folder().join(format!("{name}.config.toml"));
            std::fs::write(&path, text).unwrap();
            site.host(name, &["--config", path.to_str().unwrap()]).await
        }
    };
    let _one = start(
        "one",
        "[queues.default]\nconcurrency = 7\ntypes.noop = { concurrency = 1 }\nevents = 10\n",
    )
    .await;
    let bounds = Bounds { concurrency: Some(1), rate: None };
    let expected = QueuePolicy {
        concurrency: Some(7),
        events: Some(10),
        types: [(TaskType::new("noop").unwrap(), bounds)].into(),
        ..QueuePolicy::default()
    };
    assert_eq!(broker.policy(&queue()).await.unwrap(), expected);
    // A section without any bound leaves it; one with other bounds replaces it.
    let _two = start("two", "[queues.default]\nretention = \"1h\"\n").await;
    assert_eq!(broker.policy(&queue()).await.unwrap(), expected);
    let _three = start("three", "[queues.default]\nconcurrency = 9\n").await;
    let replaced = QueuePolicy { concurrency: Some(9), ..QueuePolicy::default() };
    assert_eq!(broker.policy(&queue()).await.unwrap(), replaced);
}
