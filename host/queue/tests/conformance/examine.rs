//! Examination finds nothing where nothing is wrong.

use bulkhead_core::{Bounds, QueuePolicy, TenantPolicy, Terms, Unique};
use bulkhead_queue::{NewTask, Over};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![a_busy_queue_is_sound_and_repair_changes_nothing];

async fn a_busy_queue_is_sound_and_repair_changes_nothing(talk: Talk) {
    let bounds = Bounds { concurrency: Some(2), rate: Some(rate_of("100/s burst 3")) };
    talk.set_policy(QueuePolicy {
        concurrency: Some(20),
        keys: [("k*".to_owned(), bounds)].into(),
        other_tenants: Some(TenantPolicy { in_flight: Some(9), ..TenantPolicy::default() }),
        events: Some(50),
        ..QueuePolicy::default()
    })
    .await;
    let unique =
        |name: &str| Unique { key: key(name), window_ms: None, conflict: Default::default() };
    let mut tasks = Vec::new();
    for at in 0..40 {
        let mut task = keyed(if at % 2 == 0 { "a" } else { "b" }, &format!("k{}", at % 3));
        task.tenant = tenant(["x", "y", "z"][at % 3]);
        if at % 4 == 0 {
            task.terms.unique = Some(unique(&format!("u{at}")));
        }
        if at % 5 == 0 {
            task.terms.not_before = Some(talk.now() + HOUR_MS);
        }
        tasks.push(task);
    }
    let batch = bulkhead_queue::NewBatch {
        queue: queue(),
        name: "all".into(),
        tasks,
        callback: Some(new_task("a")),
        over: Over::Ended,
        retention_ms: DAY_MS,
    };
    let batch = talk.client.submit_batch(None, batch).await.unwrap();
    let parents: Vec<_> = batch.tasks[..5].iter().map(|task| here(task.id)).collect();
    let child = with(
        "a",
        Terms { on_failed_parent: bulkhead_core::OnFailedParent::Run, ..after(&parents) },
    );
    talk.submit(NewTask { tenant: tenant("x"), ..child }).await;
    talk.is_sound().await;
    for round in 0..200 {
        let claims = talk.claim(3).await;
        for (at, claim) in claims.iter().enumerate() {
            let end = match (round + at) % 5 {
                0 => retry(claim, MINUTE_MS),
                1 => given_back(claim),
                2 => dead(claim),
                _ => done(claim),
            };
            talk.settle(end).await;
        }
        talk.pass(if claims.is_empty() { HOUR_MS } else { 10 });
        talk.is_sound().await;
    }
    let before = talk.stats().await;
    assert_eq!((before.running, before.pending, before.blocked), (0, 0, 0), "{before:?}");
    assert!(talk.broker.examine(&queue(), true).await.unwrap().is_empty());
    assert_eq!(talk.stats().await, before);
}
