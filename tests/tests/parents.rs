//! A task that waited for others reads what they produced, through a host.

use bulkhead::HostOptions;
use bulkhead_core::{OnFailedParent, Payload, QueueName, State, TaskRef, TaskType, Terms};
use bulkhead_queue::NewTask;
use bulkhead_tests::{Inside, on_both_brokers, output, task};

on_both_brokers!(
    a_child_reads_its_parents_outputs_in_the_order_that_it_named,
    a_task_of_a_batch_reads_its_own,
);

async fn submit(site: &Inside, new: NewTask) -> TaskRef {
    TaskRef { queue: QueueName::default(), id: site.submit(new).await }
}

fn child(task_type: &str, payload: &str, after: Vec<TaskRef>) -> NewTask {
    let on_failed_parent = OnFailedParent::Run;
    let terms = Terms { after, on_failed_parent, ..Terms::default() };
    NewTask { terms, ..task(task_type, payload) }
}

async fn a_child_reads_its_parents_outputs_in_the_order_that_it_named(site: Inside) {
    let _host = site.host("host", HostOptions::default()).await;
    let slow = submit(&site, task("sleep", "50")).await;
    let bad = submit(&site, task("reject", "x")).await;
    let said = Payload::new("text/x-odd", "what the parent said");
    let good = NewTask::new(TaskType::new("echo").expect("a type"), said);
    let good = submit(&site, good).await;
    let child = submit(&site, child("parents", "", vec![good.clone(), bad.clone(), slow])).await;
    let view = site.wait(child.id).await;
    let seen: serde_json::Value = serde_json::from_str(&output(&view)).expect("JSON");
    assert_eq!(
        seen[0],
        serde_json::json!({
            "queue": "default", "id": good.id.to_string(), "state": "Completed",
            "content_type": "text/x-odd", "output": "what the parent said",
        })
    );
    assert_eq!((&seen[1]["state"], &seen[1]["id"]), (&"Failed".into(), &bad.id.to_string().into()));
    assert_eq!((&seen[2]["state"], seen.as_array().map(Vec::len)), (&"Completed".into(), Some(3)));
}

async fn a_task_of_a_batch_reads_its_own(site: Inside) {
    let _host = site.host("host", HostOptions::default()).await;
    let parent = submit(&site, task("sleep", "50")).await;
    // Both leave `blocked` with the same end, so they are claimed together.
    let named = |command: &str, parents: &[&TaskRef]| {
        child("together", command, parents.iter().map(|parent| (*parent).clone()).collect())
    };
    let other = submit(&site, task("sleep", "1")).await;
    let one = submit(&site, named("parents", &[&parent])).await;
    let two = submit(&site, named("parents", &[&parent, &other])).await;
    let views = [site.wait(one.id).await, site.wait(two.id).await];
    assert_eq!(views.iter().map(output).collect::<Vec<_>>(), ["1", "2"]);
    assert!(views.iter().all(|view| view.state == State::Completed));
}
