//! Depths and counters.

use bulkhead_core::{Priority, State};
use bulkhead_queue::{NewTask, QueueStats, TenantDepth, TypeDepth};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    an_unknown_queue_is_empty,
    depths_follow_the_tasks,
    totals_count_what_happened,
    the_oldest_pending_task_tells_since_when,
    tenants_with_the_most_come_first,
    tasks_in_line_are_told_by_priority,
];

async fn tasks_in_line_are_told_by_priority(talk: Talk) {
    let of = |task_type, level: u8| NewTask {
        priority: Priority::try_from(level).unwrap(),
        ..new_task(task_type)
    };
    for (level, n) in [(10, 1), (40, 2), (75, 3), (100, 1)] {
        talk.submit_many(vec![of("a", level); n]).await;
    }
    assert_eq!(talk.stats().await.by_priority, [1, 2, 3, 1]);
    talk.submit_many(vec![of("b", 100); 9]).await;
    // What stands first in a line stands for all of it.
    talk.submit_many(vec![of("b", 25); 4]).await;
    let stats = talk.stats().await;
    assert_eq!((stats.by_priority, stats.pending), ([1, 2, 3, 14], 20));
}

async fn an_unknown_queue_is_empty(talk: Talk) {
    let mut stats = talk.stats().await;
    stats.totals.retain(|_, total| *total > 0);
    assert_eq!(stats, QueueStats::default());
    assert!(talk.broker.queues().await.unwrap().is_empty());
    assert!(talk.claim(10).await.is_empty());
    for state in State::ALL {
        assert!(talk.list(state).await.is_empty());
    }
    talk.is_sound().await;
}

async fn depths_follow_the_tasks(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    talk.submit(with("a", after(&[here(parent)]))).await;
    talk.submit_many(vec![with("a", starting(talk.now() + DAY_MS)); 2]).await;
    let claim = talk.claim_one().await;
    talk.submit_many(vec![of_tenant("b", "acme"); 3]).await;
    let stats = talk.stats().await;
    assert_eq!(
        (stats.pending, stats.scheduled, stats.blocked, stats.running, stats.failed),
        (3, 2, 1, 1, 0)
    );
    let depth = TypeDepth { task_type: "b".into(), pending: 3, paused: false };
    assert!(stats.by_type.contains(&depth));
    let open = |tenant: &str, open| TenantDepth { tenant: tenant.into(), open };
    assert_eq!(stats.by_tenant, [open("default", 4), open("acme", 3)]);
    talk.settle(dead(&claim)).await;
    let stats = talk.stats().await;
    assert_eq!((stats.blocked, stats.running, stats.failed), (0, 0, 2));
    assert_eq!(stats.by_tenant, [open("acme", 3), open("default", 2)]);
}

async fn totals_count_what_happened(talk: Talk) {
    for end in [done, dead, cancelled, given_back, |claim: &_| retry(claim, 0)] {
        talk.submit(new_task("a")).await;
        let claim = talk.claim_one().await;
        talk.settle(end(&claim)).await;
    }
    let totals = talk.stats().await.totals;
    for (name, expected) in [
        ("submitted", 5),
        ("completed", 1),
        ("dead_lettered", 1),
        ("cancelled", 1),
        ("returned", 1),
        ("retried", 1),
        ("reclaimed", 0),
        ("expired", 0),
    ] {
        assert_eq!(totals.get(name).copied().unwrap_or(0), expected, "{name}");
    }
}

async fn the_oldest_pending_task_tells_since_when(talk: Talk) {
    assert_eq!(talk.stats().await.oldest_pending_at, None);
    let at = talk.now();
    talk.submit(new_task("a")).await;
    talk.pass(HOUR_MS);
    talk.submit(new_task("b")).await;
    let oldest = talk.stats().await.oldest_pending_at.unwrap();
    assert!(oldest >= at && oldest < at + MINUTE_MS);
    talk.claim(10).await;
    assert_eq!(talk.stats().await.oldest_pending_at, None);
}

async fn tenants_with_the_most_come_first(talk: Talk) {
    for (name, tasks) in [("few", 1), ("many", 9), ("some", 4)] {
        talk.submit_many(vec![of_tenant("a", name); tasks]).await;
    }
    let names: Vec<String> =
        talk.stats().await.by_tenant.into_iter().map(|tenant| tenant.tenant).collect();
    assert_eq!(names, ["many", "some", "few"]);
}
