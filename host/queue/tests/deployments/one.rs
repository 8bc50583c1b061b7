//! One server: Redis, Valkey, a socket, another database; gone, silent, back again.

use std::time::Duration;

use bulkhead_queue::{
    Broker, Client, QueueError, RedisBroker, RedisConfig, Signal, SubmitLimits, Topic,
};
use bulkhead_stage::{Persistence, Program, RedisServer, eventually};

use crate::flow::{impatient, main_flow, new_task, queue};

#[tokio::test]
async fn the_main_flow_on_redis() {
    main_flow(RedisServer::start().broker().await).await;
}

#[tokio::test]
async fn the_main_flow_on_valkey() {
    let server = RedisServer::start_valkey();
    let info: String = redis::cmd("INFO").query(&mut server.connection()).unwrap();
    assert!(info.contains("valkey_version:8."), "{info}");
    main_flow(server.broker().await).await;
}

#[tokio::test]
async fn the_main_flow_over_a_socket_in_another_database_with_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let server = RedisServer::start_as(
        Program::Redis,
        Persistence::None,
        &["--unixsocket", socket, "--user", "ann", "on", ">s/e@c:r", "~*", "&*", "+@all"],
    );
    let url = format!("redis+unix://{socket}?db=3&user=ann&pass=s%2Fe%40c%3Ar");
    main_flow(RedisBroker::connect(RedisConfig::new(url)).await.unwrap()).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut server.connection()).unwrap();
    assert!(keys.is_empty(), "database 0 is untouched: {keys:?}");
    let url = format!("redis://ann:s%2Fe%40c%3Ar@127.0.0.1:{}/3", server.port());
    let broker = RedisBroker::connect(RedisConfig::new(url)).await.unwrap();
    assert_eq!(broker.queues().await.unwrap().len(), 2);
    let url = format!("redis://ann:wrong@127.0.0.1:{}/3", server.port());
    let refused = RedisBroker::connect(RedisConfig::new(url)).await.map(|_| ()).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, QueueError::Refused(_)) && !text.contains("wrong"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_a_bad_url_is_refused() {
    let mut server = RedisServer::start();
    let url = server.url();
    server.kill();
    let connect = |url: String| async {
        RedisBroker::connect(RedisConfig::new(url)).await.map(|_| ()).unwrap_err()
    };
    let error = connect(url.clone()).await;
    assert!(error.is_unavailable() && error.to_string().contains(&url[8..]), "{error}");
    let error = connect("redis+sentinel://h".into()).await;
    assert!(matches!(error, QueueError::Refused(_)), "{error}");
}

#[tokio::test]
async fn a_restarted_server_is_found_again_without_a_failed_call() {
    let mut server = RedisServer::start_with(Persistence::Always);
    let broker = std::sync::Arc::new(server.broker().await);
    let client = Client::new(broker.clone(), SubmitLimits::default());
    client.submit(new_task("q")).await.unwrap();
    let mut signals = broker.subscribe(Topic::Done, vec![queue("q")]);
    assert_eq!(signals.recv().await, Some(Signal::Connected));
    server.restart();
    // The subscription notices by itself; by then every idle link has been seen to end.
    assert_eq!(signals.recv().await, Some(Signal::Connected));
    assert!(client.submit(new_task("q")).await.unwrap().answer.is_new());
    assert_eq!(broker.stats(&queue("q")).await.unwrap().pending, 2);
}

#[tokio::test]
async fn a_silent_server_is_given_up_on_and_found_again() {
    let server = RedisServer::start();
    let broker = impatient(server.url()).await;
    eventually("a first answer", || async { broker.stats(&queue("q")).await.ok() }).await;
    server.freeze();
    let of_queue = queue("q");
    let call = tokio::time::timeout(Duration::from_secs(20), broker.stats(&of_queue));
    assert!(call.await.expect("the call ends").unwrap_err().is_unavailable());
    server.thaw();
    eventually("the server answers again", || async { broker.stats(&queue("q")).await.ok() }).await;
}

#[tokio::test]
async fn a_demoted_server_refuses_writes_and_takes_them_again_when_it_is_promoted() {
    for program in [Program::Redis, Program::Valkey] {
        let server = RedisServer::start_as(program, Persistence::None, &[]);
        let other = RedisServer::start_as(program, Persistence::None, &[]);
        let client =
            Client::new(std::sync::Arc::new(server.broker().await), SubmitLimits::default());
        client.submit(new_task("q")).await.unwrap();
        let replica_of = |words: &[&str]| {
            redis::cmd("REPLICAOF").arg(words).exec(&mut server.connection()).unwrap();
        };
        replica_of(&["127.0.0.1", &other.port().to_string()]);
        let error = client.submit(new_task("q")).await.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("replica"), "{error}");
        replica_of(&["NO", "ONE"]);
        assert!(client.submit(new_task("q")).await.unwrap().answer.is_new());
    }
}

#[tokio::test]
async fn scripts_are_taught_again_after_a_flush() {
    let server = RedisServer::start();
    let client = Client::new(std::sync::Arc::new(server.broker().await), SubmitLimits::default());
    for _ in 0..2 {
        assert!(client.submit(new_task("q")).await.unwrap().answer.is_new());
        redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.connection()).unwrap();
    }
    assert_eq!(client.broker().stats(&queue("q")).await.unwrap().pending, 2);
}
