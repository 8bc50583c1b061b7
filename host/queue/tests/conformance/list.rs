//! Listing: each filter alone, pages, inspection.

use bulkhead_core::{Failure, FailureKind, Outcome, Payload, State, TaskId};
use bulkhead_queue::{End, ListFilter, NewTask, Settlement, TaskView};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    every_state_is_listed,
    each_filter_chooses,
    failures_are_filtered_by_kind_and_text,
    pages_follow_each_other,
    a_filtered_page_counts_what_it_admits,
    inspection_answers_in_order,
    queues_are_apart,
];

async fn every_state_is_listed(talk: Talk) {
    let mut expected = Vec::new();
    for (end, state) in [
        (done as fn(&_) -> Settlement, State::Completed),
        (dead, State::Failed),
        (cancelled, State::Cancelled),
    ] {
        let id = talk.submit(new_task("a")).await;
        let claim = talk.claim_one().await;
        talk.settle(end(&claim)).await;
        expected.push((state, id));
    }
    expected.push((State::Running, talk.submit(new_task("a")).await));
    let claim = talk.claim_one().await;
    expected.push((State::Pending, talk.submit(new_task("a")).await));
    let later = talk.now() + DAY_MS;
    expected.push((State::Scheduled, talk.submit(with("a", starting(later))).await));
    expected.push((State::Blocked, talk.submit(with("a", after(&[here(claim.id)]))).await));
    expected.push((State::Expired, talk.submit(with("a", expiring(1))).await));
    assert_eq!(expected.len(), State::ALL.len());
    for (state, id) in expected {
        assert_eq!(talk.list(state).await, [id], "{state}");
        let listed = talk.broker.list(&queue(), &ListFilter::of(state)).await.unwrap();
        let listed: Vec<TaskView> = listed.into_iter().map(whenever).collect();
        let inspected = whenever(talk.view(id).await);
        assert_eq!(listed, [inspected], "a list shows what inspection does");
    }
}

/// It, without until when it is kept: Redis knows how much longer that is, so two looks may be
/// a millisecond apart.
fn whenever(view: TaskView) -> TaskView {
    TaskView { kept_until: view.kept_until.map(|_| 0), ..view }
}

async fn each_filter_chooses(talk: Talk) {
    let before = NewTask { metadata: vec![("name".into(), "needle one".into())], ..new_task("a") };
    let payload = Payload::new(Payload::TEXT, "a needle in text");
    let between = NewTask { payload, ..of_tenant("b", "acme") };
    let after = NewTask { payload: Payload::new(Payload::BINARY, vec![255, 1]), ..new_task("b") };
    let mut sent = Vec::new();
    for (at, task) in [(1_000, before), (2_000, between), (3_000, after)] {
        let task = task_of(task, at);
        talk.broker.submit(std::slice::from_ref(&task)).await.unwrap();
        sent.push(task.id);
    }
    let base = ListFilter::of(State::Pending);
    let cases: [(ListFilter, &[usize]); 7] = [
        (base.clone(), &[0, 1, 2]),
        (ListFilter { task_type: Some(of_type("b")), ..base.clone() }, &[1, 2]),
        (ListFilter { tenant: Some(tenant("acme")), ..base.clone() }, &[1]),
        (ListFilter { submitted_from: Some(2_000), ..base.clone() }, &[1, 2]),
        (ListFilter { submitted_before: Some(2_000), ..base.clone() }, &[0]),
        (ListFilter { contains: Some("needle".into()), ..base.clone() }, &[0, 1]),
        (
            ListFilter {
                contains: Some("needle".into()),
                task_type: Some(of_type("b")),
                ..base.clone()
            },
            &[1],
        ),
    ];
    for (filter, expected) in cases {
        let mut listed = talk.list_by(&filter).await;
        listed.sort();
        let mut expected: Vec<TaskId> = expected.iter().map(|at| sent[*at]).collect();
        expected.sort();
        assert_eq!(listed, expected, "{filter:?}");
    }
}

async fn failures_are_filtered_by_kind_and_text(talk: Talk) {
    let mut sent = Vec::new();
    for (kind, message) in
        [(FailureKind::Trapped, "unreachable"), (FailureKind::Reject, "no such address")]
    {
        sent.push(talk.submit(new_task("a")).await);
        let claim = talk.claim_one().await;
        let report = report(1, Outcome::Failed(Failure::new(kind, message)));
        let end = End::DeadLetter { report, retention_ms: DAY_MS };
        talk.settle(Settlement { token: claim.token, end, plugin: None }).await;
    }
    let base = ListFilter::of(State::Failed);
    let trapped = ListFilter { failure: Some(FailureKind::Trapped), ..base.clone() };
    assert_eq!(talk.list_by(&trapped).await, sent[..1]);
    let address = ListFilter { contains: Some("such address".into()), ..base.clone() };
    assert_eq!(talk.list_by(&address).await, sent[1..]);
    let none = ListFilter { failure: Some(FailureKind::TimedOut), ..base };
    assert!(talk.list_by(&none).await.is_empty());
}

async fn pages_follow_each_other(talk: Talk) {
    let mut sent = talk.submit_many((0..25).map(|_| new_task("a")).collect()).await;
    let mut listed = Vec::new();
    for offset in [0, 10, 20, 30] {
        let filter = ListFilter { offset, limit: 10, ..ListFilter::of(State::Pending) };
        listed.extend(talk.list_by(&filter).await);
    }
    listed.sort();
    sent.sort();
    assert_eq!(listed, sent);
}

async fn a_filtered_page_counts_what_it_admits(talk: Talk) {
    let mut wanted = Vec::new();
    for at in 0..30 {
        let id = talk.submit(of_tenant("a", if at % 3 == 0 { "acme" } else { "other" })).await;
        if at % 3 == 0 {
            wanted.push(id);
        }
    }
    let mut listed = Vec::new();
    for offset in [0, 4, 8] {
        let filter = ListFilter {
            tenant: Some(tenant("acme")),
            offset,
            limit: 4,
            ..ListFilter::of(State::Pending)
        };
        listed.extend(talk.list_by(&filter).await);
    }
    listed.sort();
    assert_eq!(listed, wanted);
}

async fn inspection_answers_in_order(talk: Talk) {
    let sent = talk.submit_many(vec![new_task("a"), new_task("b")]).await;
    let asked = [sent[1], fresh_id(), sent[0], sent[1]];
    let views = talk.broker.inspect(&queue(), &asked).await.unwrap();
    let found: Vec<Option<TaskId>> =
        views.iter().map(|view| view.as_ref().map(|view| view.id)).collect();
    assert_eq!(found, [Some(sent[1]), None, Some(sent[0]), Some(sent[1])]);
}

async fn queues_are_apart(talk: Talk) {
    let other = queue_named("other");
    let id = talk.submit(NewTask { queue: other.clone(), ..new_task("a") }).await;
    assert!(talk.find(id).await.is_none());
    assert!(talk.list(State::Pending).await.is_empty());
    assert!(talk.claim(10).await.is_empty());
    assert_eq!(talk.find_in(&other, id).await.unwrap().queue, other);
    assert_eq!(talk.client.find(id).await.unwrap().unwrap().id, id);
}
