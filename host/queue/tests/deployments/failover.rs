//! Sentinels: the broker follows the primary by itself.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::{State, TaskId};
use bulkhead_queue::{
    Broker, Client, Lines, RedisBroker, RedisConfig, Signal, SubmitLimits, Topic,
};
use bulkhead_stage::{Persistence, SentinelGroup, eventually};

use crate::flow::{list, main_flow, new_task, of_type, queue};
use crate::worker::Worker;

async fn client(url: String) -> Client {
    let broker = RedisBroker::connect(RedisConfig::new(url)).await.unwrap();
    Client::new(Arc::new(broker), SubmitLimits::default())
}

#[tokio::test]
async fn the_main_flow_behind_sentinels() {
    let group = SentinelGroup::start(Persistence::None, &[]);
    main_flow(group.broker().await).await;
}

#[tokio::test]
async fn a_killed_primary_is_replaced_with_confirmed_tasks_leases_and_tokens() {
    let mut group = SentinelGroup::start(Persistence::None, &[]);
    let client = self::client(format!("{}?min_replicas=1", group.url())).await;
    let broker = client.broker().clone();
    let worker = Worker::new("h1", "q");
    let mut signals = broker.subscribe(Topic::Done, vec![queue("q")]);
    assert_eq!(signals.recv().await, Some(Signal::Connected));
    client.submit_many((0..100).map(|_| new_task("q")).collect()).await.unwrap();
    let claims = worker.claim(&*broker, 10).await.unwrap();
    let before = token_of(&*broker, claims[0].id).await;
    client.submit(new_task("q")).await.unwrap();
    // Drain the marker, so that a later wait hears of what comes after the failover.
    let lines: [Lines; 1] = [(queue("q"), vec![of_type("a").into()])];
    while broker.await_work(&lines, Duration::from_millis(20)).await.unwrap() {}

    let old = group.primary();
    group.watch();
    group.kill(old);
    group.await_failover(old);
    let renewed =
        eventually("the broker follows", || async { worker.renew(&*broker, &claims).await.ok() })
            .await;
    assert!(renewed.lost.is_empty(), "leases went along");
    assert!(worker.complete(&*broker, &claims).await.unwrap().stale.is_empty());
    assert_eq!(list(&*broker, "q", State::Pending).await.len(), 91);
    assert_eq!(signals.recv().await, Some(Signal::Connected), "subscriptions follow");
    let later = worker.claim_one(&*broker).await;
    assert!(token_of(&*broker, later.id).await > before, "tokens go on");
}

async fn token_of(broker: &dyn Broker, id: TaskId) -> u64 {
    let view = broker.inspect(&queue("q"), &[id]).await.unwrap().remove(0).unwrap();
    view.holder.unwrap().token
}

/// What only the primary had is lost with it. Who asks for confirmation is not told that it
/// was accepted.
#[tokio::test]
async fn what_no_replica_confirmed_is_not_accepted() {
    let mut group = SentinelGroup::start(Persistence::None, &[]);
    let trusting = client(group.url()).await;
    let careful = client(format!("{}?min_replicas=1", group.url())).await;
    let kept = careful.submit(new_task("q")).await.unwrap().id;
    trusting.submit(new_task("q")).await.unwrap();

    // The replicas lose their links and cannot come back; clients that are in stay.
    let old = group.primary();
    let mut primary = group.connection(old);
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("x").exec(&mut primary).unwrap();
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("replica").exec(&mut primary).unwrap();
    let lost = trusting.submit(new_task("q")).await.unwrap();
    assert!(lost.answer.is_new());
    let mut unconfirmed = new_task("q");
    unconfirmed.id = Some(TaskId(uuid::Uuid::now_v7()));
    let error = careful.submit(unconfirmed.clone()).await.unwrap_err();
    assert!(error.to_string().contains("same id"), "{error}");

    group.kill(old);
    group.fail_over();
    group.await_failover(old);
    let again = eventually("the task is accepted", || async {
        careful.submit(unconfirmed.clone()).await.ok()
    })
    .await;
    let ids = [kept, again.id, lost.id];
    let views = careful.broker().inspect(&queue("q"), &ids).await.unwrap();
    let is_there: Vec<bool> = views.iter().map(Option::is_some).collect();
    assert_eq!(is_there, [true, true, false]);
}

/// Nobody told the old primary yet: it is frozen, so its connections stay open.
#[tokio::test]
async fn a_frozen_primary_is_given_up_on_and_stays_fenced_when_it_comes_back() {
    let group = SentinelGroup::start(Persistence::None, &[]);
    let client = self::client(group.url()).await;
    let broker = client.broker().clone();
    let worker = Worker::new("h1", "q");
    client.submit_many((0..10).map(|_| new_task("q")).collect()).await.unwrap();
    // A second process with a link of its own that it does not use meanwhile.
    let idle = self::client(group.url()).await;
    idle.submit(new_task("q")).await.unwrap();
    let mut replicas = group.connection(group.primary());
    let confirmed: u32 = redis::cmd("WAIT").arg(2).arg(10_000).query(&mut replicas).unwrap();
    assert_eq!(confirmed, 2);

    let old = group.primary();
    group.watch();
    group.freeze(old);
    let new = group.await_failover(old);
    let claims = eventually("the broker follows", || async {
        worker.claim(&*broker, 100).await.ok().filter(|claims| !claims.is_empty())
    })
    .await;
    assert_eq!(claims.len(), 11);
    group.thaw(old);
    // Whether the old primary still thinks that it is one or not, no claim is lost to it.
    assert_eq!(group.primary(), new);
    group.await_repair();
    eventually("the idle process follows", || async { idle.submit(new_task("q")).await.ok() })
        .await;
    assert!(worker.complete(&*broker, &claims).await.unwrap().stale.is_empty());
    assert_eq!(idle.broker().stats(&queue("q")).await.unwrap().pending, 1);
}

/// A link to a server that was demoted without closing it: writes are refused there and go
/// to the new primary.
#[tokio::test]
async fn a_demoted_primary_s_refusal_leads_to_the_new_one() {
    let group = SentinelGroup::start(Persistence::None, &[]);
    let client = self::client(group.url()).await;
    client.submit(new_task("q")).await.unwrap();
    let old = group.primary();
    group.fail_over();
    group.await_failover(old);
    let is_replica = || async { group.is_replica(old).then_some(()) };
    eventually("the old primary is a replica", is_replica).await;
    eventually("the broker follows", || async { client.submit(new_task("q")).await.ok() }).await;
    assert_eq!(client.broker().stats(&queue("q")).await.unwrap().pending, 2);
}

#[tokio::test]
async fn an_unknown_primary_name_is_refused_and_lost_sentinels_are_unavailable() {
    let group = SentinelGroup::start(Persistence::None, &[]);
    let url = group.url().replace("/main", "/other");
    let connect = |url: String| async {
        RedisBroker::connect(RedisConfig::new(url)).await.map(|_| ()).unwrap_err()
    };
    let error = connect(url).await;
    assert!(error.to_string().contains("`other`") && !error.is_unavailable(), "{error}");
    let url = group.url();
    drop(group);
    let error = connect(url).await;
    assert!(error.is_unavailable(), "{error}");
}
