//! The documented user: its rights are enough for everything, and none is too many to lack.

use bulkhead_queue::{Broker, QueueError, RedisBroker, RedisConfig};
use bulkhead_stage::{Persistence, Program, RedisServer};

use crate::flow::main_flow;

/// The words after `ACL SETUSER bulkhead` on the page.
fn documented() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redis-deployments.md");
    let page = std::fs::read_to_string(page).unwrap();
    let line = page.split("ACL SETUSER bulkhead ").nth(1).unwrap();
    let line = line.split("```").next().unwrap().replace("\\\n", " ");
    line.split_whitespace().map(str::to_owned).collect()
}

fn set_user(server: &RedisServer, rights: &[String]) {
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("bulkhead").arg(rights);
    command.exec(&mut server.connection()).unwrap();
}

async fn connect(server: &RedisServer) -> RedisBroker {
    // The page's password.
    let url = format!("redis://bulkhead:change-me@127.0.0.1:{}", server.port());
    RedisBroker::connect(RedisConfig::new(url)).await.unwrap()
}

#[tokio::test]
async fn the_main_flow_as_the_documented_user() {
    for program in [Program::Redis, Program::Valkey] {
        let server = RedisServer::start_as(program, Persistence::Always, &[]);
        set_user(&server, &documented());
        let broker = connect(&server).await;
        assert_eq!(broker.check().await.unwrap(), Vec::<String>::new(), "{program:?}");
        main_flow(broker).await;
        let log: Vec<redis::Value> =
            redis::cmd("ACL").arg("LOG").query(&mut server.connection()).unwrap();
        assert!(log.is_empty(), "nothing was refused: {log:?}");
    }
}

#[tokio::test]
async fn a_lacking_right_is_named_by_the_check() {
    let server = RedisServer::start();
    for (lacks, named) in [
        ("-zadd", "`+zadd`"),
        ("-blpop", "`+blpop`"),
        ("-publish", "`+publish`"),
        ("-time", "`+time`"),
        ("-subscribe", "`+subscribe`"),
    ] {
        set_user(&server, &["reset".to_owned()]);
        set_user(&server, &documented());
        set_user(&server, &[lacks.to_owned()]);
        let error = connect(&server).await.check().await.unwrap_err();
        assert!(matches!(error, QueueError::Refused(_)), "{error}");
        assert!(error.to_string().contains(named), "{lacks}: {error}");
    }
    set_user(&server, &["resetkeys".to_owned(), "~{bulkhead:*}*".to_owned()]);
    set_user(&server, &documented().into_iter().filter(|w| w.starts_with('+')).collect::<Vec<_>>());
    let error = connect(&server).await.check().await.unwrap_err();
    assert!(error.to_string().contains("bulkhead:queues"), "{error}");
}

#[tokio::test]
async fn a_right_that_is_lacking_at_work_is_no_outage() {
    let server = RedisServer::start();
    set_user(&server, &documented());
    let client = bulkhead_queue::Client::new(
        std::sync::Arc::new(connect(&server).await),
        bulkhead_queue::SubmitLimits::default(),
    );
    for lacks in ["-zadd", "-evalsha"] {
        set_user(&server, &[lacks.to_owned()]);
        let error = client.submit(crate::flow::new_task("q")).await.unwrap_err();
        assert!(matches!(error, QueueError::Refused(_)), "{lacks}: {error}");
    }
}
