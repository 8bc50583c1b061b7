//! A task's life on the embedded broker, in memory and with a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod embedded_stage;

use std::time::Duration;

use bulkhead_core::{Outcome, Payload, Priority, State, TaskId, TaskRef, Terms};
use bulkhead_queue::{
    Broker, CancelAnswer, End, Entry, Lines, ListFilter, NewTask, Progress, RerunAnswer, Signal,
    Step, SubmitAnswer, Topic,
};
use bulkhead_stage::eventually;
use embedded_stage::*;

in_both_modes! {
    a_task_is_submitted_claimed_and_completed
    a_known_id_is_not_submitted_again
    priority_orders_and_equals_keep_their_order
    a_stale_claim_changes_nothing
    a_renewed_lease_is_kept_and_progress_is_seen
    retries_and_delays_come_due
    a_returned_task_keeps_its_attempt_and_goes_first
    dead_letters_are_kept_replayed_edited_and_dropped
    waiting_tasks_are_cancelled_and_running_ones_asked
    purging_removes_one_state_and_tells_who_waits
    an_ended_task_is_forgotten_when_its_retention_ends
    waiters_and_hosts_hear_by_signals
    a_wait_ends_with_work_and_a_full_claim_passes_it_on
}

async fn a_task_is_submitted_claimed_and_completed(talk: Talk) {
    let mut task = new_task("a");
    task.metadata = vec![("k".into(), "v".into())];
    task.tenant = tenant("acme");
    let id = talk.submit(task).await;
    assert_eq!(talk.list(State::Pending).await, [id]);
    let claim = talk.claim_one().await;
    assert_eq!((claim.id, claim.attempt, claim.cancelled), (id, 1, false));
    let claimed = claim.task.as_ref().unwrap();
    assert_eq!((claimed.payload.data.as_slice(), claimed.tenant.as_str()), (&b"hello"[..], "acme"));
    assert_eq!(claimed.metadata, [("k".to_owned(), "v".to_owned())]);
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts()), (State::Running, 1));
    assert_eq!(view.holder.unwrap().host, "h1");
    let held = talk.broker.held(&queue(), "h1").await.unwrap();
    assert_eq!(held.iter().map(|held| &held.token).collect::<Vec<_>>(), [&claim.token]);
    assert!(talk.broker.held(&queue(), "h2").await.unwrap().is_empty());
    assert!(talk.claim(10).await.is_empty());

    assert!(talk.settle(done(&claim)).await.stale.is_empty());
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts()), (State::Completed, 1));
    assert!(matches!(&view.last_report().unwrap().outcome, Outcome::Done(o) if o.data == b"out"));
    assert_eq!(talk.list(State::Completed).await, [id]);
    let stats = talk.broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.pending, stats.running, stats.totals["completed"]), (0, 0, 1));
    assert_eq!(talk.broker.queues().await.unwrap(), [queue()]);
    let day = bulkhead_queue::Day::of(now_ms());
    let usage = talk.broker.usage(&queue(), bulkhead_queue::Day(day.0 - 1), day).await.unwrap();
    assert_eq!((usage[0].line.tenant.as_str(), usage[0].usage.fuel), ("acme", 10));
    talk.examined().await;
}

async fn a_known_id_is_not_submitted_again(talk: Talk) {
    let task = NewTask { id: Some(fresh_id()), ..new_task("a") };
    assert_eq!(talk.answer(task.clone()).await, SubmitAnswer::Accepted);
    assert_eq!(talk.answer(task).await, SubmitAnswer::Known);
    assert_eq!(talk.claim(10).await.len(), 1);
}

async fn priority_orders_and_equals_keep_their_order(talk: Talk) {
    let mut expected = Vec::new();
    for (priority, task_type) in [
        (Priority::CRITICAL, "a"),
        (Priority::HIGH, "b"),
        (Priority::NORMAL, "a"),
        (Priority::LOW, "b"),
    ] {
        (0..3).for_each(|_| expected.push((priority, task_type, fresh_id())));
    }
    let tasks = expected.iter().rev().map(|(priority, task_type, id)| NewTask {
        priority: *priority,
        id: Some(*id),
        ..new_task(task_type)
    });
    // Within one level the order of submission counts, which is reversed here.
    talk.client.submit_many(tasks.collect()).await.unwrap();
    let claimed: Vec<TaskId> = talk.claim(100).await.iter().map(|claim| claim.id).collect();
    let expected: Vec<TaskId> =
        expected.chunks(3).flat_map(|level| level.iter().rev().map(|(_, _, id)| *id)).collect();
    assert_eq!(claimed, expected);
}

async fn a_stale_claim_changes_nothing(mut talk: Talk) {
    talk.lease = Duration::from_millis(1);
    let id = talk.submit(new_task("a")).await;
    let first = talk.claim_one().await;
    talk.lease = Duration::from_secs(10);
    let second = eventually("the lease runs out", || async { talk.claim(1).await.pop() }).await;
    assert_eq!((second.id, second.attempt), (id, 2));
    assert_eq!(talk.step(vec![], std::slice::from_ref(&first.token), 0, &[]).await.lost, [0]);
    assert_eq!(talk.settle(done(&first)).await.stale, [0]);
    assert_eq!(talk.state(id).await, State::Running);
    assert!(talk.settle(done(&second)).await.stale.is_empty());
    assert_eq!(talk.settle(done(&second)).await.stale, [0], "a claim settles once");
    assert!(
        matches!(&talk.view(id).await.history[0], Entry::LeaseLost { host, .. } if host == "h1")
    );
    talk.examined().await;
}

async fn a_renewed_lease_is_kept_and_progress_is_seen(mut talk: Talk) {
    talk.lease = Duration::from_secs(600);
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let progress = Progress { fraction: 0.5, message: "half".into(), at: 7 };
    let told = [(claim.token.clone(), progress.clone())];
    let step = Step {
        host: "h1",
        settle: &[],
        renew: std::slice::from_ref(&claim.token),
        progress: &told,
        want: 0,
        claim_bytes: u64::MAX,
        serves: &[],
        lease: talk.lease,
        reclaim: true,
        dead_retention_ms: DAY_MS,
        apart: false,
    };
    talk.broker.step(&queue(), step).await.unwrap();
    assert_eq!(talk.view(id).await.progress, Some(progress));
    for _ in 0..8 {
        talk.pass(talk.lease / 2);
        let stepped = talk.step(vec![], std::slice::from_ref(&claim.token), 1, &["a"]).await;
        assert!(stepped.lost.is_empty() && stepped.claims.is_empty());
    }
    assert!(talk.settle(done(&claim)).await.stale.is_empty());
    assert_eq!(talk.view(id).await.progress, None);
}

async fn retries_and_delays_come_due(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let retry = failed(&claim, |report| End::Retry { report, delay_ms: 100, retention_ms: DAY_MS });
    let stepped = talk.settle(retry).await;
    assert!(stepped.next_due.unwrap() <= Duration::from_millis(100));
    assert_eq!(talk.state(id).await, State::Scheduled);
    let again = eventually("the retry comes due", || async { talk.claim(1).await.pop() }).await;
    assert_eq!((again.id, again.attempt), (id, 2));
    let due = now_ms() + 150;
    let delayed =
        talk.submit(with_terms(Terms { not_before: Some(due), ..Terms::default() })).await;
    assert_eq!(talk.view(delayed).await.due_at, Some(due));
    let claim = eventually("it comes due", || async { talk.claim(1).await.pop() }).await;
    assert!(claim.id == delayed && now_ms() >= due);
}

async fn a_returned_task_keeps_its_attempt_and_goes_first(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.submit(new_task("a")).await;
    talk.settle(given_back(&claim)).await;
    let again = talk.claim_one().await;
    assert_eq!((again.id, again.attempt), (id, 1));
}

async fn dead_letters_are_kept_replayed_edited_and_dropped(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let other = talk.submit(new_task("a")).await;
    for claim in talk.claim(2).await {
        talk.settle(dead(&claim)).await;
    }
    assert_eq!(talk.list(State::Failed).await.len(), 2);
    let filter =
        ListFilter { contains: Some("nothing such".into()), ..ListFilter::of(State::Failed) };
    assert!(talk.broker.list(&queue(), &filter, None).await.unwrap().tasks.is_empty());
    let answers = talk.broker.rerun(&queue(), &[id, fresh_id()]).await.unwrap();
    assert_eq!(answers, [RerunAnswer::InLine, RerunAnswer::Unknown]);
    assert_eq!(talk.broker.rerun(&queue(), &[id]).await.unwrap(), [RerunAnswer::Active]);
    let claim = talk.claim_one().await;
    assert_eq!((claim.id, claim.attempt), (id, 1), "fresh attempts");
    let edited = Payload::new(Payload::TEXT, "edited");
    let queue = queue();
    let rerun = |id| talk.broker.rerun_edited(&queue, id, edited.clone());
    assert_eq!(rerun(id).await.unwrap(), RerunAnswer::Active);
    talk.settle(done(&claim)).await;
    assert_eq!(talk.view(id).await.history.len(), 3, "the old attempt stays on record");
    assert_eq!(rerun(id).await.unwrap(), RerunAnswer::InLine);
    let claim = talk.claim_one().await;
    assert_eq!(claim.task.as_ref().unwrap().payload, edited);
    assert_eq!(talk.broker.drop_dead(&queue, &[other, id]).await.unwrap(), 1);
    assert_eq!(talk.broker.inspect(&queue, &[other]).await.unwrap(), [None]);
    talk.examined().await;
}

async fn waiting_tasks_are_cancelled_and_running_ones_asked(talk: Talk) {
    let running = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    let pending = talk.submit(new_task("a")).await;
    let ids = [running, pending, fresh_id()];
    let answers = talk.broker.cancel(&queue(), &ids, DAY_MS).await.unwrap();
    assert_eq!(answers, [CancelAnswer::Requested, CancelAnswer::Cancelled, CancelAnswer::Unknown]);
    assert!(talk.claim(10).await.is_empty(), "a cancelled task is not claimed");
    let stepped = talk.step(vec![], std::slice::from_ref(&claim.token), 0, &[]).await;
    assert_eq!(stepped.cancel, [running]);
    // A retry decided before the request was heard does not bring it back.
    let retry = failed(&claim, |report| End::Retry { report, delay_ms: 0, retention_ms: DAY_MS });
    talk.settle(retry).await;
    assert_eq!(talk.state(running).await, State::Cancelled);
    let answers = talk.broker.cancel(&queue(), &[running], DAY_MS).await.unwrap();
    assert_eq!(answers, [CancelAnswer::AlreadyEnded]);
    assert_eq!(talk.list(State::Cancelled).await.len(), 2);
}

async fn purging_removes_one_state_and_tells_who_waits(talk: Talk) {
    let dead_one = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.settle(dead(&claim)).await;
    talk.client.submit_many((0..1_203).map(|_| new_task("a")).collect()).await.unwrap();
    let last = talk.list(State::Pending).await[0];
    let after = vec![TaskRef { queue: queue(), id: last }];
    let child = talk.submit(with_terms(Terms { after, ..Terms::default() })).await;
    assert_eq!(talk.broker.purge(&queue(), State::Pending).await.unwrap(), 1_203);
    let view = talk.view(child).await;
    assert_eq!(view.state, State::Failed);
    assert!(matches!(view.history[0], Entry::Parent { state: Some(State::Cancelled), .. }));
    assert_eq!(talk.state(dead_one).await, State::Failed);
    assert_eq!(talk.broker.purge(&queue(), State::Failed).await.unwrap(), 2);
    assert!(talk.broker.purge(&queue(), State::Running).await.is_err());
    talk.examined().await;
}

async fn an_ended_task_is_forgotten_when_its_retention_ends(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.settle(done_with(&claim, "", 0)).await;
    assert_eq!(talk.broker.inspect(&queue(), &[id]).await.unwrap(), [None]);
    let id = talk.submit(NewTask { id: Some(id), ..new_task("a") }).await;
    let claim = talk.claim_one().await;
    talk.settle(done_with(&claim, "", 30)).await;
    eventually("it is forgotten", || async {
        talk.broker.inspect(&queue(), &[id]).await.unwrap()[0].is_none().then_some(())
    })
    .await;
    assert_eq!(
        talk.answer(NewTask { id: Some(id), ..new_task("a") }).await,
        SubmitAnswer::Accepted
    );
}

async fn waiters_and_hosts_hear_by_signals(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let mut cancels = talk.broker.subscribe(Topic::Cancel, vec![queue()]);
    let mut rescans = talk.broker.subscribe(Topic::Rescan, vec![]);
    assert_eq!(cancels.recv().await, Some(Signal::Connected));
    assert_eq!(rescans.recv().await, Some(Signal::Connected));
    assert_eq!(talk.broker.request_rescan().await.unwrap(), 1);
    assert_eq!(rescans.recv().await, Some(Signal::Rescan));
    let (queue, unknown) = (queue(), fresh_id());
    let wait = talk.client.wait(&queue, id, Duration::from_secs(20));
    let (waited, ()) = tokio::join!(wait, async {
        let claim = talk.claim_one().await;
        talk.broker.cancel(&queue, &[id], DAY_MS).await.unwrap();
        assert_eq!(cancels.recv().await, Some(Signal::Task(queue.clone(), id)));
        talk.settle(done(&claim)).await;
    });
    assert_eq!(waited.unwrap().unwrap().state, State::Completed);
    let late = talk.client.wait(&queue, id, Duration::from_secs(20)).await.unwrap();
    assert_eq!(late.unwrap().state, State::Completed, "waiting for what has ended");
    assert!(talk.client.wait(&queue, unknown, Duration::from_secs(20)).await.unwrap().is_none());
}

async fn a_wait_ends_with_work_and_a_full_claim_passes_it_on(talk: Talk) {
    let lines: [Lines; 1] = [(queue(), vec![of_type("a").into()])];
    let wait = Duration::from_millis(20);
    assert!(!talk.broker.await_work(&lines, wait).await.unwrap());
    let (heard, _) = tokio::join!(
        talk.broker.await_work(&lines, Duration::from_secs(20)),
        talk.client.submit_many((0..3).map(|_| new_task("a")).collect())
    );
    assert!(heard.unwrap());
    talk.submit(new_task("b")).await;
    assert!(!talk.broker.await_work(&lines, wait).await.unwrap(), "work of another type");
    assert_eq!(talk.step(vec![], &[], 2, &["a"]).await.claims.len(), 2);
    assert!(talk.broker.await_work(&lines, wait).await.unwrap(), "one is left");
    assert_eq!(talk.step(vec![], &[], 2, &["a"]).await.claims.len(), 1);
    assert!(!talk.broker.await_work(&lines, wait).await.unwrap());
}
