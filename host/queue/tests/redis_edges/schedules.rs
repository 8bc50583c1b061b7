//! Schedules, progress, events, usage, remembered results, what a host holds.

use std::time::Duration;

use bulkhead_core::{Payload, QueuePolicy, Schedule, State, Task, Terms, UnixMs};
use bulkhead_queue::{
    Broker, Day, EventKind, Fire, FireAnswer, LastFire, ListFilter, Progress, Usage,
};
use bulkhead_stage::words::schedule;

use crate::stage::*;

fn fire(expected: UnixMs, next: UnixMs) -> (Task, Fire) {
    let task = task(Terms { schedule: Some("s".into()), ..Terms::default() });
    let fire = Fire {
        schedule: "s".into(),
        expected: Some(expected),
        next: Some(next),
        fires: vec![(expected, task.clone())],
        exclusive: true,
        by_hand: false,
    };
    (task, fire)
}

#[tokio::test]
async fn schedules_are_kept_and_changed() {
    let talk = Talk::new().await;
    let broker = &talk.broker;
    assert!(broker.put_schedule(&queue(), &schedule("s"), Some(5_000)).await.unwrap());
    assert!(!broker.put_schedule(&queue(), &schedule("s"), Some(9_000)).await.unwrap());
    assert!(broker.put_schedule(&queue(), &schedule("r"), None).await.unwrap());
    let listed = broker.schedules(&queue()).await.unwrap();
    let shown: Vec<_> = listed.iter().map(|view| (&*view.schedule.name, view.next)).collect();
    assert_eq!(shown, [("r", None), ("s", Some(5_000))]);
    assert_eq!(listed[1].schedule, schedule("s"));

    let other = Schedule { exclusive: false, ..schedule("s") };
    assert!(broker.put_schedule(&queue(), &other, Some(9_000)).await.unwrap());
    assert!(broker.pause_schedule(&queue(), "s", true, Some(9_500)).await.unwrap());
    assert!(!broker.pause_schedule(&queue(), "x", true, None).await.unwrap());
    let view = broker.schedules(&queue()).await.unwrap().remove(1);
    assert_eq!((view.paused, view.next, view.schedule.exclusive), (true, Some(9_500), false));
    assert!(broker.due_schedules(&queue(), 10).await.unwrap().due.is_empty(), "it is stopped");
    assert_eq!(broker.fire(&queue(), &fire(9_500, 9_999).1).await.unwrap(), FireAnswer::Superseded);
    let far = now() + 60_000;
    broker.pause_schedule(&queue(), "s", false, Some(far)).await.unwrap();
    let due = broker.due_schedules(&queue(), 10).await.unwrap();
    assert!(due.due.is_empty() && due.now <= now());
    assert_eq!(due.next, Some(far));

    assert!(broker.remove_schedule(&queue(), "s").await.unwrap());
    assert!(!broker.remove_schedule(&queue(), "s").await.unwrap());
    assert_eq!(broker.due_schedules(&queue(), 10).await.unwrap().next, None);
    assert_eq!(broker.fire(&queue(), &fire(far, far).1).await.unwrap(), FireAnswer::Unknown);
    assert_eq!(broker.queues().await.unwrap(), [queue()]);
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_fire_happens_once_and_does_not_overlap() {
    let talk = Talk::new().await;
    let broker = &talk.broker;
    broker.put_schedule(&queue(), &schedule("s"), Some(5_000)).await.unwrap();
    let due = broker.due_schedules(&queue(), 10).await.unwrap();
    assert_eq!(due.due.iter().map(|view| view.next).collect::<Vec<_>>(), [Some(5_000)]);
    let (first, fires) = fire(5_000, 6_000);
    assert_eq!(broker.fire(&queue(), &fires).await.unwrap(), FireAnswer::Fired(1));
    assert_eq!(broker.fire(&queue(), &fires).await.unwrap(), FireAnswer::Superseded);
    let view = broker.schedules(&queue()).await.unwrap().remove(0);
    let last = Some(LastFire { at: 5_000, task: first.id });
    assert_eq!((view.next, view.last, view.fired, view.skipped), (Some(6_000), last, 1, 0));

    let (_, second) = fire(6_000, 7_000);
    assert_eq!(broker.fire(&queue(), &second).await.unwrap(), FireAnswer::Overlapping);
    let mut by_hand = fire(0, 0).1;
    (by_hand.by_hand, by_hand.exclusive) = (true, false);
    assert_eq!(broker.fire(&queue(), &by_hand).await.unwrap(), FireAnswer::Fired(1));
    let view = broker.schedules(&queue()).await.unwrap().remove(0);
    assert_eq!((view.next, view.fired, view.skipped), (Some(7_000), 2, 1));

    let claims = talk.claim(10).await;
    assert_eq!(claims.len(), 2);
    talk.step_in(&queue(), claims.iter().map(done).collect(), &[], 0).await;
    // Of several missed fires the second overlaps with the first.
    let (third, mut fires) = fire(7_000, 8_000);
    fires.fires.push((7_500, plain()));
    assert_eq!(broker.fire(&queue(), &fires).await.unwrap(), FireAnswer::Fired(1));
    assert_eq!(talk.claim_one().await.id, third.id);
    let dropped = Fire { fires: vec![], expected: Some(8_000), ..fire(8_000, 9_000).1 };
    assert_eq!(broker.fire(&queue(), &dropped).await.unwrap(), FireAnswer::Fired(0));
    let view = broker.schedules(&queue()).await.unwrap().remove(0);
    assert_eq!((view.next, view.skipped), (Some(9_000), 2));
    let filter = ListFilter { schedule: Some("s".into()), ..ListFilter::of(State::Running) };
    assert_eq!(broker.list(&queue(), &filter, None).await.unwrap().tasks.len(), 1);
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn progress_is_shown_while_the_claim_stands() {
    let talk = Talk::new().await;
    let id = talk.store(&plain()).await;
    let claim = talk.claim_one().await;
    let progress = Progress { fraction: 0.5, message: "half".into(), at: 7 };
    let said = [(claim.token.clone(), progress.clone())];
    talk.step_in(&queue(), vec![], &said, 0).await;
    assert_eq!(talk.view(id).await.progress, Some(progress));
    talk.settle(give_back(&claim)).await;
    assert_eq!(talk.view(id).await.progress, None);
    let again = talk.claim_one().await;
    talk.step_in(&queue(), vec![], &said, 0).await;
    assert_eq!(talk.view(id).await.progress, None, "a stale claim says nothing");
    talk.settle(done(&again)).await;
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn events_tell_each_edge_in_order_and_are_capped() {
    let talk = Talk::new().await;
    let none = talk.broker.events(&queue(), None, 10, Duration::ZERO).await.unwrap();
    assert!(none.is_empty(), "they are opt-in");
    talk.policy(QueuePolicy { events: Some(6), ..Default::default() }).await;
    let wait = Duration::from_secs(20);
    let (heard, id) = {
        let q = queue();
        let t = plain();
        tokio::join!(talk.broker.events(&q, None, 10, wait), talk.store(&t))
    };
    let heard = heard.unwrap();
    assert_eq!((heard[0].kind, heard[0].task), (EventKind::Submitted, id));
    assert_eq!((&*heard[0].task_type, &*heard[0].tenant), ("a", "default"));

    let claim = talk.claim_one().await;
    talk.settle(retry(&claim, 60_000)).await;
    talk.broker.rerun(&queue(), &[id]).await.unwrap();
    let claim = talk.claim_one().await;
    talk.settle(dead(&claim)).await;
    let after = talk.broker.events(&queue(), Some(&heard[0].id), 10, wait).await.unwrap();
    use EventKind::{Failed, Rerun, Retried, Started};
    let kinds: Vec<_> = after.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Started, Retried, Rerun, Started, Failed]);
    talk.store(&plain()).await;
    let kept = talk.broker.events(&queue(), None, 10, Duration::ZERO).await.unwrap();
    assert_eq!(kept.len(), 6, "at most the newest six");
    assert!(
        talk.broker
            .events(&queue(), Some(&bulkhead_queue::EventId("x".into())), 1, wait)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn usage_adds_up_by_tenant_and_day() {
    let talk = Talk::new().await;
    for name in ["acme", "acme", "other"] {
        talk.store(&Task { tenant: tenant(name), ..plain() }).await;
    }
    let claims = talk.claim(10).await;
    talk.step_in(&queue(), claims.iter().map(done).collect(), &[], 0).await;
    // An attempt whose claim is stale did use it.
    talk.step_in(&queue(), vec![done(&claims[2])], &[], 0).await;
    let today = Day::of(now());
    let rows = talk.broker.usage(&queue(), Day(today.0 - 1), today).await.unwrap();
    let row = |n: u64| Usage { attempts: n, fuel: 7 * n, cpu_us: 5 * n, ..Usage::default() };
    let stale = claims[2].task.as_ref().unwrap().tenant.clone();
    for found in &rows {
        let n = if found.line.tenant == "acme" { 2 } else { 1 };
        assert_eq!(
            found.usage,
            row(n + u64::from(found.line.tenant == stale.as_str())),
            "{}",
            found.line
        );
    }
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn results_are_remembered_for_their_time() {
    let talk = Talk::new().await;
    let queue = queue();
    let recall = || talk.broker.recall(&queue, "type/hash/digest");
    assert_eq!(recall().await.unwrap(), None);
    let output = Payload::new("text/plain", "known");
    talk.broker.remember(&queue, "type/hash/digest", &output, DAY_MS).await.unwrap();
    assert_eq!(recall().await.unwrap(), Some(output));
    talk.pass(2 * DAY_MS);
    assert_eq!(recall().await.unwrap(), None);
}

#[tokio::test]
async fn a_host_finds_what_it_holds() {
    let talk = Talk::new().await;
    for _ in 0..3 {
        talk.store(&plain()).await;
    }
    let claims = talk.claim(2).await;
    talk.broker.cancel(&queue(), &[claims[0].id], DAY_MS).await.unwrap();
    let mut held = talk.broker.held(&queue(), "h1").await.unwrap();
    held.sort_by_key(|claim| claim.id);
    let tokens = |claims: &[bulkhead_queue::Claim]| {
        claims.iter().map(|claim| claim.token.clone()).collect::<Vec<_>>()
    };
    assert_eq!(tokens(&held), tokens(&claims));
    assert_eq!(
        held.iter().map(|c| (c.attempt, c.cancelled)).collect::<Vec<_>>(),
        [(1, true), (1, false)]
    );
    assert!(talk.broker.held(&queue(), "h2").await.unwrap().is_empty());
    talk.settle(done(&held[1])).await;
    assert_eq!(talk.broker.held(&queue(), "h1").await.unwrap().len(), 1);
}
