//! Many who wait at one host: however many long polls and event streams there are, the host has one
//! subscription and one wait for events at Redis.

use std::time::Duration;

use bulkhead_tests::{HostProcess, Http, RedisServer, Site, eventually, eventually_within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long polls at once.
const POLLS: usize = 500;
/// Event streams at once.
const STREAMS: usize = 100;
/// Six hundred connections on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The clients that Redis has: all, those that subscribe, and those that block.
fn clients(server: &RedisServer) -> (usize, usize, usize) {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut connection).expect("a list");
    let subscribed = |line: &&str| line.split(' ').any(|field| field.starts_with("flags=P"));
    let reads = |line: &&str| line.contains(" cmd=xread ");
    (
        list.lines().count(),
        list.lines().filter(subscribed).count(),
        list.lines().filter(reads).count(),
    )
}

/// Ask for this path, over a connection of its own; it is read on.
async fn ask(at: &str, path: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.expect("a connection");
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn many_waiters_take_one_subscription_and_one_wait() {
    let site = Site::new().await;
    let mut command = HostProcess::command();
    command.args(["--broker", &site.server.url(), "run", "--name", "h", "--plugins"]);
    command.arg(site.folder()).env("BULKHEAD_API__LISTEN", "127.0.0.1:0");
    command.env("BULKHEAD_API__LONGEST_WAIT", "170s").env("BULKHEAD_API__CONNECTIONS", "2000");
    let host = HostProcess::spawn(command, site.folder().join("h.log"));
    let api = Http::of(&host).await;
    eventually("it is ready", || async { (api.get("/readyz").status == 200).then_some(()) }).await;
    let run = |args: &[&str]| {
        bulkhead_tests::Ran::of(&[&["--broker", &site.server.url()], args].concat())
    };
    let token = run(&["token", "create", "all", "--scope", "read,submit,operate"]).said();
    let asked = api.with(&token);
    let at = api.base().trim_start_matches("http://").to_owned();

    // A task that waits for its time is what all wait for; another makes the queue known.
    site.ended("echo", "x").await;
    run(&["queue", "limit", "default", "--events", "1000"]).exits(0);
    let sent =
        asked.post("/v1/tasks", r#"{"type": "echo", "payload": 1, "delay": "1h"}"#).with(201);
    let task = sent["id"].as_str().expect("an id").to_owned();
    let (before, subscribed, _) = clients(&site.server);
    let wait = format!("/v1/queues/default/tasks/{task}/wait?timeout=170s");
    let mut polls = Vec::new();
    for _ in 0..POLLS {
        polls.push(ask(&at, &wait, &token).await);
    }
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(ask(&at, "/v1/queues/default/events", &token).await);
    }
    let admin = api.with(&run(&["token", "create", "root", "--scope", "admin"]).said());
    eventually_within(PATIENCE, "all wait", || async {
        let found = admin.get("/v1/diagnostics").with(200);
        (found["limits"]["waiters_used"] == POLLS + STREAMS).then_some(())
    })
    .await;
    let (all, subscriptions, reads) =
        eventually_within(PATIENCE, "one waits for events", || async {
            let found = clients(&site.server);
            (found.2 > 0).then_some(found)
        })
        .await;
    assert_eq!(subscriptions, subscribed + 1, "one subscription for all");
    assert_eq!(reads, 1, "one wait for events for all");
    assert!(all <= before + 8, "{before} clients before, {all} with all who wait");

    // One end, and all hear of it.
    assert_eq!(asked.post(&format!("/v1/queues/default/tasks/{task}/cancel"), "").status, 200);
    let all_answered = async {
        for mut poll in polls {
            let mut answer = String::new();
            poll.read_to_string(&mut answer).await.expect("an answer");
            assert!(
                answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"cancelled\""),
                "{answer}"
            );
        }
        for mut stream in streams {
            let mut heard = Vec::new();
            while !String::from_utf8_lossy(&heard).contains("event: cancelled") {
                let read = stream.read_buf(&mut heard).await.expect("more");
                assert!(read > 0, "{}", String::from_utf8_lossy(&heard));
            }
        }
    };
    tokio::time::timeout(PATIENCE, all_answered).await.expect("all hear of it");
}
