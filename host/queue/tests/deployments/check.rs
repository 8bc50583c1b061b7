//! What the check says of a server that is set up badly, or named as what it is not.

use bulkhead_queue::{Broker, QueueError, RedisBroker, RedisConfig};
use bulkhead_stage::{Persistence, Program, RedisCluster, RedisServer, SentinelGroup};

async fn warnings(broker: &RedisBroker) -> String {
    broker.check().await.unwrap().join("\n")
}

#[tokio::test]
async fn a_server_that_may_lose_tasks_is_told_of() {
    let server = RedisServer::start();
    let broker = server.broker().await;
    let mut redis = server.connection();
    let mut set = |key: &str, value: &str| {
        redis::cmd("CONFIG").arg("SET").arg(key).arg(value).exec(&mut redis).unwrap();
    };
    assert!(warnings(&broker).await.contains("appendonly"));
    set("appendonly", "yes");
    assert_eq!(warnings(&broker).await, "");
    set("appendfsync", "no");
    assert!(warnings(&broker).await.contains("appendfsync"));
    set("maxmemory", "100mb");
    set("maxmemory-policy", "allkeys-lru");
    assert!(warnings(&broker).await.contains("noeviction"));
}

#[tokio::test]
async fn what_may_not_be_looked_at_is_said_instead_of_failing() {
    let server = RedisServer::start_with(Persistence::Always);
    let mut redis = server.connection();
    let mut user = |rights: &[&str]| {
        redis::cmd("ACL").arg("SETUSER").arg("u").arg(rights).exec(&mut redis).unwrap();
    };
    user(&["on", ">p", "~*", "&*", "+@all", "-config"]);
    let url = format!("redis://u:p@127.0.0.1:{}", server.port());
    let broker = RedisBroker::connect(RedisConfig::new(url)).await.unwrap();
    assert!(warnings(&broker).await.contains("CONFIG"));
    user(&["-info"]);
    assert!(warnings(&broker).await.contains("INFO"));
}

#[tokio::test]
async fn a_cluster_is_checked_on_every_primary() {
    let cluster = RedisCluster::start(3, 0, Persistence::None);
    let broker = cluster.broker().await;
    let found = broker.check().await.unwrap();
    assert_eq!(found.iter().filter(|warning| warning.contains("appendonly")).count(), 3);
    let error = RedisBroker::connect(RedisConfig::new(cluster.node_url(0)))
        .await
        .unwrap()
        .check()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("redis+cluster://"), "{error}");
}

#[tokio::test]
async fn a_sentinel_group_that_may_split_is_told_of() {
    let group = SentinelGroup::start(Persistence::Always, &[]);
    let broker = group.broker().await;
    assert!(warnings(&broker).await.contains("min-replicas-to-write"));
    let replica = RedisBroker::connect(RedisConfig::new(group.server_url(1))).await.unwrap();
    let error = replica.check().await.unwrap_err();
    assert!(error.to_string().contains("replica"), "{error}");
}

#[tokio::test]
async fn a_deployment_named_as_another_is_refused_with_the_right_words() {
    let server = RedisServer::start();
    let place = &server.url()["redis://".len()..];
    for (url, words) in [
        (format!("redis+cluster://{place}"), "not part of a Cluster"),
        (format!("redis+sentinel://{place}/main"), "no Sentinel"),
    ] {
        let error = RedisBroker::connect(RedisConfig::new(url)).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, QueueError::Refused(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_submission_that_no_replica_can_confirm_says_so() {
    let server = RedisServer::start_as(Program::Valkey, Persistence::None, &[]);
    let url = format!("{}?min_replicas=1", server.url());
    let broker = RedisBroker::connect(RedisConfig::new(url)).await.unwrap();
    assert!(warnings(&broker).await.contains("min_replicas"));
    let client = bulkhead_queue::Client::new(
        std::sync::Arc::new(broker),
        bulkhead_queue::SubmitLimits::default(),
    );
    let error = client.submit(crate::flow::new_task("q")).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("same id"), "{error}");
}
