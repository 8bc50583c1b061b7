//! Limits, pauses and events on the embedded broker, in memory and with a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod embedded_stage;

use std::time::Duration;

use bulkhead_core::{Bounds, QueuePolicy, Rate, State, TenantPolicy, TermKey, Terms};
use bulkhead_queue::{Broker, EventKind, NewTask, SubmitAnswer};
use bulkhead_stage::eventually;
use embedded_stage::*;

in_both_modes! {
    a_queue_and_a_type_are_paused_and_resumed
    concurrency_of_queue_type_tenant_and_key_is_bounded
    a_limited_key_does_not_hold_back_others
    a_rate_lets_go_by_time
    quotas_refuse_what_is_over_them
    events_are_told_in_order_and_waited_for
}

async fn a_queue_and_a_type_are_paused_and_resumed(talk: Talk) {
    let broker = &talk.broker;
    assert!(broker.pause(&queue(), None).await.unwrap());
    assert!(!broker.pause(&queue(), None).await.unwrap());
    talk.submit(new_task("a")).await;
    talk.submit(new_task("b")).await;
    assert!(talk.claim(2).await.is_empty());
    assert!(broker.stats(&queue()).await.unwrap().paused);
    assert!(broker.resume(&queue(), None).await.unwrap());
    assert!(!broker.resume(&queue(), None).await.unwrap());
    assert!(broker.pause(&queue(), Some(&of_type("a"))).await.unwrap());
    let claims = talk.claim(2).await;
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].task.as_ref().unwrap().task_type, of_type("b"));
    let stats = broker.stats(&queue()).await.unwrap();
    assert!(stats.by_type.iter().any(|depth| depth.task_type == "a" && depth.paused));
    assert!(broker.resume(&queue(), Some(&of_type("a"))).await.unwrap());
    assert_eq!(talk.claim(2).await.len(), 1);
}

fn at_most(concurrency: u32) -> Bounds {
    Bounds { concurrency: Some(concurrency), rate: None }
}

fn keyed(key: &str) -> NewTask {
    let key = Some(TermKey::new(key).unwrap());
    NewTask { terms: Terms { key, ..Terms::default() }, ..new_task("a") }
}

async fn concurrency_of_queue_type_tenant_and_key_is_bounded(talk: Talk) {
    let none = QueuePolicy::default;
    let of_tenant = TenantPolicy { in_flight: Some(2), ..TenantPolicy::default() };
    let policies = [
        QueuePolicy { concurrency: Some(2), ..none() },
        QueuePolicy { types: [(of_type("a"), at_most(2))].into(), ..none() },
        QueuePolicy { other_tenants: Some(of_tenant), ..none() },
        QueuePolicy { keys: [("k*".to_owned(), at_most(2))].into(), ..none() },
    ];
    for policy in policies {
        talk.broker.set_policy(&queue(), &policy).await.unwrap();
        assert_eq!(talk.broker.policy(&queue()).await.unwrap(), policy);
        talk.client.submit_many((0..5).map(|_| keyed("k1")).collect()).await.unwrap();
        let claims = talk.claim(10).await;
        assert_eq!(claims.len(), 2, "{policy:?}");
        assert!(talk.claim(10).await.is_empty(), "{policy:?}");
        let stepped = talk.step(vec![done(&claims[0])], &[], 10, &["a"]).await;
        assert_eq!(stepped.claims.len(), 1, "{policy:?}");
        talk.examined().await;
        // Without bounds all others are let go.
        talk.broker.set_policy(&queue(), &none()).await.unwrap();
        let rest = talk.claim(10).await;
        assert_eq!(rest.len(), 2, "{policy:?}");
        let held = claims.iter().skip(1).chain(&stepped.claims).chain(&rest);
        talk.step(held.map(done).collect(), &[], 0, &[]).await;
        assert_eq!(talk.broker.stats(&queue()).await.unwrap().running, 0);
    }
}

async fn a_limited_key_does_not_hold_back_others(talk: Talk) {
    let policy =
        QueuePolicy { keys: [("slow".to_owned(), at_most(1))].into(), ..Default::default() };
    talk.broker.set_policy(&queue(), &policy).await.unwrap();
    talk.client.submit_many((0..50).map(|_| keyed("slow")).collect()).await.unwrap();
    let other = talk.submit(keyed("fast")).await;
    let claims = talk.claim(10).await;
    assert_eq!(claims.len(), 2);
    assert!(claims.iter().any(|claim| claim.id == other));
    let stats = talk.broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.pending, stats.held_back), (49, 49));
    assert_eq!(talk.list(State::Pending).await.len(), 49);
    let back = claims.iter().find(|claim| claim.id != other).unwrap();
    talk.settle(given_back(back)).await;
    assert_eq!(talk.claim_one().await.id, back.id, "what was given back goes first");
    talk.examined().await;
}

async fn a_rate_lets_go_by_time(talk: Talk) {
    let rate = Rate::new(1, 100_000, 2);
    let by_key = Bounds { concurrency: None, rate };
    let of_tenant = TenantPolicy { rate, ..TenantPolicy::default() };
    let policies = [
        QueuePolicy { rate, ..Default::default() },
        QueuePolicy { types: [(of_type("a"), by_key)].into(), ..Default::default() },
        QueuePolicy { other_tenants: Some(of_tenant), ..Default::default() },
        QueuePolicy { keys: [("k".to_owned(), by_key)].into(), ..Default::default() },
    ];
    for policy in policies {
        talk.broker.set_policy(&queue(), &policy).await.unwrap();
        talk.client.submit_many((0..3).map(|_| keyed("k")).collect()).await.unwrap();
        let stepped = talk.step(vec![], &[], 10, &["a"]).await;
        assert_eq!(stepped.claims.len(), 2, "{policy:?}");
        assert!(stepped.next_due.unwrap() <= Duration::from_millis(100), "{policy:?}");
        eventually("a token comes back", || async { talk.claim(10).await.pop() }).await;
        talk.examined().await;
    }
}

async fn quotas_refuse_what_is_over_them(talk: Talk) {
    let quota =
        TenantPolicy { pending: Some(2), payload_bytes: Some(300), ..TenantPolicy::default() };
    let policy =
        QueuePolicy { tenants: [(tenant("small"), quota)].into(), ..QueuePolicy::default() };
    talk.broker.set_policy(&queue(), &policy).await.unwrap();
    let small = || NewTask { tenant: tenant("small"), ..new_task("a") };
    let mut large = small();
    large.payload.data = vec![b'x'; 500];
    assert_eq!(talk.answer(large).await, SubmitAnswer::OverPayload);
    let answers = talk.client.submit_many(vec![small(), small(), small()]).await.unwrap();
    let answers: Vec<SubmitAnswer> = answers.iter().map(|submitted| submitted.answer).collect();
    let expected = [SubmitAnswer::Accepted, SubmitAnswer::Accepted, SubmitAnswer::OverPending];
    assert_eq!(answers, expected);
    let claim = talk.claim_one().await;
    assert_eq!(talk.answer(small()).await, SubmitAnswer::OverPending, "a running one counts");
    talk.settle(done(&claim)).await;
    assert_eq!(talk.answer(small()).await, SubmitAnswer::Accepted);
    assert_eq!(talk.answer(new_task("a")).await, SubmitAnswer::Accepted);
}

async fn events_are_told_in_order_and_waited_for(talk: Talk) {
    let wait = Duration::from_millis(20);
    talk.submit(new_task("b")).await;
    assert!(talk.broker.events(&queue(), None, 10, wait).await.unwrap().is_empty());
    let policy = QueuePolicy { events: Some(3), ..QueuePolicy::default() };
    talk.broker.set_policy(&queue(), &policy).await.unwrap();
    let id = talk.submit(new_task("a")).await;
    let claim = talk.step(vec![], &[], 1, &["a"]).await.claims.remove(0);
    let events = talk.broker.events(&queue(), None, 10, wait).await.unwrap();
    let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Submitted, EventKind::Started]);
    assert!(events.iter().all(|event| event.task == id));
    let (queue, last) = (queue(), events.last().map(|event| event.id.clone()));
    let waiting = talk.broker.events(&queue, last.as_ref(), 10, Duration::from_secs(20));
    let (heard, _) = tokio::join!(waiting, talk.settle(done(&claim)));
    assert_eq!(heard.unwrap()[0].kind, EventKind::Completed);
    talk.submit(new_task("a")).await;
    let events = talk.broker.events(&queue, None, 10, wait).await.unwrap();
    assert_eq!(events.len(), 3, "the newest so many are kept");
}
