//! A task's life on the embedded broker, in memory and with a file.

mod embedded_stage;

use std::time::Duration;

use bulkhead_core::{
    BatchId, Conflict, Missed, OnFailedParent, Outcome, Payload, Priority, QueueName, Schedule,
    State, Task, TaskId, TaskRef, Template, Terms, Timing, Unique,
};
use bulkhead_queue::{
    Broker, CancelAnswer, CancelReason, End, Entry, Fire, FireAnswer, ListFilter, NewBatch, NewTask,
    Over, Progress, RerunAnswer, Signal, Step, SubmitAnswer, Topic,
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
    unique_keys_reject_name_or_replace
    a_task_that_is_not_started_in_time_expires
    parents_outputs_reach_the_child_across_queues
    a_failed_parent_fails_cancels_or_lets_run
    a_batch_counts_its_members_and_calls_back_once
    a_fire_happens_once_and_exclusive_ones_do_not_overlap
    results_are_remembered_for_their_time
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
    assert_eq!((usage[0].tenant.as_str(), usage[0].usage.fuel), ("acme", 10));
    talk.examined().await;
}

async fn a_known_id_is_not_submitted_again(talk: Talk) {
    let task = NewTask { id: Some(new_id()), ..new_task("a") };
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
        (0..3).for_each(|_| expected.push((priority, task_type, new_id())));
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
    assert!(matches!(&talk.view(id).await.history[0], Entry::LeaseLost { host, .. } if host == "h1"));
    talk.examined().await;
}

async fn a_renewed_lease_is_kept_and_progress_is_seen(mut talk: Talk) {
    talk.lease = Duration::from_millis(150);
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
        types: &[],
        lease: talk.lease,
        reclaim: true,
        dead_retention_ms: DAY_MS,
    };
    talk.broker.step(&queue(), step).await.unwrap();
    assert_eq!(talk.view(id).await.progress, Some(progress));
    let started = std::time::Instant::now();
    while started.elapsed() < talk.lease * 4 {
        let stepped = talk.step(vec![], std::slice::from_ref(&claim.token), 1, &["a"]).await;
        assert!(stepped.lost.is_empty() && stepped.claims.is_empty());
        tokio::time::sleep(talk.lease / 10).await;
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
    let delayed = talk
        .submit(with_terms(Terms { not_before: Some(due), ..Terms::default() }))
        .await;
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
    let filter = ListFilter { contains: Some("nothing such".into()), ..ListFilter::of(State::Failed) };
    assert!(talk.broker.list(&queue(), &filter).await.unwrap().is_empty());
    let answers = talk.broker.rerun(&queue(), &[id, new_id()]).await.unwrap();
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
    let ids = [running, pending, new_id()];
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
    assert!(matches!(
        view.history[0],
        Entry::Parent { state: Some(State::Cancelled), .. }
    ));
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
    assert_eq!(talk.answer(NewTask { id: Some(id), ..new_task("a") }).await, SubmitAnswer::Accepted);
}

async fn waiters_and_hosts_hear_by_signals(talk: Talk) {
    let id = talk.submit(new_task("a")).await;
    let mut cancels = talk.broker.subscribe(Topic::Cancel, vec![queue()]);
    let mut rescans = talk.broker.subscribe(Topic::Rescan, vec![]);
    assert_eq!(cancels.recv().await, Some(Signal::Connected));
    assert_eq!(rescans.recv().await, Some(Signal::Connected));
    assert_eq!(talk.broker.request_rescan().await.unwrap(), 1);
    assert_eq!(rescans.recv().await, Some(Signal::Rescan));
    let (queue, unknown) = (queue(), new_id());
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
    let lines = [(queue(), vec![of_type("a")])];
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

fn unique(conflict: Conflict, window_ms: Option<u64>) -> NewTask {
    let key = bulkhead_core::TermKey::new("only").unwrap();
    with_terms(Terms { unique: Some(Unique { key, window_ms, conflict }), ..Terms::default() })
}

async fn unique_keys_reject_name_or_replace(talk: Talk) {
    let first = talk.submit(unique(Conflict::Reject, None)).await;
    assert_eq!(talk.answer(unique(Conflict::Reject, None)).await, SubmitAnswer::Taken(first));
    assert_eq!(talk.answer(unique(Conflict::Existing, None)).await, SubmitAnswer::Existing(first));
    let second = unique(Conflict::Replace, None);
    let second = NewTask { id: Some(new_id()), ..second };
    assert_eq!(talk.answer(second.clone()).await, SubmitAnswer::Replaced(first));
    let replaced = talk.view(first).await;
    assert_eq!(replaced.state, State::Cancelled);
    let reason = Some(CancelReason::ReplacedBy(second.id.unwrap()));
    assert!(matches!(&replaced.history[0], Entry::Cancelled { reason: r, .. } if *r == reason));
    let claim = talk.claim_one().await;
    let existing = SubmitAnswer::Existing(claim.id);
    assert_eq!(talk.answer(unique(Conflict::Replace, None)).await, existing, "it runs");
    talk.settle(done(&claim)).await;
    let third = talk.submit(unique(Conflict::Reject, Some(60_000))).await;
    let claim = talk.claim_one().await;
    talk.settle(done(&claim)).await;
    let taken = talk.answer(unique(Conflict::Reject, None)).await;
    assert_eq!(taken, SubmitAnswer::Taken(third), "its window goes on");
    talk.examined().await;
}

async fn a_task_that_is_not_started_in_time_expires(talk: Talk) {
    let expiring = |at| with_terms(Terms { expires_at: Some(at), ..Terms::default() });
    let late = talk.submit(expiring(now_ms() - 1)).await;
    assert_eq!(talk.state(late).await, State::Expired);
    let soon = talk.submit(expiring(now_ms() + 50)).await;
    let in_time = talk.submit(expiring(now_ms() + DAY_MS)).await;
    eventually("it expires", || async {
        talk.step(vec![], &[], 0, &[]).await;
        (talk.state(soon).await == State::Expired).then_some(())
    })
    .await;
    assert_eq!(talk.claim(10).await.iter().map(|claim| claim.id).collect::<Vec<_>>(), [in_time]);
    assert_eq!(talk.list(State::Expired).await, [soon, late]);
}

fn task_in(queue: &QueueName, after: &[(QueueName, TaskId)], policy: OnFailedParent) -> NewTask {
    let after = after.iter().map(|(queue, id)| TaskRef { queue: queue.clone(), id: *id });
    let terms =
        Terms { after: after.collect(), on_failed_parent: policy, ..Terms::default() };
    NewTask { queue: queue.clone(), ..with_terms(terms) }
}

async fn parents_outputs_reach_the_child_across_queues(talk: Talk) {
    let other = QueueName::new("other").unwrap();
    let parents = [talk.submit(new_task("a")).await, talk.submit(new_task("a")).await];
    let ended = talk.claim_one().await;
    talk.settle(done_with(&ended, "first", DAY_MS)).await;
    let after = parents.map(|id| (queue(), id));
    let child = talk.submit(task_in(&other, &after, OnFailedParent::Fail)).await;
    let blocked = talk.view_in(&other, child).await;
    assert_eq!(blocked.state, State::Blocked);
    assert_eq!(blocked.waits_for.len(), 1, "the one that has ended is not waited for");
    let claim = talk.claim_one().await;
    // The output is the child's, however long the parent's own is kept.
    talk.settle(done_with(&claim, "second", 0)).await;
    let ready = talk.view_in(&other, child).await;
    assert_eq!((ready.state, ready.waits_for.len()), (State::Pending, 0));
    let outputs: Vec<&[u8]> = ready
        .history
        .iter()
        .filter_map(|entry| match entry {
            Entry::Parent { output: Some(output), .. } => Some(output.data.as_slice()),
            _ => None,
        })
        .collect();
    assert_eq!(outputs, [&b"first"[..], b"second"]);
    assert_eq!(talk.broker.examine(&other, false).await.unwrap(), []);
}

async fn a_failed_parent_fails_cancels_or_lets_run(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    let open = talk.submit(NewTask { priority: Priority::LOW, ..new_task("a") }).await;
    let mut children = Vec::new();
    for policy in [OnFailedParent::Fail, OnFailedParent::Cancel, OnFailedParent::Run] {
        let after = [(queue(), parent), (queue(), open)];
        children.push(talk.submit(task_in(&queue(), &after, policy)).await);
    }
    let after = [(queue(), children[0])];
    let grandchild = talk.submit(task_in(&queue(), &after, OnFailedParent::Fail)).await;
    let claim = talk.claim_one().await;
    assert_eq!(claim.id, parent);
    talk.settle(dead(&claim)).await;
    assert_eq!(talk.state(children[0]).await, State::Failed);
    assert_eq!(talk.state(children[1]).await, State::Cancelled);
    assert_eq!(talk.state(children[2]).await, State::Blocked);
    assert_eq!(talk.state(grandchild).await, State::Failed);
    let rerun = talk.broker.rerun(&queue(), &[children[2]]).await.unwrap();
    assert_eq!(rerun, [RerunAnswer::InLine]);
    assert_eq!(talk.state(children[2]).await, State::Pending);
    let unknown = [(queue(), new_id())];
    let child = talk.submit(task_in(&queue(), &unknown, OnFailedParent::Run)).await;
    assert_eq!(talk.state(child).await, State::Pending, "an unknown parent counts as ended");
    talk.examined().await;
}

async fn a_batch_counts_its_members_and_calls_back_once(talk: Talk) {
    for (over, dead_ones) in [(Over::Ended, 0), (Over::FirstFailure, 1)] {
        let callback = NewTask { priority: Priority::LOW, ..new_task("b") };
        let new = NewBatch {
            queue: queue(),
            name: "three".into(),
            tasks: (0..3).map(|_| new_task("a")).collect(),
            callback: Some(callback),
            over,
            retention_ms: DAY_MS,
        };
        let batch = talk.client.submit_batch(None, new).await.unwrap();
        let claims = talk.step(vec![], &[], 3, &["a"]).await.claims;
        for (at, claim) in claims.iter().enumerate() {
            let before = talk.broker.batch(&queue(), batch.id).await.unwrap().unwrap();
            assert_eq!(before.open(), 3 - at as u64);
            talk.settle(if at < dead_ones { dead(claim) } else { done(claim) }).await;
        }
        let view = talk.broker.batch(&queue(), batch.id).await.unwrap().unwrap();
        assert_eq!((view.completed, view.failed), (3 - dead_ones as u64, dead_ones as u64));
        assert!(view.over_at.is_some());
        let claim = talk.claim_one().await;
        assert_eq!(Some(claim.id), batch.callback);
        let counts = claim.task.as_ref().unwrap().metadata.clone();
        let completed = if dead_ones > 0 { "0" } else { "3" };
        assert!(counts.contains(&("batch_completed".into(), completed.into())), "{counts:?}");
        talk.settle(done(&claim)).await;
        assert!(talk.claim(10).await.is_empty(), "it is called back once");
        // A member run again is not counted again.
        talk.broker.rerun(&queue(), &[claims[0].id]).await.unwrap();
        let again = talk.claim_one().await;
        talk.settle(done(&again)).await;
        assert_eq!(talk.broker.batch(&queue(), batch.id).await.unwrap(), Some(view));
    }
    assert_eq!(talk.broker.batches(&queue(), 10).await.unwrap().len(), 2);
    let unknown = BatchId(uuid::Uuid::now_v7());
    assert_eq!(talk.broker.batch(&queue(), unknown).await.unwrap(), None);
}

fn schedule(exclusive: bool) -> Schedule {
    Schedule {
        name: "tick".into(),
        timing: Timing::Every { interval_ms: 1_000, jitter_ms: 0, start: 0 },
        exclusive,
        missed: Missed::Once,
        task: Template {
            task_type: of_type("a"),
            tenant: Default::default(),
            priority: Priority::default(),
            payload: Payload::default(),
            metadata: Vec::new(),
            limits: Default::default(),
            terms: Terms::default(),
        },
        origin: "cli".into(),
    }
}

async fn a_fire_happens_once_and_exclusive_ones_do_not_overlap(talk: Talk) {
    let (broker, queue) = (&talk.broker, queue());
    assert!(broker.put_schedule(&queue, &schedule(true), Some(1_000)).await.unwrap());
    assert!(!broker.put_schedule(&queue, &schedule(true), Some(9_000)).await.unwrap());
    let due = broker.due_schedules(&queue, 10).await.unwrap();
    assert_eq!((due.due.len(), due.due[0].next, due.next), (1, Some(1_000), None));
    let fire = |expected: u64, by_hand| Fire {
        schedule: "tick".into(),
        expected: Some(expected),
        next: Some(expected + 1_000),
        fires: vec![(expected, Task { submitted_at: expected, ..task("a", new_id()) })],
        exclusive: true,
        by_hand,
    };
    let fired = broker.fire(&queue, &fire(1_000, false)).await.unwrap();
    assert_eq!(fired, FireAnswer::Fired(1));
    let late = broker.fire(&queue, &fire(1_000, false)).await.unwrap();
    assert_eq!(late, FireAnswer::Superseded);
    let overlapping = broker.fire(&queue, &fire(2_000, false)).await.unwrap();
    assert_eq!(overlapping, FireAnswer::Overlapping);
    let claim = talk.claim_one().await;
    talk.settle(done(&claim)).await;
    assert_eq!(broker.fire(&queue, &fire(7, true)).await.unwrap(), FireAnswer::Fired(1));
    let view = broker.schedules(&queue).await.unwrap().remove(0);
    assert_eq!((view.next, view.fired, view.skipped), (Some(3_000), 2, 1));
    assert!(broker.pause_schedule(&queue, "tick", true, Some(3_000)).await.unwrap());
    assert!(broker.due_schedules(&queue, 10).await.unwrap().due.is_empty());
    let paused = broker.fire(&queue, &fire(3_000, false)).await.unwrap();
    assert_eq!(paused, FireAnswer::Superseded);
    assert!(broker.remove_schedule(&queue, "tick").await.unwrap());
    assert!(!broker.remove_schedule(&queue, "tick").await.unwrap());
    assert_eq!(broker.fire(&queue, &fire(3_000, false)).await.unwrap(), FireAnswer::Unknown);
}

async fn results_are_remembered_for_their_time(talk: Talk) {
    let output = Payload::new(Payload::TEXT, "42");
    talk.broker.remember(&queue(), "k", &output, 60_000).await.unwrap();
    talk.broker.remember(&queue(), "short", &output, 1).await.unwrap();
    assert_eq!(talk.broker.recall(&queue(), "k").await.unwrap(), Some(output));
    assert_eq!(talk.broker.recall(&queue(), "other").await.unwrap(), None);
    eventually("it is forgotten", || async {
        talk.broker.recall(&queue(), "short").await.unwrap().is_none().then_some(())
    })
    .await;
}
