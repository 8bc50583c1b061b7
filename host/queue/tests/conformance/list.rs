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
    a_listing_goes_on_though_tasks_leave_and_come,
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
        let listed = talk.broker.list(&queue(), &ListFilter::of(state), None).await.unwrap().tasks;
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

/// The pages of a listing, at most `limit` tasks each.
async fn pages(talk: &Talk, filter: &ListFilter, limit: usize) -> Vec<Vec<TaskId>> {
    let filter = ListFilter { limit, ..filter.clone() };
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = talk.broker.list(&queue(), &filter, after.as_ref()).await.unwrap();
        assert!(page.tasks.len() <= limit);
        pages.push(page.tasks.iter().map(|view| view.id).collect());
        after = page.next;
        if after.is_none() {
            return pages;
        }
    }
}

/// Tasks in every state that has an order of its own, and how many of each.
async fn all_over(talk: &Talk) -> [(State, usize); 7] {
    let later = talk.now() + DAY_MS;
    let ends: [fn(&_) -> Settlement; 3] = [done, dead, cancelled];
    for (end, count) in ends.into_iter().zip([13, 11, 5]) {
        talk.submit_many((0..count).map(|_| new_task("a")).collect()).await;
        for claim in talk.claim(count as u32).await {
            talk.settle(end(&claim)).await;
        }
    }
    talk.submit_many((0..12).map(|_| new_task("run")).collect()).await;
    let running = talk.claim_of(&["run"], 12).await;
    assert_eq!(running.len(), 12);
    let parent = here(running[0].id);
    talk.submit_many((0..9).map(|_| with("a", after(std::slice::from_ref(&parent)))).collect())
        .await;
    talk.submit_many((0..14).map(|_| with("a", starting(later))).collect()).await;
    let pending = (0..23).map(|at| of_tenant(["a", "a.b", "c"][at % 3], ["x", "x-y"][at % 2]));
    talk.submit_many(pending.collect()).await;
    [
        (State::Completed, 13),
        (State::Failed, 11),
        (State::Cancelled, 5),
        (State::Running, 12),
        (State::Blocked, 9),
        (State::Scheduled, 14),
        (State::Pending, 23),
    ]
}

async fn pages_follow_each_other(talk: Talk) {
    for (state, count) in all_over(&talk).await {
        let whole = pages(&talk, &ListFilter::of(state), 100).await.concat();
        assert_eq!(whole.len(), count, "{state}");
        for limit in [1, 4, count] {
            let parts = pages(&talk, &ListFilter::of(state), limit).await.concat();
            assert_eq!(parts, whole, "{state} by {limit}");
        }
    }
}

async fn a_filtered_page_counts_what_it_admits(talk: Talk) {
    let mut wanted = Vec::new();
    for at in 0..30 {
        let id = talk.submit(of_tenant("a", if at % 3 == 0 { "acme" } else { "other" })).await;
        if at % 3 == 0 {
            wanted.push(id);
        }
    }
    let acme = ListFilter { tenant: Some(tenant("acme")), ..ListFilter::of(State::Pending) };
    let listed = pages(&talk, &acme, 4).await;
    assert_eq!(listed.concat(), wanted);
    assert_eq!((listed[0].len(), listed[1].len(), listed[2].len()), (4, 4, 2));
}

async fn a_listing_goes_on_though_tasks_leave_and_come(talk: Talk) {
    let sent = talk.submit_many((0..20).map(|_| new_task("a")).collect()).await;
    let filter = ListFilter { limit: 5, ..ListFilter::of(State::Pending) };
    let first = talk.broker.list(&queue(), &filter, None).await.unwrap();
    assert_eq!(first.tasks.iter().map(|view| view.id).collect::<Vec<_>>(), sent[..5]);
    // What was listed leaves, its last one too; so do two that were not.
    talk.broker.cancel(&queue(), &sent[..7], DAY_MS).await.unwrap();
    let more = talk.submit_many(vec![new_task("a")]).await;
    let (mut rest, mut after) = (Vec::new(), first.next);
    while let Some(mark) = after {
        let page = talk.broker.list(&queue(), &filter, Some(&mark)).await.unwrap();
        rest.extend(page.tasks.iter().map(|view| view.id));
        after = page.next;
    }
    assert_eq!(rest, [&sent[7..], &more[..]].concat());
    // Ended ones come in before those that were listed.
    let filter = ListFilter { limit: 3, ..ListFilter::of(State::Cancelled) };
    let first = talk.broker.list(&queue(), &filter, None).await.unwrap();
    talk.broker.cancel(&queue(), &sent[7..9], DAY_MS).await.unwrap();
    talk.broker.rerun(&queue(), &[first.tasks[2].id]).await.unwrap();
    let second = talk.broker.list(&queue(), &filter, first.next.as_ref()).await.unwrap();
    let mut listed: Vec<TaskId> =
        first.tasks.iter().chain(&second.tasks).map(|view| view.id).collect();
    listed.sort();
    let mut all = listed.clone();
    all.dedup();
    assert_eq!(all, listed, "none twice");
    assert_eq!(listed.len(), 6);
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
