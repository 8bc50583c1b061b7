//! A real Cluster: queues spread over the primaries, lost and moved slots, other queues
//! untouched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::State;
use bulkhead_queue::{Client, Lines, RedisBroker, RedisConfig, SubmitLimits, Topic};
use bulkhead_stage::{Persistence, RedisCluster, eventually};

use crate::flow::{list, main_flow, new_task, of_type, queue};
use crate::worker::Worker;

fn key(queue: &str) -> String {
    format!("{{bulkhead:{queue}}}")
}

/// One queue for each of three primaries.
fn queues_apart(cluster: &RedisCluster) -> [String; 3] {
    let mut found: [Option<String>; 3] = Default::default();
    for at in 0.. {
        let name = format!("q{at}");
        let owner = cluster.owner(&key(&name));
        found[owner].get_or_insert(name);
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found.map(Option::unwrap)
}

async fn client(cluster: &RedisCluster) -> Client {
    Client::new(Arc::new(cluster.broker().await), SubmitLimits::default())
}

#[tokio::test]
async fn the_main_flow_on_a_cluster() {
    let cluster = RedisCluster::start(3, 0, Persistence::None);
    let owners: BTreeSet<usize> = ["first", "second"].map(|name| cluster.owner(&key(name))).into();
    assert_eq!(owners.len(), 2, "the flow's queues are on different primaries");
    main_flow(cluster.broker().await).await;
}

#[tokio::test]
async fn one_call_submits_to_queues_on_all_primaries_and_one_wait_hears_of_each() {
    let cluster = RedisCluster::start(3, 0, Persistence::None);
    let client = client(&cluster).await;
    let broker = &**client.broker();
    let queues = queues_apart(&cluster);
    let tasks = (0..300).map(|at| new_task(&queues[at % 3])).collect();
    let submitted = client.submit_many(tasks).await.unwrap();
    assert!(submitted.iter().all(|one| one.answer.is_new()));
    for (node, name) in queues.iter().enumerate() {
        assert_eq!(list(broker, name, State::Pending).await.len(), 100);
        let size: u64 = redis::cmd("DBSIZE").query(&mut cluster.connection(node)).unwrap();
        assert!(size > 100, "node {node} has {size} keys");
    }
    // A script that one node forgot is taught to that node.
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut cluster.connection(1)).unwrap();
    let lines: [Lines; 3] = queues.each_ref().map(|name| (queue(name), vec![of_type("a").into()]));
    assert!(broker.await_work(&lines, Duration::from_secs(20)).await.unwrap());
    for name in &queues {
        let worker = Worker::new("h1", name);
        let claims = worker.claim(broker, 500).await.unwrap();
        assert_eq!(claims.len(), 100);
        worker.complete(broker, &claims).await.unwrap();
    }
}

/// What a wait that was ended for another queue's sake had blocked on is still heard of.
#[tokio::test]
async fn no_wake_up_is_lost_between_waits() {
    let cluster = RedisCluster::start(3, 0, Persistence::None);
    let client = client(&cluster).await;
    let broker = &**client.broker();
    let queues = queues_apart(&cluster);
    let lines: [Lines; 3] = queues.each_ref().map(|name| (queue(name), vec![of_type("a").into()]));
    let mut open = 0_usize;
    for round in 0..60 {
        let (heard, submitted) = tokio::join!(
            broker.await_work(&lines, Duration::from_secs(20)),
            client.submit_many(vec![
                new_task(&queues[round % 3]),
                new_task(&queues[(round + 1) % 3])
            ])
        );
        assert!(heard.unwrap());
        open += submitted.unwrap().len();
        for name in &queues {
            let worker = Worker::new("h1", name);
            let claims = worker.claim(broker, 10).await.unwrap();
            open -= claims.len();
            worker.complete(broker, &claims).await.unwrap();
        }
        assert_eq!(open, 0);
    }
    let waiting: usize = (0..3)
        .map(|node| {
            let list: String =
                redis::cmd("CLIENT").arg("LIST").query(&mut cluster.connection(node)).unwrap();
            list.lines()
                .filter(|line| line.contains("cmd=blpop") || line.contains("cmd=client|id"))
                .count()
        })
        .sum();
    assert!(waiting <= 3, "connections rest between waits: {waiting}");
}

#[tokio::test]
async fn a_lost_primary_stops_its_own_queues_only_and_comes_back_with_its_tasks() {
    let mut cluster = RedisCluster::start(3, 0, Persistence::Always);
    let client = client(&cluster).await;
    let broker = client.broker().clone();
    let queues = queues_apart(&cluster);
    for name in &queues {
        client.submit(new_task(name)).await.unwrap();
    }
    cluster.kill(0);
    let error = client.submit(new_task(&queues[0])).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    for name in &queues[1..] {
        assert!(client.submit(new_task(name)).await.unwrap().answer.is_new());
        let worker = Worker::new("h1", name);
        let claims = worker.claim(&*broker, 10).await.unwrap();
        assert_eq!(claims.len(), 2);
        worker.complete(&*broker, &claims).await.unwrap();
    }
    let lines: [Lines; 3] = queues.each_ref().map(|name| (queue(name), vec![of_type("a").into()]));
    let (heard, _) = tokio::join!(
        broker.await_work(&lines, Duration::from_secs(20)),
        client.submit(new_task(&queues[1]))
    );
    assert!(heard.unwrap(), "a wait goes on without the lost primary");
    cluster.restart(0);
    eventually("the queue is back", || async { client.submit(new_task(&queues[0])).await.ok() })
        .await;
    assert_eq!(list(&*broker, &queues[0], State::Pending).await.len(), 2);
}

#[tokio::test]
async fn a_replica_takes_over_with_the_tasks_and_the_fencing_tokens() {
    let mut cluster = RedisCluster::start(3, 1, Persistence::None);
    let url = format!("{}?min_replicas=1", cluster.url());
    let broker = RedisBroker::connect(RedisConfig::new(url)).await.unwrap();
    let client = Client::new(Arc::new(broker), SubmitLimits::default());
    let broker = client.broker().clone();
    let queues = queues_apart(&cluster);
    let name = &queues[0];
    let mut signals = broker.subscribe(Topic::Done, vec![queue(name)]);
    signals.recv().await.unwrap();
    let submitted = client.submit_many((0..50).map(|_| new_task(name)).collect()).await.unwrap();
    let worker = Worker::new("h1", name);
    let claims = worker.claim(&*broker, 10).await.unwrap();
    // A confirmed write after the claims carries them to the replica.
    client.submit(new_task(name)).await.unwrap();

    cluster.watch();
    cluster.kill(0);
    cluster.await_owner(&key(name));
    let renewed =
        eventually("the queue is back", || async { worker.renew(&*broker, &claims).await.ok() })
            .await;
    assert!(renewed.lost.is_empty(), "leases went along");
    assert!(worker.complete(&*broker, &claims).await.unwrap().stale.is_empty());
    assert_eq!(worker.complete(&*broker, &claims).await.unwrap().stale.len(), 10);
    let rest = eventually("all others are there", || async {
        let claims = worker.claim(&*broker, 100).await.ok()?;
        (!claims.is_empty()).then_some(claims)
    })
    .await;
    assert_eq!(rest.len(), submitted.len() + 1 - 10);
    let of_queue = queue(name);
    let waiting = client.wait(&of_queue, rest[0].id, Duration::from_secs(30));
    let (ended, _) = tokio::join!(waiting, worker.complete(&*broker, &rest));
    assert_eq!(ended.unwrap().unwrap().state, State::Completed);
}

/// A slot on its way is in two places. The queue waits; nothing is written to the wrong one.
#[tokio::test]
async fn a_queue_whose_slot_is_moved_waits_and_goes_on_whole() {
    let cluster = RedisCluster::start(3, 0, Persistence::None);
    let client = client(&cluster).await;
    let broker = client.broker().clone();
    let [name, other, _] = queues_apart(&cluster);
    let submitted = client.submit_many((0..250).map(|_| new_task(&name)).collect()).await.unwrap();
    let worker = Worker::new("h1", &name);
    let claims = worker.claim(&*broker, 10).await.unwrap();

    let moving = cluster.begin_move(&key(&name), 1);
    let error = client.submit(new_task(&name)).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("moved"), "{error}");
    assert!(worker.complete(&*broker, &claims).await.unwrap_err().is_unavailable());
    assert!(client.submit(new_task(&other)).await.unwrap().answer.is_new());
    moving.end();

    assert_eq!(cluster.owner(&key(&name)), 1);
    let settled = worker.complete(&*broker, &claims).await.unwrap();
    assert!(settled.stale.is_empty(), "the leases moved along");
    let rest = worker.claim(&*broker, 500).await.unwrap();
    assert_eq!(rest.len(), submitted.len() - 10);
    assert!(worker.complete(&*broker, &rest).await.unwrap().stale.is_empty());
}
