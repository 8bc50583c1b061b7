//! What a handler sees of the tasks that it waited for.

use std::sync::Arc;

use bulkhead_core::{FailureKind, Limits, Parent, Payload, State, TaskId, TaskRef};
use bulkhead_sandbox::{Attempt, AttemptEnd};
use uuid::Uuid;

use crate::rig::{attempt, done, failed, task, unruly};

fn parent(id: u128, state: Option<State>, output: Option<Payload>) -> Parent {
    let queue = "mail".parse().unwrap();
    Parent { task: TaskRef { queue, id: TaskId(Uuid::from_u128(id)) }, state, output }
}

async fn see(parents: Vec<Parent>, limits: Limits) -> AttemptEnd {
    let task = task("parents", "");
    let parents = Some(Arc::from(parents));
    unruly().await.attempt(Attempt { parents, limits, ..attempt(&task) }).await.unwrap()
}

#[tokio::test]
async fn every_end_and_output_is_seen_in_order() {
    let parents = vec![
        parent(2, Some(State::Completed), Some(Payload::new("text/x", "two"))),
        parent(1, Some(State::Failed), None),
        parent(3, Some(State::Cancelled), None),
        parent(4, Some(State::Expired), None),
        parent(5, None, None),
    ];
    let end = see(parents, Limits::default()).await;
    let seen: serde_json::Value = serde_json::from_str(done(&end)).unwrap();
    assert_eq!(
        seen[0],
        serde_json::json!({
            "queue": "mail", "id": "00000000-0000-0000-0000-000000000002", "state": "Completed",
            "content_type": "text/x", "output": "two",
        })
    );
    let states: Vec<_> =
        seen.as_array().unwrap().iter().map(|seen| seen["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["Completed", "Failed", "Cancelled", "Expired", "Unknown"]);
    assert_eq!(seen[1]["output"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_task_that_waited_for_none_has_none() {
    let task = task("parents", "");
    let end = unruly().await.attempt(attempt(&task)).await.unwrap();
    assert_eq!(done(&end), "[]");
    assert_eq!(done(&see(Vec::new(), Limits::default()).await), "[]");
}

#[tokio::test]
async fn an_output_is_held_to_what_one_call_may_give() {
    let output = |bytes: usize| {
        vec![parent(1, Some(State::Completed), Some(Payload::new("", vec![b'x'; bytes])))]
    };
    let limits = Limits { hostcall_bytes: 10_000, ..Limits::default() };
    done(&see(output(9_000), limits).await);
    let end = see(output(10_001), limits).await;
    let failure = failed(&end, FailureKind::HostcallTooLarge);
    assert!(failure.message.contains("`hostcall` = 10000 bytes"), "{}", failure.message);
}

#[tokio::test]
async fn outputs_count_against_the_guests_memory() {
    let big = |id| parent(id, Some(State::Completed), Some(Payload::new("", vec![b'x'; 4 << 20])));
    let limits = Limits { memory_bytes: 16 << 20, ..Limits::default() };
    let end = see((0..8).map(big).collect(), limits).await;
    failed(&end, FailureKind::OutOfMemory);
}
