//! Each bound on requests, kept and passed, and connections that end with their attempt.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_core::outbound::Reach;
use bulkhead_core::{FailureKind, Limits};
use bulkhead_sandbox::{Attempt, Cancel, HttpGrant, Outbound};

use crate::http::{answers, by, fetch, fetcher, local, only, rules, tenant};
use crate::rig::{attempt, done, failed, task};
use crate::web::{Identity, Mute, Server, eventually};

const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn requests_of_an_attempt() {
    let server = Server::start().await;
    let (plugin, outbound) = (fetcher(HttpGrant { requests: 3, ..local() }).await, Outbound::new());
    let get = format!("get {}", server.url("echo/x"));
    let denied = "get http://elsewhere.example/";
    let seen = answers(&plugin, &outbound, &[&get, denied, &get, &get, &get]).await;
    assert!(seen[0].starts_with("200") && seen[2].starts_with("200"), "{seen:?}");
    assert!(seen[1].contains("HttpRequestDenied"), "what is refused counts: {seen:?}");
    assert!(seen[3].contains("ConnectionLimitReached"), "{seen:?}");
    assert!(seen[4].contains("ConnectionLimitReached"), "{seen:?}");
    let seen = answers(&plugin, &outbound, &[&get, &get, &get]).await;
    assert!(seen.iter().all(|answer| answer.starts_with("200")), "its own: {seen:?}");
}

#[tokio::test]
async fn request_bodies() {
    let server = Server::start().await;
    let grant = HttpGrant { request_body_bytes: 50_000, ..local() };
    let (plugin, outbound) = (fetcher(grant).await, Outbound::new());
    let url = server.url("echo/x");
    let seen = answers(
        &plugin,
        &outbound,
        &[
            &format!("post {url} 50000"),
            &format!("declared {url} 50000 50000"),
            &format!("declared {url} 50001 50001"),
            &format!("post {url} 90000"),
        ],
    )
    .await;
    assert!(seen[0].starts_with("200") && seen[1].starts_with("200 50000"), "{seen:?}");
    assert!(seen[2].contains("HttpRequestBodySize(Some(50001))"), "{seen:?}");
    assert!(seen[3].contains("HttpRequestBodySize(Some(50000))"), "{seen:?}");
    let heard = server.heard();
    assert_eq!(heard.len(), 3, "what says that it is too large is not begun");
    assert!(heard[2].1 < 60_000, "{heard:?}");
    server.has_open(0).await;
}

#[tokio::test]
async fn answers_bodies() {
    let server = Server::start().await;
    let grant = HttpGrant { response_body_bytes: 50_000, ..local() };
    let (plugin, outbound) = (fetcher(grant).await, Outbound::new());
    let size = |path: &str| format!("size {}", server.url(path));
    let commands = [size("bytes/50000"), size("bytes/50001"), size("half/"), size("endless/")];
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let end = fetch(&plugin, &outbound, &commands).await;
    let seen: Vec<&str> = done(&end).lines().collect();
    assert_eq!(seen[0], "200 50000 bytes");
    assert!(seen[1].contains("HttpResponseBodySize(Some(50001))"), "{seen:?}");
    assert!(seen[2].contains("incomplete"), "{seen:?}");
    assert!(seen[3].contains("body"), "{seen:?}");
    assert!(end.metering.bytes_in < 101_000, "{:?}", end.metering);
    server.has_open(0).await;
}

#[tokio::test]
async fn headers() {
    let server = Server::start().await;
    let grant = HttpGrant { header_bytes: 8 << 10, ..local() };
    let (plugin, outbound) = (fetcher(grant).await, Outbound::new());
    let get = |path: &str| format!("get {}", server.url(path));
    let header = |bytes: u32| format!("header {} x {bytes}", server.url("echo/x"));
    for (command, what) in [
        (get("headers/8000"), "200"),
        (get("headers/8300"), "HttpResponseHeaderSectionSize"),
        (get("headers/500000"), "HttpResponseHeaderSectionSize"),
        (get("many/200"), "200"),
        (get("many/300"), "HttpResponseHeaderSectionSize"),
        (get("endless-head/"), "HttpResponseHeaderSectionSize"),
        (header(8_000), "200"),
        (header(8_300), "HttpRequestHeaderSectionSize"),
    ] {
        let seen = only(&plugin, &outbound, &command).await;
        assert!(seen.contains(what), "{command}: {seen}");
    }
    server.has_open(0).await;
    // A list that no request could have ends the attempt.
    let end = fetch(&plugin, &outbound, &[&header(17_000)]).await;
    let failure = failed(&end, FailureKind::Trapped);
    assert!(failure.message.contains("size of fields"), "{}", failure.message);
}

#[tokio::test]
async fn lists_of_headers_are_bounded_together() {
    let (plugin, outbound) = (fetcher(local()).await, Outbound::new());
    assert_eq!(only(&plugin, &outbound, "fields 30 100000").await, "held 30");
    assert_eq!(only(&plugin, &outbound, "fields 900 3000").await, "held 900");
    let end = fetch(&plugin, &outbound, &["fields 900 100000"]).await;
    failed(&end, FailureKind::Trapped);
}

#[tokio::test]
async fn servers_that_keep_a_guest_waiting() {
    let server = Server::start().await;
    let get = |path: &str| format!("get {}", server.url(path));
    let outbound = Outbound::new();
    let first = fetcher(HttpGrant { first_byte_timeout: SHORT, ..local() }).await;
    let seen = answers(&first, &outbound, &[&get("stuck/"), &get("slow-head/")]).await;
    assert!(seen.iter().all(|answer| answer.contains("ConnectionReadTimeout")), "{seen:?}");
    let between = fetcher(HttpGrant { between_bytes_timeout: SHORT, ..local() }).await;
    let seen = only(&between, &outbound, &get("drip/")).await;
    assert!(seen.contains("timeout") || seen.contains("Timeout"), "{seen}");
    // A server that accepts and never speaks TLS.
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, Identity::of("a.example").authority).unwrap();
    let grant = HttpGrant {
        allow: rules(&["https://127.0.0.1:*/"]),
        connect_timeout: SHORT,
        ca_file: Some(ca_file),
        ..local()
    };
    let secure = format!("get https://127.0.0.1:{}/", server.port);
    let seen = only(&fetcher(grant).await, &outbound, &secure).await;
    assert!(seen.contains("ConnectionTimeout"), "{seen}");
    // A name that is never found.
    let grant = HttpGrant {
        allow: rules(&["http://far.example/"]),
        connect_timeout: SHORT,
        ..HttpGrant::default()
    };
    let mute = Outbound::with_resolver(Arc::new(Mute));
    let seen = only(&fetcher(grant).await, &mute, "get http://far.example/").await;
    assert!(seen.contains("DnsTimeout"), "{seen}");
    server.has_open(0).await;
}

#[tokio::test]
async fn a_guest_may_wait_less_and_not_more() {
    let server = Server::start().await;
    let outbound = Outbound::new();
    let waits =
        |which: &str, path: &str, ms: u64| format!("waits {} {which} {ms}", server.url(path));
    let patient = fetcher(local()).await;
    let seen = only(&patient, &outbound, &waits("first", "stuck/", 100)).await;
    assert!(seen.contains("ConnectionReadTimeout"), "{seen}");
    let hasty = fetcher(HttpGrant { first_byte_timeout: SHORT, ..local() }).await;
    let seen = only(&hasty, &outbound, &waits("first", "stuck/", 3_600_000)).await;
    assert!(seen.contains("ConnectionReadTimeout"), "{seen}");
    let seen = only(&patient, &outbound, &waits("connect", "echo/x", u64::MAX / 2_000_000)).await;
    assert!(seen.starts_with("200"), "{seen}");
}

#[tokio::test]
async fn connections_of_a_tenant() {
    let server = Server::start().await;
    let plugin = fetcher(HttpGrant { connections: 2, ..local() }).await;
    let outbound = Outbound::new();
    let command = format!("get {}", server.url("gate/"));
    let commands = [command.as_str()];
    let attempts = async {
        tokio::join!(
            only(&plugin, &outbound, commands[0]),
            only(&plugin, &outbound, commands[0]),
            only(&plugin, &outbound, commands[0]),
        )
    };
    let release = async {
        server.has_open(2).await;
        assert_eq!(outbound.connections(&tenant()), 2);
        server.let_pass(3);
    };
    let ((first, second, third), ()) = tokio::join!(attempts, release);
    assert_eq!([first, second, third], ["200 passed", "200 passed", "200 passed"]);
    assert_eq!(server.most_open(), 2);
    // One attempt that holds all of them waits no longer than it may.
    let payload = format!("hold {} 3", server.url("drip/"));
    let task = task("fetch", &payload);
    let limits = Limits { wall_ms: 300, ..Limits::default() };
    let given = Attempt { services: by(&outbound), limits, ..attempt(&task) };
    let end = plugin.attempt(given).await.unwrap();
    failed(&end, FailureKind::TimedOut);
    assert_eq!((server.most_open(), end.metering.host_calls), (2, 3));
    server.has_open(0).await;
    eventually(|| outbound.connections(&tenant()) == 0).await;
}

#[tokio::test]
async fn nothing_is_left_open_however_an_attempt_ends() {
    let server = Server::start().await;
    let (plugin, outbound) = (fetcher(local()).await, Outbound::new());
    let gone = async || {
        server.has_open(0).await;
        eventually(|| outbound.connections(&tenant()) == 0).await;
    };
    let hold = format!("hold {} 5", server.url("drip/"));
    assert_eq!(only(&plugin, &outbound, &hold).await, "held 5");
    gone().await;
    let endless = format!("hold {} 5", server.url("endless/"));
    failed(&fetch(&plugin, &outbound, &[&endless, "trap"]).await, FailureKind::Trapped);
    gone().await;

    let payload = format!("get {}", server.url("stuck/"));
    let task = task("fetch", &payload);
    let cancel = Cancel::new();
    let given = Attempt { services: by(&outbound), cancel: cancel.clone(), ..attempt(&task) };
    let stop = async {
        server.has_open(1).await;
        cancel.cancel();
    };
    let (end, ()) = tokio::join!(plugin.attempt(given), stop);
    failed(&end.unwrap(), FailureKind::Cancelled);
    gone().await;

    let given = Attempt { services: by(&outbound), ..attempt(&task) };
    tokio::select! {
        end = plugin.attempt(given) => panic!("{end:?}"),
        () = server.has_open(1) => {}
    }
    gone().await;
}

#[tokio::test]
async fn another_protocol_and_a_closed_port() {
    let server = Server::start().await;
    let (plugin, outbound) = (fetcher(local()).await, Outbound::new());
    let seen = only(&plugin, &outbound, &format!("get {}", server.url("switch/"))).await;
    assert!(seen.starts_with("error"), "{seen}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let seen = only(&plugin, &outbound, &format!("get http://{closed}/")).await;
    assert!(seen.contains("ConnectionRefused"), "{seen}");
    let none = HttpGrant { reach: Reach::default(), ..local() };
    let seen = only(&fetcher(none).await, &outbound, &format!("get http://{closed}/")).await;
    assert!(seen.contains("DestinationIpProhibited"), "{seen}");
    server.has_open(0).await;
}
