//! Long records and ends, which go beside the scripts: the same as short ones, whatever becomes
//! of what was sent ahead.

use std::collections::BTreeMap;

use bulkhead_core::{
    Conflict, Outcome, Payload, QueueName, QueuePolicy, State, Task, TaskId, TenantPolicy, TermKey,
    Terms, Unique,
};
use bulkhead_queue::{Broker, Claim, Day, End, Entry, Settlement, Step, SubmitAnswer, TaskView};
use redis::Commands;

use crate::stage::*;

/// Around the length from which records are long, and some way beyond what one command brings.
const LENGTHS: [usize; 7] = [0, 65_000, 65_400, 65_536, 70_000, 1 << 20, (3 << 20) + 17];

fn text(length: usize) -> Payload {
    let bytes: Vec<u8> = (0..length).map(|at| b'a' + (at % 23) as u8).collect();
    Payload::new(Payload::TEXT, bytes)
}

fn of_length(length: usize) -> Task {
    Task { payload: text(length), ..plain() }
}

fn done_with(claim: &Claim, length: usize) -> Settlement {
    let report = report(claim.attempt, Outcome::Done(text(length)));
    let end = End::Complete { report, retention_ms: DAY_MS, children: Vec::new() };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

fn retry_with(claim: &Claim, length: usize) -> Settlement {
    let report = report(claim.attempt, Outcome::Done(text(length)));
    let end = End::Retry { report, delay_ms: 0, retention_ms: DAY_MS };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

fn output(view: &TaskView) -> Option<&Payload> {
    match &view.last_report()?.outcome {
        Outcome::Done(output) => Some(output),
        Outcome::Failed(_) => None,
    }
}

impl Talk {
    fn drafts(&self) -> Vec<String> {
        let mut keys = self.server.keys();
        keys.retain(|key| key.contains(":draft:"));
        keys
    }

    async fn send_ahead(&self, settlement: &Settlement) {
        self.broker.send_ahead(&queue(), settlement).await.unwrap();
        assert_eq!(self.drafts().len(), 1);
    }

    async fn is_stale(&self, settlement: Settlement) -> bool {
        !self.step_in(&queue(), vec![settlement], &[], 0).await.stale.is_empty()
    }

    fn record_key(&self, claim: &Claim) -> String {
        let keys = self.server.keys();
        keys.into_iter().find(|key| key.ends_with(&format!(":task:{}", claim.id))).unwrap()
    }
}

#[tokio::test]
async fn records_and_ends_of_every_length_stay_whole() {
    let talk = Talk::new().await;
    let tasks: Vec<Task> = LENGTHS.into_iter().map(of_length).collect();
    assert!(talk.broker.submit(&tasks).await.unwrap().iter().all(|a| a.is_new()));
    assert_eq!(talk.drafts(), [""; 0]);
    for outputs in [LENGTHS, LENGTHS.map(|length| length / 2), [100_000; 7]] {
        let claims = talk.claim(100).await;
        let claimed: Vec<_> = claims.iter().map(|claim| claim.task.as_ref().unwrap()).collect();
        assert!(claimed.iter().zip(&tasks).all(|(claimed, task)| ***claimed == *task));
        let last = claims[0].attempt == 3;
        for (claim, length) in claims.iter().zip(outputs) {
            let end = if last { done_with(claim, length) } else { retry_with(claim, length) };
            talk.broker.send_ahead(&queue(), &end).await.unwrap();
            talk.settle(end).await;
            assert_eq!(talk.drafts(), [""; 0]);
        }
        talk.pass(1_000);
    }
    for (task, longest) in tasks.iter().zip(LENGTHS) {
        let view = talk.view(task.id).await;
        assert_eq!(view.state, State::Completed);
        assert_eq!(view.task.as_ref(), Ok(task));
        let outputs: Vec<Payload> = view
            .history
            .iter()
            .filter_map(|entry| match entry {
                Entry::Ended(_, report) => match &report.outcome {
                    Outcome::Done(output) => Some(output.clone()),
                    Outcome::Failed(_) => None,
                },
                _ => None,
            })
            .collect();
        assert!(outputs == [text(longest), text(longest / 2), text(100_000)], "{longest}");
    }
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn a_host_that_asks_gets_long_records_apart_and_short_ones_at_once() {
    let talk = Talk::new().await;
    let tasks = [100, 200_000, 200, 300_000].map(of_length);
    talk.broker.submit(&tasks).await.unwrap();
    let serves = [of_type("a").into()];
    let step = Step {
        host: "h1",
        settle: &[],
        renew: &[],
        progress: &[],
        want: 10,
        claim_bytes: 250_000,
        serves: &serves,
        lease: talk.lease,
        reclaim: true,
        dead_retention_ms: DAY_MS,
        apart: true,
    };
    let stepped = talk.broker.step(&queue(), step).await.unwrap();
    // The last one is beyond the bytes of the step, whoever carries them.
    let here: Vec<_> = stepped.claims.iter().map(|claim| claim.id).collect();
    assert_eq!(here, [tasks[0].id, tasks[2].id]);
    let [apart] = &stepped.apart[..] else { panic!("{:?}", stepped.apart) };
    assert!(apart.id == tasks[1].id && apart.bytes > 200_000 && !apart.cancelled);
    let claim = talk.broker.fetch(&queue(), apart).await.unwrap().unwrap();
    assert_eq!((claim.attempt, claim.bytes), (1, apart.bytes));
    assert!(**claim.task.as_ref().unwrap() == tasks[1]);
    talk.settle(done(&claim)).await;
    let gone = talk.record_key(&claim);
    talk.server.connection().del::<_, ()>(gone).unwrap();
    assert!(talk.broker.fetch(&queue(), apart).await.unwrap().is_none());
}

#[tokio::test]
async fn an_end_whose_draft_is_gone_is_told_whole_and_metered_once() {
    let talk = Talk::new().await;
    let id = talk.store(&plain()).await;
    let claim = talk.claim_one().await;
    let end = done_with(&claim, 200_000);
    talk.send_ahead(&end).await;
    talk.server.connection().del::<_, ()>(talk.drafts()).unwrap();
    talk.settle(end).await;
    let view = talk.view(id).await;
    assert_eq!(view.state, State::Completed);
    assert_eq!(output(&view), Some(&text(200_000)));
    let today = Day::of(talk.now());
    let rows = talk.broker.usage(&queue(), today, today).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.usage.attempts).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_stale_end_leaves_nothing_of_what_it_sent_ahead() {
    let talk = Talk::new().await;
    let id = talk.store(&plain()).await;
    let first = talk.claim_one().await;
    let late = done_with(&first, 200_000);
    talk.send_ahead(&late).await;
    talk.pass(60_000);
    let second = talk.claim_one().await;
    assert_eq!(second.attempt, 2);
    assert!(talk.is_stale(late).await);
    assert_eq!(talk.drafts(), [""; 0]);
    talk.settle(done(&second)).await;
    assert_eq!(talk.view(id).await.attempts(), 2);
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn what_was_written_since_the_copy_stays() {
    let talk = Talk::new().await;
    let id = talk.store(&of_length(100_000)).await;
    let claim = talk.claim_one().await;
    let end = done_with(&claim, 200_000);
    talk.send_ahead(&end).await;
    let lost = Entry::LeaseLost { at: 7, host: "other".into() };
    let lost = rmp_serde::to_vec(&lost).unwrap();
    talk.server.connection().append::<_, _, ()>(talk.record_key(&claim), lost).unwrap();
    talk.settle(end).await;
    let view = talk.view(id).await;
    assert!(matches!(&view.history[..], [Entry::LeaseLost { at: 7, .. }, Entry::Ended(..)]));
    assert_eq!(output(&view), Some(&text(200_000)));
    assert_eq!(talk.drafts(), [""; 0]);
}

#[tokio::test]
async fn a_cancellation_overtakes_a_long_retry() {
    let talk = Talk::new().await;
    let id = talk.store(&plain()).await;
    let claim = talk.claim_one().await;
    talk.broker.cancel(&queue(), &[id], DAY_MS).await.unwrap();
    let end = retry_with(&claim, 200_000);
    talk.send_ahead(&end).await;
    talk.settle(end).await;
    let view = talk.view(id).await;
    assert_eq!(view.state, State::Cancelled);
    assert!(matches!(&view.history[..], [Entry::Ended(..), Entry::Cancelled { .. }]));
    talk.assert_sound(&queue()).await;
}

#[tokio::test]
async fn an_end_that_is_forgotten_at_once_is_not_sent_ahead() {
    let talk = Talk::new().await;
    let id = talk.store(&plain()).await;
    let claim = talk.claim_one().await;
    let report = report(1, Outcome::Done(text(200_000)));
    let end = End::Complete { report, retention_ms: 0, children: Vec::new() };
    let end = Settlement { token: claim.token.clone(), end, plugin: None };
    talk.broker.send_ahead(&queue(), &end).await.unwrap();
    assert_eq!(talk.drafts(), [""; 0]);
    talk.settle(end).await;
    assert!(talk.broker.inspect(&queue(), &[id]).await.unwrap()[0].is_none());
}

#[tokio::test]
async fn terms_and_quotas_hold_for_long_tasks_and_nothing_stays_of_refused_ones() {
    let talk = Talk::new().await;
    let only = |conflict| {
        let unique = Unique { key: TermKey::new("only").unwrap(), window_ms: None, conflict };
        let terms = Terms { unique: Some(unique), ..Terms::default() };
        Task { terms, ..of_length(200_000) }
    };
    let first = only(Conflict::Reject);
    assert_eq!(talk.submit(&first).await, SubmitAnswer::Accepted);
    assert_eq!(talk.submit(&first).await, SubmitAnswer::Known);
    assert_eq!(talk.submit(&only(Conflict::Reject)).await, SubmitAnswer::Taken(first.id));
    let second = only(Conflict::Replace);
    assert_eq!(talk.submit(&second).await, SubmitAnswer::Replaced(first.id));
    let late = Terms { expires_at: Some(talk.now() + 1_000), ..Terms::default() };
    let late = Task { terms: late, ..of_length(200_000) };
    assert_eq!(talk.submit(&late).await, SubmitAnswer::Accepted);
    let small = TenantPolicy { payload_bytes: Some(200_000), ..TenantPolicy::default() };
    let policy = QueuePolicy { tenants: [(tenant("t"), small)].into(), ..QueuePolicy::default() };
    talk.policy(policy).await;
    let of = |length| Task { tenant: tenant("t"), ..of_length(length) };
    assert_eq!(talk.submit(&of(199_000)).await, SubmitAnswer::Accepted);
    assert_eq!(talk.submit(&of(200_001)).await, SubmitAnswer::OverPayload);
    assert_eq!(talk.drafts(), [""; 0]);
    talk.pass(2_000);
    let mut states = Vec::new();
    for claim in talk.claim(10).await {
        assert_ne!(claim.id, late.id);
        talk.settle(done(&claim)).await;
        states.push(talk.state(claim.id).await);
    }
    assert_eq!(states, [State::Completed; 2]);
    assert_eq!(talk.state(first.id).await, State::Cancelled);
    assert_eq!(talk.state(late.id).await, State::Expired);
    talk.assert_sound(&queue()).await;
}

/// Somebody deletes drafts as fast as it goes, so that some are gone when their script comes.
struct Thief {
    stop: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<u32>,
}

impl Thief {
    fn on(talk: &Talk) -> Self {
        let mut redis = talk.server.connection();
        let (stop, stopped) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut taken = 0;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                let keys: Vec<String> = redis.keys("*:draft:*").unwrap();
                for key in keys {
                    taken += redis.del::<_, u32>(key).unwrap();
                }
            }
            taken
        });
        Self { stop, thread }
    }

    fn ends(self) {
        drop(self.stop);
        assert!(self.thread.join().unwrap() > 0, "no draft was there for long enough");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_whose_drafts_vanish_are_submitted_whole() {
    let talk = Talk::new().await;
    let thief = Thief::on(&talk);
    let mut tasks = Vec::new();
    for _ in 0..40 {
        let some: Vec<Task> = (0..5).map(|_| of_length(100_000)).collect();
        assert!(talk.broker.submit(&some).await.unwrap().iter().all(|a| a.is_new()));
        tasks.extend(some);
    }
    thief.ends();
    let mut claims = talk.claim(1_000).await;
    claims.sort_by_key(|claim| claim.id);
    tasks.sort_by_key(|task| task.id);
    assert_eq!(claims.len(), tasks.len());
    assert!(claims.iter().zip(&tasks).all(|(claim, task)| **claim.task.as_ref().unwrap() == *task));
}

fn elsewhere() -> QueueName {
    QueueName::new("elsewhere").unwrap()
}

fn submitting(claim: &Claim, children: Vec<Task>) -> Settlement {
    let report = report(claim.attempt, Outcome::Done(text(10)));
    let end = End::Complete { report, retention_ms: DAY_MS, children };
    Settlement { token: claim.token.clone(), end, plugin: None }
}

/// All that was claimed in both queues, by id.
async fn claimed(talk: &Talk) -> BTreeMap<TaskId, Claim> {
    let mut claims = talk.claim(500).await;
    claims.extend(talk.step_in(&elsewhere(), vec![], &[], 500).await.claims);
    claims.into_iter().map(|claim| (claim.id, claim)).collect()
}

#[tokio::test]
async fn submitted_tasks_that_are_long_together_go_ahead_and_arrive_whole() {
    for stolen in [false, true] {
        let talk = Talk::new().await;
        talk.store(&plain()).await;
        let claim = talk.claim_one().await;
        let mut children: Vec<Task> = (0..40).map(|_| of_length(2_000)).collect();
        children.extend([100, 200_000].map(of_length));
        let away = [150, 250_000].map(|length| Task { queue: elsewhere(), ..of_length(length) });
        children.extend(away);
        let end = submitting(&claim, children.clone());
        talk.broker.send_ahead(&queue(), &end).await.unwrap();
        assert_eq!(talk.drafts().len(), 42);
        if stolen {
            talk.server.connection().del::<_, ()>(&talk.drafts()[7]).unwrap();
        }
        talk.settle(end).await;
        talk.deliver(&queue()).await;
        assert!(stolen || talk.drafts().is_empty());
        let claims = claimed(&talk).await;
        assert_eq!(claims.len(), children.len());
        assert!(children.iter().all(|c| **claims[&c.id].task.as_ref().unwrap() == *c));
        talk.assert_sound(&queue()).await;
        talk.assert_sound(&elsewhere()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_outputs_reach_those_who_wait_for_them() {
    for is_robbed in [false, true] {
        let talk = Talk::new().await;
        let parent = plain();
        talk.store(&parent).await;
        let waits_in = |queue: QueueName| {
            let terms = Terms { after: vec![parent.task_ref()], ..Terms::default() };
            Task { queue, ..task(terms) }
        };
        let mut children: Vec<Task> = (0..40).map(|_| waits_in(queue())).collect();
        children.extend((0..40).map(|_| waits_in(elsewhere())));
        for child in &children {
            talk.store(child).await;
        }
        let claim = talk.claim_one().await;
        talk.settle(done_with(&claim, 300_000)).await;
        let thief = is_robbed.then(|| Thief::on(&talk));
        talk.deliver(&queue()).await;
        if let Some(thief) = thief {
            thief.ends();
        }
        // One that comes when the parent has ended.
        let late = waits_in(elsewhere());
        talk.store(&late).await;
        children.push(late);
        let claims = claimed(&talk).await;
        assert_eq!(claims.len(), children.len());
        for child in &children {
            let [parent] = &claims[&child.id].parents[..] else { panic!("one parent") };
            assert_eq!(parent.output.as_ref(), Some(&text(300_000)), "{is_robbed}");
        }
        assert!(is_robbed || talk.drafts().is_empty());
        talk.assert_sound(&queue()).await;
        talk.assert_sound(&elsewhere()).await;
    }
}

#[tokio::test]
async fn a_draft_that_was_lost_on_the_way_is_not_taken_for_a_record() {
    let talk = Talk::new().await;
    let id = talk.store(&of_length(100_000)).await;
    let claim = talk.claim_one().await;
    let end = done_with(&claim, 200_000);
    talk.send_ahead(&end).await;
    let (mut redis, draft) = (talk.server.connection(), talk.drafts().remove(0));
    let length: u64 = redis.strlen(&draft).unwrap();
    redis.del::<_, ()>(&draft).unwrap();
    redis::cmd("SETRANGE").arg(&draft).arg(length - 1).arg("x").exec(&mut redis).unwrap();
    talk.settle(end).await;
    let view = talk.view(id).await;
    assert_eq!(view.task.unwrap().payload, text(100_000));
    assert!(matches!(&view.history[..], [Entry::Ended(..)]));
}
