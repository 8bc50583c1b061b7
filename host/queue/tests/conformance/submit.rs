//! Which state a submitted task goes to, and what is refused in which order.

use bulkhead_core::{
    Backoff, BatchId, BatchRef, Conflict, LimitsRequest, OnFailedParent, Payload, Priority,
    QueuePolicy, RetryRequest, State, TenantPolicy, Terms, TraceContext, Unique,
};
use bulkhead_queue::{Entry, NewTask, SubmitAnswer};

use crate::talk::{Say, Talk};
use crate::words::*;

crate::every_broker![
    a_task_is_submitted_claimed_and_completed,
    everything_about_a_task_comes_back,
    parents_come_before_time_and_time_before_the_line,
    a_time_that_has_passed_is_no_delay,
    a_task_that_has_expired_already_is_accepted_and_expires_at_once,
    a_known_id_is_not_submitted_again,
    a_known_id_is_known_before_quotas_and_keys_are_looked_at,
    the_payload_quota_refuses_large_records,
    the_pending_quota_counts_all_that_have_not_ended,
    quotas_come_before_unique_keys,
    quotas_are_the_tenants_own_and_the_queues_own,
    tasks_of_one_call_see_each_other,
    one_call_reaches_several_queues,
    a_payload_over_the_bound_is_refused_and_nothing_of_its_batch_is_sent,
    terms_that_cannot_be_kept_are_refused,
];

async fn a_task_is_submitted_claimed_and_completed(talk: Talk) {
    let id = talk.submit(of_tenant("a", "acme")).await;
    assert_eq!(talk.state(id).await, State::Pending);
    assert_eq!(talk.list(State::Pending).await, [id]);

    let claim = talk.claim_one().await;
    assert_eq!((claim.id, claim.attempt, claim.cancelled), (id, 1, false));
    let claimed = claim.task.as_ref().unwrap();
    assert_eq!(claimed.payload.data, b"hello");
    assert_eq!(claimed.tenant.as_str(), "acme");
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts()), (State::Running, 1));
    assert_eq!(view.holder.unwrap().host, "h1");
    assert_eq!(talk.list(State::Running).await, [id]);
    assert!(talk.claim(10).await.is_empty());

    talk.settle(done(&claim)).await;
    let view = talk.view(id).await;
    assert_eq!((view.state, view.attempts()), (State::Completed, 1));
    assert!(view.kept_until.is_some() && view.holder.is_none());
    assert_eq!(talk.list(State::Completed).await, [id]);
    assert_eq!(talk.total("completed").await, 1);
    assert_eq!(talk.broker.queues().await.unwrap(), [queue()]);
    talk.is_sound().await;
}

async fn everything_about_a_task_comes_back(talk: Talk) {
    let parent = talk.submit(new_task("b")).await;
    let batch = BatchRef { queue: queue(), id: BatchId(uuid::Uuid::now_v7()) };
    let terms = Terms {
        retry: Some(RetryRequest {
            max_attempts: Some(7),
            backoff: Some(Backoff::Delays { delays_ms: vec![1, 2] }),
            ..RetryRequest::default()
        }),
        retention_ms: Some(5_000),
        not_before: Some(talk.now() + 1),
        expires_at: Some(talk.now() + DAY_MS),
        deadline_at: Some(talk.now() + 2 * DAY_MS),
        key: Some(key("smtp:example")),
        unique: Some(Unique {
            key: key("once"),
            window_ms: Some(9_000),
            conflict: Conflict::Replace,
        }),
        after: vec![here(parent)],
        on_failed_parent: OnFailedParent::Run,
        batch: Some(batch),
        schedule: Some("nightly".into()),
        depth: 3,
    };
    let task = task_of(
        NewTask {
            tenant: tenant("acme"),
            priority: Priority::HIGH,
            payload: Payload::new("image/png", vec![0, 159, 255]),
            metadata: vec![("k".into(), "v".into()), ("k".into(), "w".into())],
            trace: Some(TraceContext { traceparent: "00-1-2-01".into(), tracestate: None }),
            limits: LimitsRequest { fuel: Some(7), ..LimitsRequest::default() },
            ..with("a", terms)
        },
        talk.now(),
    );
    let answers = talk.broker.submit(std::slice::from_ref(&task)).await.unwrap();
    assert_eq!(answers, [SubmitAnswer::Accepted]);
    assert_eq!(talk.view(task.id).await.task.unwrap(), task);
    let claim = talk.claim_one().await;
    talk.settle(done(&claim)).await;
    talk.pass(10);
    let claim = talk.claim_one().await;
    assert_eq!(*claim.task.unwrap(), task);
}

async fn parents_come_before_time_and_time_before_the_line(talk: Talk) {
    let parent = talk.submit(new_task("a")).await;
    let later = talk.now() + HOUR_MS;
    let blocked = with("a", Terms { not_before: Some(later), ..after(&[here(parent)]) });
    let blocked = talk.submit(blocked).await;
    let scheduled = talk.submit(with("a", starting(later))).await;
    assert_eq!(talk.state(blocked).await, State::Blocked);
    assert_eq!(talk.state(scheduled).await, State::Scheduled);
    assert_eq!(talk.view(scheduled).await.due_at, Some(later));
    assert_eq!(talk.state(parent).await, State::Pending);

    let claim = talk.claim_one().await;
    talk.settle(done(&claim)).await;
    assert_eq!(talk.state(blocked).await, State::Scheduled, "its time has not come");
    assert!(talk.claim(10).await.is_empty());
    talk.pass(HOUR_MS + SECOND_MS);
    assert_eq!(talk.drain(10).await.len(), 2);
}

async fn a_time_that_has_passed_is_no_delay(talk: Talk) {
    let id = talk.submit(with("a", starting(talk.now() - 1))).await;
    assert_eq!(talk.state(id).await, State::Pending);
    assert_eq!(talk.claim_one().await.id, id);
}

async fn a_task_that_has_expired_already_is_accepted_and_expires_at_once(talk: Talk) {
    let id = fresh_id();
    let late = NewTask { id: Some(id), ..with("a", expiring(talk.now() - 1)) };
    assert_eq!(talk.offer(late).await, SubmitAnswer::Accepted);
    let view = talk.view(id).await;
    assert_eq!(view.state, State::Expired);
    assert!(matches!(view.history[..], [Entry::Expired { .. }]));
    assert!(talk.claim(10).await.is_empty());
    assert_eq!(talk.total("expired").await, 1);
    talk.is_sound().await;
}

async fn a_known_id_is_not_submitted_again(talk: Talk) {
    let task = NewTask { id: Some(fresh_id()), ..new_task("a") };
    assert_eq!(talk.offer(task.clone()).await, SubmitAnswer::Accepted);
    assert_eq!(talk.offer(task.clone()).await, SubmitAnswer::Known);
    let claim = talk.claim_one().await;
    assert_eq!(talk.offer(task.clone()).await, SubmitAnswer::Known, "while it runs");
    talk.settle(done(&claim)).await;
    assert_eq!(talk.offer(task).await, SubmitAnswer::Known, "while it is kept");
    assert!(talk.claim(10).await.is_empty());
    assert_eq!(talk.total("submitted").await, 1);
}

async fn a_known_id_is_known_before_quotas_and_keys_are_looked_at(talk: Talk) {
    let unique = Unique { key: key("u"), window_ms: None, conflict: Conflict::Reject };
    let terms = Terms { unique: Some(unique), ..Terms::default() };
    let task = NewTask { id: Some(fresh_id()), ..with("a", terms) };
    talk.submit(task.clone()).await;
    let quota =
        TenantPolicy { pending: Some(0), payload_bytes: Some(1), ..TenantPolicy::default() };
    talk.set_policy(QueuePolicy { other_tenants: Some(quota), ..QueuePolicy::default() }).await;
    assert_eq!(talk.offer(task).await, SubmitAnswer::Known);
}

async fn the_payload_quota_refuses_large_records(talk: Talk) {
    let quota = TenantPolicy { payload_bytes: Some(400), ..TenantPolicy::default() };
    talk.set_policy(QueuePolicy { other_tenants: Some(quota), ..QueuePolicy::default() }).await;
    let of = |bytes: usize| NewTask {
        payload: Payload::new(Payload::BINARY, vec![1; bytes]),
        ..new_task("a")
    };
    assert_eq!(talk.offer(of(401)).await, SubmitAnswer::OverPayload);
    assert_eq!(talk.offer(of(150)).await, SubmitAnswer::Accepted);
    assert_eq!(talk.drain(10).await.len(), 1);
    assert_eq!(talk.total("submitted").await, 1);
}

async fn the_pending_quota_counts_all_that_have_not_ended(talk: Talk) {
    let quota = TenantPolicy { pending: Some(4), ..TenantPolicy::default() };
    talk.set_policy(QueuePolicy { other_tenants: Some(quota), ..QueuePolicy::default() }).await;
    let running = talk.submit(new_task("a")).await;
    let claim = talk.claim_one().await;
    talk.submit(with("a", starting(talk.now() + DAY_MS))).await;
    let blocked = talk.submit(with("a", after(&[here(running)]))).await;
    let pending = talk.submit(new_task("a")).await;
    assert_eq!(talk.offer(new_task("a")).await, SubmitAnswer::OverPending);
    talk.settle(retry(&claim, DAY_MS)).await;
    assert_eq!(talk.offer(new_task("a")).await, SubmitAnswer::OverPending, "a retry is open");
    talk.broker.cancel(&queue(), &[pending], DAY_MS).await.unwrap();
    assert_eq!(talk.offer(new_task("a")).await, SubmitAnswer::Accepted);
    assert_eq!(talk.offer(new_task("a")).await, SubmitAnswer::OverPending);
    talk.broker.cancel(&queue(), &[running], DAY_MS).await.unwrap();
    assert_eq!(talk.state(blocked).await, State::Failed, "it ended with its parent");
    let answers =
        [talk.offer(new_task("a")).await, talk.offer(new_task("a")).await].map(|a| a.is_new());
    assert_eq!(answers, [true, true]);
    assert_eq!(talk.offer(new_task("a")).await, SubmitAnswer::OverPending);
    talk.is_sound().await;
}

async fn quotas_come_before_unique_keys(talk: Talk) {
    let unique = Unique { key: key("u"), window_ms: None, conflict: Conflict::Replace };
    let terms = Terms { unique: Some(unique), ..Terms::default() };
    let holder = talk.submit(with("a", terms.clone())).await;
    let quota = TenantPolicy { pending: Some(1), ..TenantPolicy::default() };
    talk.set_policy(QueuePolicy { other_tenants: Some(quota), ..QueuePolicy::default() }).await;
    assert_eq!(talk.offer(with("a", terms)).await, SubmitAnswer::OverPending);
    assert_eq!(talk.state(holder).await, State::Pending, "nothing was replaced");
}

async fn quotas_are_the_tenants_own_and_the_queues_own(talk: Talk) {
    let quota = TenantPolicy { pending: Some(1), ..TenantPolicy::default() };
    talk.set_policy(QueuePolicy {
        tenants: [(tenant("small"), quota)].into(),
        ..QueuePolicy::default()
    })
    .await;
    talk.submit(of_tenant("a", "small")).await;
    assert_eq!(talk.offer(of_tenant("a", "small")).await, SubmitAnswer::OverPending);
    talk.submit_many(vec![of_tenant("a", "large"), of_tenant("a", "large")]).await;
    talk.submit(NewTask { queue: queue_named("other"), ..of_tenant("a", "small") }).await;
}

async fn tasks_of_one_call_see_each_other(talk: Talk) {
    let quota = TenantPolicy { pending: Some(2), ..TenantPolicy::default() };
    talk.set_policy(QueuePolicy { other_tenants: Some(quota), ..QueuePolicy::default() }).await;
    let twice = NewTask { id: Some(fresh_id()), ..new_task("a") };
    let unique = Unique { key: key("u"), window_ms: None, conflict: Conflict::Reject };
    let one = with("a", Terms { unique: Some(unique), ..Terms::default() });
    let submitted = talk
        .client
        .submit_many(vec![twice.clone(), twice, one.clone(), new_task("a"), one])
        .await
        .unwrap();
    let answers: Vec<SubmitAnswer> = submitted.iter().map(|s| s.answer).collect();
    use SubmitAnswer::{Accepted, Known, OverPending};
    assert_eq!(answers, [Accepted, Known, Accepted, OverPending, OverPending]);

    let unique = Unique { key: key("v"), window_ms: None, conflict: Conflict::Existing };
    let one = of_tenant("a", "roomy");
    let one = NewTask { terms: Terms { unique: Some(unique), ..Terms::default() }, ..one };
    talk.set_policy(QueuePolicy::default()).await;
    let submitted = talk.client.submit_many(vec![one.clone(), one]).await.unwrap();
    assert_eq!(submitted[1].answer, SubmitAnswer::Existing(submitted[0].id));
}

async fn one_call_reaches_several_queues(talk: Talk) {
    let (mail, video) = (queue_named("mail"), queue_named("video"));
    let of = |queue| NewTask { queue, ..new_task("a") };
    let sent = [of(mail.clone()), of(video.clone()), of(mail.clone())];
    let sent = talk.submit_many(sent.into()).await;
    assert_eq!(talk.broker.queues().await.unwrap(), [mail.clone(), video.clone()]);
    let say = |queue| Say { queue, want: 10, ..Say::default() };
    assert_eq!(ids(&talk.say(say(mail)).await.claims), [sent[0], sent[2]]);
    assert_eq!(ids(&talk.say(say(video)).await.claims), [sent[1]]);
}

async fn a_payload_over_the_bound_is_refused_and_nothing_of_its_batch_is_sent(talk: Talk) {
    let mut large = new_task("a");
    large.payload.data = vec![0; 1_001];
    let error = talk.client.submit_many(vec![new_task("a"), large]).await.unwrap_err().to_string();
    assert!(error.contains("task 2") && error.contains("1001 bytes"), "{error}");
    assert!(talk.claim(10).await.is_empty());
}

async fn terms_that_cannot_be_kept_are_refused(talk: Talk) {
    let id = fresh_id();
    let own = NewTask { id: Some(id), ..with("a", after(&[here(id)])) };
    let parents: Vec<_> = (0..=Terms::MAX_PARENTS).map(|_| here(fresh_id())).collect();
    let unique = Unique { key: key("u"), window_ms: Some(0), conflict: Conflict::Reject };
    for refused in [
        own,
        with("a", after(&parents)),
        with("a", Terms { expires_at: Some(5), ..starting(5) }),
        with("a", Terms { deadline_at: Some(5), ..starting(5) }),
        with("a", Terms { unique: Some(unique), ..Terms::default() }),
    ] {
        let error = talk.client.submit(refused).await.unwrap_err();
        assert!(matches!(error, bulkhead_queue::QueueError::Refused(_)), "{error}");
    }
    assert!(talk.claim(10).await.is_empty());
}
