//! What a guest can tell of time and chance: exact, coarse, frozen; the system's, or the task's.

use bulkhead_core::{Limits, TaskId};
use bulkhead_sandbox::{Attempt, Clocks, EnqueueGrant, Grants, KvGrant, Plugin, Randomness};
use uuid::Uuid;

use crate::rig::{asking, attempt, done, now, offering, task};

const GRID_NS: u64 = 10_000_000;

async fn load(clocks: Clocks, random: Randomness) -> Plugin {
    let grants = Grants {
        kv: Some(KvGrant::default()),
        config: true,
        secrets: ["token".to_owned()].into(),
        enqueue: Some(EnqueueGrant::default()),
        clocks,
        random,
        ..Grants::default()
    };
    offering().await.load(asking("toucher", grants)).await.unwrap()
}

/// What the guest answers as the task with this id, submitted at 123,456 ms.
async fn answers(plugin: &Plugin, id: u128, commands: &[&str]) -> Vec<String> {
    let mut task = task("touch", &commands.join("\n"));
    task.id = TaskId(Uuid::from_u128(id));
    task.submitted_at = 123_456;
    let limits = Limits { wall_ms: 20_000, ..Limits::default() };
    let end = plugin.attempt(Attempt { limits, ..attempt(&task) }).await.unwrap();
    done(&end).lines().map(str::to_owned).collect()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap()
}

#[tokio::test]
async fn exact_clocks_show_the_time() {
    let plugin = load(Clocks::Exact, Randomness::System).await;
    let before = now();
    let seen = answers(&plugin, 7, &["wall", "steps 5", "sleep 20", "deadline"]).await;
    assert!(number(&seen[0]) / 1_000_000 >= before, "{seen:?}");
    assert!(seen[1].split(' ').any(|step| !number(step).is_multiple_of(GRID_NS)), "{seen:?}");
    assert!(number(&seen[2]) >= 20_000_000, "{seen:?}");
    assert!(number(&seen[3]) >= before + 20_000, "{seen:?}");
}

#[tokio::test]
async fn coarse_clocks_show_nothing_finer_than_ten_milliseconds() {
    let plugin = load(Clocks::Coarse, Randomness::System).await;
    let before = now();
    let commands = ["wall", "steps 3", "sleep 1", "sleep 12", "remaining", "deadline"];
    let seen = answers(&plugin, 7, &commands).await;
    assert!(number(&seen[0]) / 1_000_000 >= before - 10, "{seen:?}");
    for ns in seen[1].split(' ').chain([seen[0].as_str(), &seen[2], &seen[3]]) {
        assert_eq!(number(ns) % GRID_NS, 0, "{seen:?}");
    }
    // Waits end on the grid: one of 1 ms is seen to take a whole part of it or none.
    assert!(number(&seen[3]) >= GRID_NS, "{seen:?}");
    assert_eq!((number(&seen[4]) % 10, number(&seen[5]) % 10), (0, 0), "{seen:?}");
}

#[tokio::test]
async fn frozen_clocks_show_no_time() {
    let plugin = load(Clocks::Frozen, Randomness::System).await;
    let seen = answers(&plugin, 7, &["wall", "sleep 30", "wall", "remaining", "deadline"]).await;
    assert_eq!(seen, ["123456000000", "0", "123456000000", "20000", "143456"]);
}

#[tokio::test]
async fn seeded_randomness_follows_from_the_task() {
    let seeded = load(Clocks::Exact, Randomness::Seeded).await;
    let first = answers(&seeded, 7, &["random", "random"]).await;
    assert_eq!(first, answers(&seeded, 7, &["random", "random"]).await, "every attempt");
    assert_ne!(first, answers(&seeded, 8, &["random", "random"]).await, "another task");
    let system = load(Clocks::Exact, Randomness::System).await;
    let random = answers(&system, 7, &["random"]).await;
    assert_ne!(random, answers(&system, 7, &["random"]).await);
    assert_ne!(random[0], first[0]);
}
