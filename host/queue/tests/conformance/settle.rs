//! Settlements: each end of an attempt and what follows from it.

use bulkhead_core::{Failure, FailureKind, Metering, Outcome, Payload, State, Terms, Unique};
use bulkhead_queue::{CancelAnswer, End, Entry, NewTask, Next, Settlement};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    each_end_leads_to_its_state_and_is_recorded,
    the_report_is_kept_as_given,
    many_settlements_and_claims_travel_in_one_step,
    a_retry_without_delay_is_in_line_at_once,
    a_cancelled_task_is_neither_retried_nor_given_back,
    a_cancelled_task_that_completes_is_completed,
    what_nobody_can_read_becomes_a_dead_letter_with_its_bytes,
    a_settled_host_holds_nothing,
    a_task_of_long_history_keeps_all_of_it,
];

async fn each_end_leads_to_its_state_and_is_recorded(talk: Talk) {
    type MakeEnd = fn(&bulkhead_queue::Claim) -> Settlement;
    let ends: [(MakeEnd, State, Next, &str); 4] = [
        (done, State::Completed, Next::Completed, "completed"),
        (dead, State::Failed, Next::DeadLetter, "dead_lettered"),
        (cancelled, State::Cancelled, Next::Cancelled, "cancelled"),
        (|claim| retry(claim, DAY_MS), State::Scheduled, Next::Retry, "retried"),
    ];
    for (end, state, next, total) in ends {
        let id = talk.submit(new_task("a")).await;
        let claim = talk.claim_one().await;
        talk.settle(end(&claim)).await;
        let view = talk.view(id).await;
        assert_eq!(view.state, state);
        assert!(matches!(&view.history[..], [Entry::Ended(n, _)] if *n == next));
        assert_eq!(view.kept_until.is_some(), state.is_terminal());
        assert_eq!(view.due_at.is_some(), state == State::Scheduled);
        assert_eq!(talk.total(total).await, 1, "{total}");
        assert_eq!(talk.list(state).await, [id]);
    }
    assert_eq!(talk.stats().await.failed, 1);
    talk.is_sound().await;
}

async fn the_report_is_kept_as_given(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let mut failure = Failure::new(FailureKind::Trapped, "unreachable\u{1b}[31m");
    failure.details = Some("{}".into());
    failure.backtrace = vec!["inner".into(), "outer".into()];
    failure.retry_after_ms = Some(7);
    let mut report = report(1, Outcome::Failed(failure));
    report.metering = Metering { fuel: u64::MAX >> 1, wall_us: 12, ..Metering::default() };
    report.logs = vec![bulkhead_core::LogLine {
        at_ms: 3,
        level: bulkhead_core::LogLevel::Warn,
        message: "a\nb\0c".into(),
        fields: vec![("k".into(), String::new())],
    }];
    let end = End::DeadLetter { report: report.clone(), retention_ms: DAY_MS };
    talk.settle(Settlement { token: claim.token, end, plugin: None }).await;
    assert_eq!(talk.view(id).await.last_report(), Some(&report));
}

async fn many_settlements_and_claims_travel_in_one_step(talk: Talk) {
    talk.submit_many((0..12).map(|_| new_task("a")).collect()).await;
    let claims = talk.claim(6).await;
    let settle = vec![done(&claims[0]), dead(&claims[1]), given_back(&claims[2])];
    let renew = vec![claims[3].token.clone(), claims[4].token.clone(), claims[5].token.clone()];
    let stepped = talk.say(Say { settle, renew, want: 2, ..Say::default() }).await;
    assert!(stepped.stale.is_empty() && stepped.lost.is_empty());
    assert_eq!(stepped.claims.len(), 2);
    assert_eq!(stepped.claims[0].id, claims[2].id, "given back and claimed in one step");
    assert_eq!(talk.stats().await.running, 5);
    talk.is_sound().await;
}

async fn a_retry_without_delay_is_in_line_at_once(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let say = Say { settle: vec![retry(&claim, 0)], want: 1, ..Say::default() };
    let mut claims = talk.say(say).await.claims;
    if claims.is_empty() {
        claims = talk.claim(1).await;
    }
    assert_eq!((claims[0].id, claims[0].attempt), (id, 2));
}

async fn a_cancelled_task_is_neither_retried_nor_given_back(talk: Talk) {
    for end in [given_back, |claim: &_| retry(claim, 0)] {
        let id = talk.submit(new_task("a")).await;
        let claim = talk.claim_one().await;
        let answers = talk.broker.cancel(&queue(), &[id], DAY_MS).await.unwrap();
        assert_eq!(answers, [CancelAnswer::Requested]);
        talk.settle(end(&claim)).await;
        assert_eq!(talk.state(id).await, State::Cancelled);
        assert!(!talk.view(id).await.cancel_requested);
        assert!(talk.claim(1).await.is_empty());
    }
    talk.is_sound().await;
}

async fn a_cancelled_task_that_completes_is_completed(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.broker.cancel(&queue(), &[id], DAY_MS).await.unwrap();
    talk.settle(done(&claim)).await;
    assert_eq!(talk.state(id).await, State::Completed);
    talk.is_sound().await;
}

async fn what_nobody_can_read_becomes_a_dead_letter_with_its_bytes(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let known = NewTask {
        payload: Payload::new(Payload::BINARY, b"\xc1".to_vec()),
        id: Some(id),
        ..new_task("unreadable")
    };
    let failure = Failure::new(FailureKind::Unreadable, "bad bytes");
    let end = End::Unreadable {
        task: Box::new(task_of(known, 0)),
        report: report(1, Outcome::Failed(failure)),
        retention_ms: DAY_MS,
    };
    talk.settle(Settlement { token: claim.token, end, plugin: None }).await;
    let view = talk.view(id).await;
    assert_eq!(view.state, State::Failed);
    assert_eq!(view.task.unwrap().payload.data, b"\xc1");
    assert_eq!(talk.list(State::Failed).await, [id]);
    assert_eq!(talk.total("unreadable").await, 1);
    talk.is_sound().await;
}

async fn a_settled_host_holds_nothing(talk: Talk) {
    let unique = Unique { key: key("u"), window_ms: None, conflict: Default::default() };
    talk.submit(with("a", Terms { unique: Some(unique), ..Terms::default() })).await;
    let claim = talk.claim_one().await;
    talk.settle(done(&claim)).await;
    let stats = talk.stats().await;
    assert_eq!((stats.running, stats.pending), (0, 0));
    assert!(stats.by_tenant.iter().all(|tenant| tenant.open == 0));
    assert!(talk.broker.held(&queue(), "h1").await.unwrap().is_empty());
}

async fn a_task_of_long_history_keeps_all_of_it(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    for attempt in 1..=60 {
        let claim = talk.claim_one().await;
        assert_eq!(claim.attempt, attempt);
        talk.settle(retry(&claim, 1)).await;
        talk.pass(2);
    }
    let history = talk.history(id).await;
    assert_eq!(history.len(), 60);
    let numbers = history.iter().map(|entry| match entry {
        Entry::Ended(Next::Retry, report) => report.attempt,
        other => panic!("{other:?}"),
    });
    assert!(numbers.eq(1..=60));
}
