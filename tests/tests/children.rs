//! Tasks that a handler submits, through a real host: with its task's completion, and within
//! what the operator granted.

use bulkhead::HostOptions;
use bulkhead_core::{
    Backoff, QueueName, RetryRequest, State, TaskId, TaskRef, TenantName, Terms, child_id,
};
use bulkhead_queue::{Entry, NewTask, TaskView};
use bulkhead_tests::{Inside, Running, eventually, install, on_both_brokers, output, task};

on_both_brokers!(
    children_run_once_their_parent_has_completed,
    a_child_of_another_queue_runs_there,
    a_parent_that_fails_submits_none,
    a_parent_that_is_tried_again_submits_once,
    only_what_is_granted_is_submitted,
    a_task_that_multiplies_ends_at_its_depth,
    of_a_batch_those_submit_that_complete,
);

/// The same where the guest that submits runs in a worker process.
mod apart {
    use super::Inside;

    #[tokio::test]
    async fn children_run_once_their_parent_has_completed() {
        super::children_run_once_their_parent_has_completed(Inside::redis().await.apart()).await;
    }

    #[tokio::test]
    async fn a_parent_that_fails_submits_none() {
        super::a_parent_that_fails_submits_none(Inside::redis().await.apart()).await;
    }

    #[tokio::test]
    async fn a_parent_that_is_tried_again_submits_once() {
        super::a_parent_that_is_tried_again_submits_once(Inside::embedded().apart()).await;
    }

    #[tokio::test]
    async fn only_what_is_granted_is_submitted() {
        super::only_what_is_granted_is_submitted(Inside::embedded().apart()).await;
    }

    #[tokio::test]
    async fn of_a_batch_those_submit_that_complete() {
        super::of_a_batch_those_submit_that_complete(Inside::redis().await.apart()).await;
    }
}

const GRANT: &str = r#"enqueue = { types = ["echo", "multiply"], queues = ["other"], depth = 3 }"#;

/// A host on which the guest was granted to submit.
async fn host(site: &Inside) -> Running {
    host_with(site, "").await
}

async fn host_with(site: &Inside, more: &str) -> Running {
    install(site.folder(), "breeder");
    let options = site.configured(&format!("{more}\n[grants.breeder]\n{GRANT}\n"));
    site.host("host", HostOptions { concurrency: 8, ..options }).await
}

/// The child at a place of those that a task of the default queue submits.
fn child_of(parent: TaskId, place: u32) -> TaskId {
    child_id(&TaskRef { queue: QueueName::default(), id: parent }, place)
}

async fn find(site: &Inside, queue: &QueueName, id: TaskId) -> Option<TaskView> {
    site.broker.inspect(queue, &[id]).await.expect("a broker").remove(0)
}

async fn total(site: &Inside, name: &str) -> u64 {
    let stats = site.broker.stats(&QueueName::default()).await.expect("a broker");
    stats.totals.get(name).copied().unwrap_or(0)
}

async fn children_run_once_their_parent_has_completed(site: Inside) {
    let _host = host(&site).await;
    let tenant = TenantName::new("acme").expect("a tenant");
    let commands = "child echo one\nchild echo two";
    let parent = site.submit(NewTask { tenant: tenant.clone(), ..task("bear", commands) }).await;
    let said = output(&site.wait(parent).await);
    for (place, (line, payload)) in (0..).zip(said.lines().zip(["one", "two"])) {
        let id = child_of(parent, place);
        assert_eq!(line, format!("ok {id}"));
        let child = site.wait(id).await;
        assert_eq!(output(&child), payload);
        let child = child.task.expect("a readable task");
        assert_eq!((child.tenant, child.terms.depth), (tenant.clone(), 1));
    }
    assert_eq!(total(&site, "submitted").await, 3);
}

async fn a_child_of_another_queue_runs_there(site: Inside) {
    let _host = host_with(&site, "host.queues = [\"default\", \"other\"]").await;
    let parent = site.ended("bear", "child-in other echo").await.id;
    let (other, id) = (QueueName::new("other").expect("a queue"), child_of(parent, 0));
    let child = eventually("the child has ended", || async {
        find(&site, &other, id).await.filter(|child| child.state.is_terminal())
    })
    .await;
    assert_eq!(output(&child), "x");
}

async fn a_parent_that_fails_submits_none(site: Inside) {
    let _host = host(&site).await;
    let parent = site.ended("bear", "child echo one\nfail").await;
    assert_eq!(parent.state, State::Failed);
    assert!(find(&site, &parent.queue, child_of(parent.id, 0)).await.is_none());
    assert_eq!(total(&site, "submitted").await, 1);
}

async fn a_parent_that_is_tried_again_submits_once(site: Inside) {
    let _host = host(&site).await;
    let retry = RetryRequest {
        max_attempts: Some(2),
        backoff: Some(Backoff::Fixed { delay_ms: 1 }),
        ..RetryRequest::default()
    };
    let terms = Terms { retry: Some(retry), ..Terms::default() };
    let parent = site.submit(NewTask { terms, ..task("bear", "child echo one\nfail-once") }).await;
    let parent = site.wait(parent).await;
    assert_eq!((parent.state, parent.attempts()), (State::Completed, 2));
    let child = site.wait(child_of(parent.id, 0)).await;
    // The first attempt noted a child as well, which was dropped with it.
    let Entry::Ended(_, second) = &parent.history[1] else { panic!("{:?}", parent.history) };
    assert!(child.task.expect("a readable task").submitted_at >= second.started_at);
    assert_eq!(total(&site, "submitted").await, 2);
}

async fn only_what_is_granted_is_submitted(site: Inside) {
    let _host = host(&site).await;
    let parent = site.ended("bear", "child noop x\nchild-in elsewhere echo").await;
    assert_eq!(parent.state, State::Completed);
    let said = output(&parent);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with("error NotAllowed")));
    assert_eq!(total(&site, "submitted").await, 1);
}

async fn a_task_that_multiplies_ends_at_its_depth(site: Inside) {
    let _host = host(&site).await;
    site.submit(task("multiply", "")).await;
    let generations = 1 + 2 + 4 + 8;
    eventually("all have completed", || async {
        (total(&site, "completed").await == generations).then_some(())
    })
    .await;
    assert_eq!(total(&site, "submitted").await, generations);
    let stats = site.broker.stats(&QueueName::default()).await.expect("a broker");
    assert_eq!((stats.pending, stats.scheduled, stats.running), (0, 0, 0));
}

async fn of_a_batch_those_submit_that_complete(site: Inside) {
    let tasks = ["one", "fail", "three"].map(|payload| task("bear-together", payload));
    let submitted = site.client.submit_many(tasks.into()).await.expect("submitted");
    let _host = host(&site).await;
    for submitted in &submitted {
        site.wait(submitted.id).await;
    }
    for (submitted, payload) in submitted.iter().zip([Some("one"), None, Some("three")]) {
        let id = child_of(submitted.id, 0);
        match payload {
            Some(payload) => assert_eq!(output(&site.wait(id).await), payload),
            None => assert!(find(&site, &QueueName::default(), id).await.is_none()),
        }
    }
}
