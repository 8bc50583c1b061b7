//! What a host does with a task's terms: deadlines, retention, progress, results that are
//! remembered, answers that get lost, ends that others wait for.

use std::sync::Arc;
use std::time::Duration;

use bulkhead::{HostOptions, QueueOptions};
use bulkhead_core::{
    Backoff, Bounds, FailureKind, QueueName, QueuePolicy, RetryRequest, State, TaskId, TaskRef,
    TaskType, Terms,
};
use bulkhead_queue::{Day, NewTask, TaskView};
use bulkhead_tests::{
    Inside, LosingBroker, Running, eventually, failure, lost_leases, on_both_brokers, task,
};

on_both_brokers!(
    a_deadline_ends_an_attempt_and_plans_no_other,
    what_is_claimed_after_its_deadline_does_not_run,
    a_dead_letter_is_kept_as_long_as_the_task_says,
    what_a_running_attempt_says_is_seen_until_it_ends,
    results_are_remembered_where_the_manifest_asks_for_it,
    a_manifest_that_remembers_what_is_not_served_is_refused,
    a_lost_answer_costs_no_attempt,
    hosts_of_one_name_never_take_up_each_others_claims,
    an_end_reaches_the_tasks_of_other_queues,
    a_queues_configured_policy_replaces_the_stored_one,
);

fn queue() -> QueueName {
    QueueName::default()
}

async fn ended(site: &Inside, task: NewTask) -> TaskView {
    let id = site.submit(task).await;
    site.wait(id).await
}

async fn serving(site: &Inside) -> Running {
    site.host("host", HostOptions::default()).await
}

async fn a_deadline_ends_an_attempt_and_plans_no_other(site: Inside) {
    let _host = serving(&site).await;
    let deadline_at = Some(site.now().await + 1_000);
    let terms = Terms { deadline_at, ..Terms::default() };
    let view = ended(&site, NewTask { terms, ..task("sleep", "60000") }).await;
    assert_eq!((view.state, view.attempts()), (State::Failed, 1));
    assert_eq!(failure(&view).kind, FailureKind::TimedOut);
    assert!(view.last_report().unwrap().metering.fuel > 0, "it ran until then");
}

async fn what_is_claimed_after_its_deadline_does_not_run(site: Inside) {
    let _host = serving(&site).await;
    let broker = &site.broker;
    broker.pause(&queue(), None).await.unwrap();
    let deadline_at = site.now().await + 100;
    let terms = Terms { deadline_at: Some(deadline_at), ..Terms::default() };
    let id = site.submit(NewTask { terms, ..task("noop", "") }).await;
    eventually("the deadline has passed", || async {
        (site.now().await > deadline_at).then_some(())
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

async fn a_dead_letter_is_kept_as_long_as_the_task_says(site: Inside) {
    let _host = serving(&site).await;
    let before = site.now().await;
    let terms = Terms { retention_ms: Some(3_600_000), ..Terms::default() };
    let own = ended(&site, NewTask { terms, ..task("reject", "") }).await;
    let usual = ended(&site, task("reject", "")).await;
    let after = site.now().await;
    let kept = |view: &TaskView| {
        assert_eq!(view.state, State::Failed);
        view.kept_until.unwrap()
    };
    assert!((before + 3_600_000..=after + 3_600_000).contains(&kept(&own)));
    assert!(kept(&usual) >= before + 7 * 24 * 3_600_000, "the queue's week");
}

async fn what_a_running_attempt_says_is_seen_until_it_ends(site: Inside) {
    let _host = serving(&site).await;
    let id = site.submit(task("progress", "60000")).await;
    let said = eventually("progress is seen", || async {
        site.view(id).await.progress.filter(|progress| progress.message == "half")
    })
    .await;
    assert_eq!(said.fraction, 0.5);
    site.broker.cancel(&queue(), &[id], 60_000).await.unwrap();
    let view = site.wait(id).await;
    assert_eq!((view.state, view.progress), (State::Cancelled, None));
    assert_eq!(site.ended("progress", "").await.state, State::Completed);
}

async fn results_are_remembered_where_the_manifest_asks_for_it(site: Inside) {
    std::fs::write(site.folder().join("unruly.toml"), "cache = { echo = \"1h\", retry = \"1h\" }")
        .unwrap();
    let _host = serving(&site).await;
    let cached = |view: &TaskView| {
        let report = view.last_report().unwrap();
        (report.cached, report.metering.fuel > 0)
    };
    let first = site.ended("echo", "same").await;
    let second = site.ended("echo", "same").await;
    assert_eq!((cached(&first), cached(&second)), ((false, true), (true, false)));
    assert_eq!(bulkhead_tests::output(&second), "same");
    let reports = [&first, &second].map(|view| view.last_report().unwrap().digest);
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
    site.serves(digest).await;
    assert_eq!(cached(&site.ended("echo", "same").await), (false, true));
    assert_eq!(cached(&site.ended("echo", "same").await), (true, false));
}

async fn a_manifest_that_remembers_what_is_not_served_is_refused(site: Inside) {
    std::fs::write(site.folder().join("unruly.toml"), "cache = { absent = \"1h\" }").unwrap();
    let _host = serving(&site).await;
    let refused = site.plugin().await.and_then(|plugin| plugin.rejected).expect("a reason");
    assert_eq!(refused.gate, "manifest");
    assert!(refused.reason.contains("`absent`"), "{}", refused.reason);
}

async fn a_lost_answer_costs_no_attempt(site: Inside) {
    let losing = Arc::new(LosingBroker::before(site.broker.clone()));
    let options = HostOptions { concurrency: 4, ..HostOptions::default() };
    let _host = site.host_on(losing.clone(), "losing", options).await;
    for round in 0..3 {
        losing.lose(1);
        let lost_before = losing.lost();
        let tasks = (0..40).map(|_| task("noop", "")).collect();
        let mut views = Vec::new();
        for submitted in site.client.submit_many(tasks).await.unwrap() {
            views.push(site.wait(submitted.id).await);
        }
        assert!(losing.lost() > lost_before, "round {round}: an answer was lost");
        for view in views {
            assert_eq!((view.state, view.attempts()), (State::Completed, 1), "{view:?}");
            assert_eq!(lost_leases(&view), 0, "no lease had to run out");
        }
    }
}

async fn hosts_of_one_name_never_take_up_each_others_claims(site: Inside) {
    let first = site.host("twin", HostOptions { concurrency: 1, ..HostOptions::default() }).await;
    let busy = site.submit(task("sleep", "600000")).await;
    let holder = eventually("the first one holds it", || async {
        site.view(busy).await.holder.map(|holder| holder.host)
    })
    .await;
    assert!(holder.starts_with("twin#"), "{holder}");

    // The first has no room, so the second gets these, loses the answer and asks what it holds.
    let losing = Arc::new(LosingBroker::before(site.broker.clone()));
    losing.lose(1);
    let options = HostOptions { concurrency: 4, ..HostOptions::default() };
    let second = site.host_on(losing.clone(), "twin", options).await;
    for _ in 0..2 {
        let view = ended(&site, task("noop", "")).await;
        assert_eq!((view.attempts(), lost_leases(&view)), (1, 0), "{view:?}");
    }
    assert!(losing.lost() > 0, "an answer was lost");
    let other = site.submit(task("sleep", "600000")).await;
    let of_second = eventually("the second one holds another", || async {
        site.view(other).await.holder.map(|holder| holder.host)
    })
    .await;
    assert_ne!(holder, of_second);
    for (host, id) in [(&holder, busy), (&of_second, other)] {
        let held = site.broker.held(&queue(), host).await.unwrap();
        assert_eq!(held.iter().map(|claim| claim.id).collect::<Vec<_>>(), [id]);
    }
    assert!(site.broker.held(&queue(), "twin").await.unwrap().is_empty());
    site.broker.cancel(&queue(), &[busy, other], 60_000).await.unwrap();
    for id in [busy, other] {
        assert_eq!(site.wait(id).await.state, State::Cancelled);
    }
    drop((first, second));
    eventually("both have stopped", || async {
        site.broker.hosts().await.ok()?.is_empty().then_some(())
    })
    .await;
    let Day(today) = Day::of(site.now().await);
    let usage = site.broker.usage(&queue(), Day(today - 1), Day(today)).await.unwrap();
    let attempts: u64 = usage.iter().map(|row| row.usage.attempts).sum();
    assert_eq!(attempts, 4, "nothing ran twice");
}

async fn an_end_reaches_the_tasks_of_other_queues(site: Inside) {
    let other = QueueName::new("other").unwrap();
    let queues = vec![QueueOptions::new(queue()), QueueOptions::new(other.clone())];
    let _host = site.host("host", HostOptions { queues, ..HostOptions::default() }).await;
    let parent = site.submit(task("sleep", "300")).await;
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

async fn a_queues_configured_policy_replaces_the_stored_one(site: Inside) {
    let broker = &site.broker;
    let start = async |name: &str, text: &str| site.host(name, site.configured(text)).await;
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
