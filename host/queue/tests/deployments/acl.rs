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

async fn try_connect(server: &RedisServer) -> Result<RedisBroker, QueueError> {
    // The page's password.
    let url = format!("redis://bulkhead:change-me@127.0.0.1:{}", server.port());
    RedisBroker::connect(RedisConfig::new(url)).await
}

async fn connect(server: &RedisServer) -> RedisBroker {
    try_connect(server).await.unwrap()
}

async fn refusal(server: &RedisServer) -> String {
    let error = try_connect(server).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, QueueError::Refused(_)), "{error}");
    error.to_string()
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

/// Half a script's rights would lose tasks, so nobody connects with them.
#[tokio::test]
async fn a_user_that_lacks_a_right_is_refused_by_its_name() {
    let server = RedisServer::start();
    for (lacks, named) in [
        ("-zadd", "`+zadd`"),
        ("-blpop", "`+blpop`"),
        ("-publish", "`+publish`"),
        ("-time", "`+time`"),
        ("-subscribe", "`+subscribe`"),
        ("-evalsha", "`+evalsha`"),
        ("-eval", "eval"),
        ("resetchannels", "bulkhead:control"),
        ("resetkeys", "bulkhead:queues"),
    ] {
        set_user(&server, &["reset".to_owned()]);
        set_user(&server, &documented());
        set_user(&server, &[lacks.to_owned()]);
        let reason = refusal(&server).await;
        assert!(reason.contains(named), "{lacks}: {reason}");
    }
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_found_by_the_check_and_is_no_outage() {
    let server = RedisServer::start();
    set_user(&server, &documented());
    let client = bulkhead_queue::Client::new(
        std::sync::Arc::new(connect(&server).await),
        bulkhead_queue::SubmitLimits::default(),
    );
    for lacks in ["-setnx", "-evalsha"] {
        set_user(&server, &[lacks.to_owned()]);
        let error = client.broker().check().await.unwrap_err();
        assert!(error.to_string().contains(&lacks[1..]), "{error}");
        let error = client.submit(crate::flow::new_task("q")).await.unwrap_err();
        assert!(matches!(error, QueueError::Refused(_)), "{lacks}: {error}");
    }
}
