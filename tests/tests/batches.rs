//! Several tasks in one call, through a real host: who shares one, and what becomes of the
//! others when one of them misbehaves.

use std::collections::BTreeSet;
use std::time::Duration;

use bulkhead::HostOptions;
use bulkhead_core::{Backoff, FailureKind, RetryRequest, State, TaskId, TenantName, Terms};
use bulkhead_queue::{NewTask, TaskView};
use bulkhead_tests::{Inside, eventually, failure, on_both_brokers, output, task};

on_both_brokers!(
    what_is_claimed_together_runs_together_and_no_tenants_are_mixed,
    no_call_takes_more_than_its_bound,
    a_task_that_fails_fails_alone,
    a_poison_task_takes_nobody_down_with_it,
    later_attempts_run_alone,
    one_of_a_running_batch_is_cancelled_and_the_others_go_on,
);

/// Two attempts, the second at once.
fn twice() -> Terms {
    let retry = RetryRequest {
        max_attempts: Some(2),
        backoff: Some(Backoff::Fixed { delay_ms: 1 }),
        ..RetryRequest::default()
    };
    Terms { retry: Some(retry), ..Terms::default() }
}

/// Submit one task for each command, so that they are in line when the host comes.
async fn submit(site: &Inside, commands: &[&str]) -> Vec<TaskId> {
    let tasks = commands.iter().map(|command| {
        let tenant = TenantName::new("acme").expect("a tenant");
        NewTask { tenant, terms: twice(), ..task("together", *command) }
    });
    let submitted = site.client.submit_many(tasks.collect()).await.expect("submitted");
    submitted.into_iter().map(|submitted| submitted.id).collect()
}

async fn ends(site: &Inside, ids: &[TaskId]) -> Vec<TaskView> {
    let mut views = Vec::new();
    for id in ids {
        views.push(site.wait(*id).await);
    }
    views
}

async fn what_is_claimed_together_runs_together_and_no_tenants_are_mixed(site: Inside) {
    let tenant = |name: &str| TenantName::new(name).expect("a tenant");
    let of = |name: &str| NewTask { tenant: tenant(name), ..task("together", name.to_owned()) };
    let tasks = vec![of("a"), of("b"), of("a"), of("b"), of("a")];
    let submitted = site.client.submit_many(tasks).await.expect("submitted");
    let ids: Vec<TaskId> = submitted.into_iter().map(|submitted| submitted.id).collect();
    let _host = site.host("host", HostOptions::default()).await;
    let outputs: BTreeSet<String> = ends(&site, &ids).await.iter().map(output).collect();
    let expected = ["a: 1 of 3", "a: 2 of 3", "a: 3 of 3", "b: 1 of 2", "b: 2 of 2"];
    assert_eq!(outputs, expected.map(str::to_owned).into());
}

async fn no_call_takes_more_than_its_bound(site: Inside) {
    let ids = submit(&site, &["x"; 40]).await;
    let options = HostOptions { concurrency: 64, ..HostOptions::default() };
    let _host = site.host("host", options).await;
    let views = ends(&site, &ids).await;
    let sizes: Vec<usize> = views
        .iter()
        .map(|view| output(view).rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a size"))
        .collect();
    assert!(sizes.iter().all(|size| (1..=16).contains(size)), "{sizes:?}");
    assert!(sizes.contains(&16), "{sizes:?}");
}

async fn a_task_that_fails_fails_alone(site: Inside) {
    let ids = submit(&site, &["a", "fail", "c"]).await;
    let _host = site.host("host", HostOptions::default()).await;
    let views = ends(&site, &ids).await;
    assert_eq!((output(&views[0]), output(&views[2])), ("a: 1 of 3".into(), "c: 3 of 3".into()));
    assert_eq!(views[1].state, State::Failed);
    assert_eq!(failure(&views[1]).kind, FailureKind::Reject);
    let fuel = |view: &TaskView| view.last_report().expect("a report").metering.fuel;
    assert!(fuel(&views[0]).abs_diff(fuel(&views[2])) <= 1, "divided evenly");
}

async fn a_poison_task_takes_nobody_down_with_it(site: Inside) {
    let ids = submit(&site, &["a", "panic", "c"]).await;
    let _host = site.host("host", HostOptions::default()).await;
    let views = ends(&site, &ids).await;
    for (view, name) in [(&views[0], "a"), (&views[2], "c")] {
        assert_eq!((view.state, view.attempts()), (State::Completed, 1));
        assert_eq!(output(view), format!("{name}: 1 of 1"), "it ran again, alone");
        let logs = &view.last_report().expect("a report").logs;
        assert!(logs[0].message.contains("the batch that it began in fell"), "{logs:?}");
    }
    assert_eq!((views[1].state, views[1].attempts()), (State::Failed, 2));
    assert!(failure(&views[1]).message.contains("as it was told"));
}

async fn later_attempts_run_alone(site: Inside) {
    let ids = submit(&site, &["flaky", "flaky", "flaky"]).await;
    let _host = site.host("host", HostOptions::default()).await;
    for view in ends(&site, &ids).await {
        assert_eq!((view.state, view.attempts()), (State::Completed, 2));
        assert_eq!(output(&view), "flaky: 1 of 1");
    }
}

async fn one_of_a_running_batch_is_cancelled_and_the_others_go_on(site: Inside) {
    let ids = submit(&site, &["a", "wait", "c"]).await;
    let options = HostOptions { lease: Duration::from_secs(1), ..HostOptions::default() };
    let _host = site.host("host", options).await;
    eventually("the batch runs", || async {
        (site.view(ids[1]).await.state == State::Running).then_some(())
    })
    .await;
    let queue = bulkhead_core::QueueName::default();
    site.client.broker().cancel(&queue, &[ids[1]], 60_000).await.expect("a broker");
    let views = ends(&site, &ids).await;
    assert_eq!(views[1].state, State::Cancelled);
    assert_eq!((output(&views[0]), output(&views[2])), ("a: 1 of 3".into(), "c: 3 of 3".into()));
}
