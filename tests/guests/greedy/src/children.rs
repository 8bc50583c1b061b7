//! Too many tasks, and those of others. Granted: the types `sink` and `enqueue-generations`, 10
//! of them, 64 KiB, 3 generations.

use std::time::Duration;

use bulkhead_guest::enqueue::Child;
use bulkhead_guest::kv;
use bulkhead_guest::prelude::*;

use crate::told;

const CHILDREN: usize = 10;
const GENERATIONS: u32 = 3;

/// Takes what is sent to it.
#[handler]
pub(crate) fn sink(_: Payload) {}

/// Submits more tasks than it may.
#[handler]
pub(crate) fn enqueue_many(_: Payload, task: &Task) -> String {
    let child = || Child::new("sink", Payload::text("x"));
    let taken = (0..CHILDREN + 40).filter(|_| task.submit(child()).is_ok()).count();
    told((taken > CHILDREN).then(|| format!("{taken} tasks")))
}

/// Submits tasks of types and to queues that it was not granted.
#[handler]
pub(crate) fn enqueue_others(_: Payload, task: &Task) -> String {
    let huge = "t".repeat(1 << 20);
    let mut found = Vec::new();
    for name in ["echo", "clock", "*", "", "sink\0", "../sink", "SINK", &huge] {
        let child = Child::new(name, Payload::text("x"));
        found.extend(task.submit(child).is_ok().then(|| format!("{name:.40?}")));
    }
    for queue in ["other", "*", "", "default\0", "{default}", "neighbour:default", &huge] {
        let child = Child::new("sink", Payload::text("x")).queue(queue);
        found.extend(task.submit(child).is_ok().then(|| format!("the queue {queue:.40?}")));
    }
    told(found)
}

/// Submits tasks that are too large or make no sense.
#[handler]
pub(crate) fn enqueue_giant(_: Payload, task: &Task) -> String {
    let child = || Child::new("sink", Payload::text("x"));
    let (large, name) = ("p".repeat(65 << 10), "n".repeat(1_000));
    let giants = [
        ("a payload", Child::new("sink", Payload::text(large.clone()))),
        ("a content type", Child::new("sink", Payload::new(large.clone(), "x"))),
        ("metadata", child().meta("key", large)),
        ("a long content type", Child::new("sink", Payload::new(name.clone(), "x"))),
        ("a long key", child().key(name)),
        ("a priority", child().priority(255)),
        ("a delay", child().delay(Duration::MAX)),
        ("an odd key", child().key("a\u{1b}[2J\0b")),
    ];
    told(
        giants
            .into_iter()
            .filter_map(|(what, child)| task.submit(child).is_ok().then(|| what.to_owned())),
    )
}

/// Submits two like itself, for as many generations as it may; one that should not be there says
/// so where the next attack looks.
#[handler]
pub(crate) fn enqueue_generations(generation: String, task: &Task) -> String {
    let generation: u32 = generation.parse().unwrap_or(0);
    if generation > GENERATIONS {
        let _ = kv::set("generation", generation.to_string());
    }
    for _ in 0..2 {
        let next = Payload::text((generation + 1).to_string());
        let _ = task.submit(Child::new("enqueue-generations", next));
    }
    let late = kv::get("generation").ok().flatten();
    told(late.map(|entry| format!("generation {:?}", entry.text())))
}
