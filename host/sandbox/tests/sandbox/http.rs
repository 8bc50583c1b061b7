//! Requests of handlers: what the rules allow reaches a real server, and nothing else does.

use std::sync::Arc;

use bulkhead_core::outbound::{AllowList, Reach};
use bulkhead_core::{FailureKind, TenantName};
use bulkhead_sandbox::{
    Attempt, AttemptEnd, CapabilitySet, Grants, HttpGrant, Outbound, Plugin, Sandbox,
    SandboxConfig, Services,
};
use tokio::sync::OnceCell;

use crate::rig::{asking, attempt, done, failed, task};
use crate::web::{Identity, Names, Server, header};

static SENDING: OnceCell<Sandbox> = OnceCell::const_new();

async fn sandbox() -> &'static Sandbox {
    let offers = CapabilitySet { http: true, ..CapabilitySet::default() };
    let config = SandboxConfig { offers, ..SandboxConfig::default() };
    SENDING.get_or_init(async || Sandbox::new(config).unwrap()).await
}

pub(crate) fn tenant() -> TenantName {
    task("fetch", "").tenant
}

pub(crate) fn rules(rules: &[&str]) -> AllowList {
    AllowList::new(rules.iter().map(|rule| rule.parse().unwrap()).collect())
}

/// Every path of every server of this machine.
pub(crate) fn local() -> HttpGrant {
    HttpGrant {
        allow: rules(&["http://127.0.0.1:*/"]),
        reach: Reach { private: true, metadata: false },
        ..HttpGrant::default()
    }
}

pub(crate) async fn fetcher(http: HttpGrant) -> Plugin {
    let grants = Grants { http: Some(http), ..Grants::default() };
    sandbox().await.load(asking("fetcher", grants)).await.unwrap()
}

/// What an attempt sends by.
pub(crate) fn by(outbound: &Arc<Outbound>) -> Services {
    Services { http: Some(outbound.access("fetcher", &tenant())), ..Services::default() }
}

pub(crate) async fn fetch(
    plugin: &Plugin,
    outbound: &Arc<Outbound>,
    commands: &[&str],
) -> AttemptEnd {
    let task = task("fetch", &commands.join("\n"));
    plugin.attempt(Attempt { services: by(outbound), ..attempt(&task) }).await.unwrap()
}

pub(crate) async fn answers(
    plugin: &Plugin,
    outbound: &Arc<Outbound>,
    commands: &[&str],
) -> Vec<String> {
    let end = fetch(plugin, outbound, commands).await;
    done(&end).lines().map(str::to_owned).collect()
}

/// The one answer to one command.
pub(crate) async fn only(plugin: &Plugin, outbound: &Arc<Outbound>, command: &str) -> String {
    answers(plugin, outbound, &[command]).await.concat()
}

#[tokio::test]
async fn an_allowed_request_has_its_bodies_both_ways() {
    let server = Server::start().await;
    let (plugin, outbound) = (fetcher(local()).await, Outbound::new());
    let url = server.url("echo/a?b=c");
    let commands = [
        format!("get {url}"),
        format!("post {url} 100000"),
        format!("declared {url} 70000 70000"),
        format!("size {}", server.url("bytes/300000")),
    ];
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let end = fetch(&plugin, &outbound, &commands).await;
    let seen: Vec<&str> = done(&end).lines().collect();
    assert_eq!(seen[0], "200 0 after GET /echo/a?b=c HTTP/1.1");
    assert!(seen[1].ends_with(" after POST /echo/a?b=c HTTP/1.1"), "{}", seen[1]);
    assert_eq!(seen[2], "200 70000 after POST /echo/a?b=c HTTP/1.1");
    assert_eq!(seen[3], "200 300000 bytes");
    let metering = end.metering;
    assert_eq!(metering.host_calls, 4);
    assert!((170_000..171_000).contains(&metering.bytes_out), "{metering:?}");
    assert!((300_000..301_000).contains(&metering.bytes_in), "{metering:?}");
}

#[tokio::test]
async fn a_request_is_framed_by_the_host() {
    let server = Server::start().await;
    let (plugin, outbound) = (fetcher(local()).await, Outbound::new());
    let url = server.url("echo/x");
    let seen = answers(
        &plugin,
        &outbound,
        &[
            &format!("declared {url} 5 5"),
            &format!("post {url} 5"),
            &format!("declared {url} 5,5 5"),
            &format!("declared {url} 5,50 5"),
        ],
    )
    .await;
    assert!(seen[0].starts_with("200 5 after") && seen[1].starts_with("200 "), "{seen:?}");
    assert!(seen[2].contains("InvalidSyntax") && seen[3].contains("InvalidSyntax"), "{seen:?}");
    let heard = server.heard();
    assert_eq!(heard.len(), 2, "{heard:?}");
    for (head, _) in &heard {
        assert_eq!(header(head, "host"), Some(format!("127.0.0.1:{}", server.port).as_str()));
        assert_eq!(header(head, "connection"), Some("close"));
    }
    assert_eq!(header(&heard[0].0, "content-length"), Some("5"));
    assert_eq!(header(&heard[0].0, "transfer-encoding"), None);
    assert_eq!(header(&heard[1].0, "content-length"), None);
    assert_eq!(header(&heard[1].0, "transfer-encoding"), Some("chunked"));
}

#[tokio::test]
async fn each_part_of_a_rule_is_held() {
    let server = Server::start().await;
    let port = server.port;
    let rule = format!("GET,POST http://127.0.0.1:{port}/echo/");
    let grant = HttpGrant { allow: rules(&[&rule]), ..local() };
    let (plugin, outbound) = (fetcher(grant).await, Outbound::new());
    let url = server.url("echo/x");
    assert!(only(&plugin, &outbound, &format!("get {url}")).await.starts_with("200"));
    for refused in [
        format!("method DELETE {url}"),
        format!("method get {url}"),
        format!("method CONNECT {url}"),
        format!("get https://127.0.0.1:{port}/echo/x"),
        format!("get http://localhost:{port}/echo/x"),
        format!("get http://127.0.0.1:{}/echo/x", port ^ 1),
        "get http://127.0.0.1/echo/x".to_owned(),
        format!("get http://127.0.0.1:{port}/bytes/5"),
        format!("get http://127.0.0.1:{port}/echox"),
        format!("get http://127.0.0.1:{port}/"),
        format!("get http://127.0.0.1:{port}/echo/../bytes/5"),
        format!("get http://127.0.0.1:{port}/echo/%2e%2e/bytes/5"),
        format!("get http://127.0.0.1:{port}/echo/..%2fbytes/5"),
        format!("get http://127.0.0.1:{port}/echo/%252e%252e/bytes/5"),
        format!("get http://u@127.0.0.1:{port}/echo/x"),
        format!("get http://127.1:{port}/echo/x"),
        format!("get http://2130706433:{port}/echo/x"),
        format!("get http://0x7f000001:{port}/echo/x"),
    ] {
        let seen = only(&plugin, &outbound, &refused).await;
        assert!(seen.contains("HttpRequestDenied"), "{refused}: {seen}");
    }
    assert_eq!(server.heard().len(), 1, "nothing of them was sent");
    let every = HttpGrant { allow: rules(&["http://127.0.0.1:*/"]), ..local() };
    let every = fetcher(every).await;
    let tunnel = only(&every, &outbound, &format!("method CONNECT {url}")).await;
    assert!(tunnel.contains("HttpRequestDenied"), "no rule allows a tunnel: {tunnel}");
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused() {
    let server = Server::start().await;
    let port = server.port;
    let literal = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]"];
    let rule = |host: &str| format!("http://{host}:*/");
    let mut all: Vec<String> = literal.iter().map(|host| rule(host)).collect();
    all.push(rule("internal.example"));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let grant = HttpGrant { allow: rules(&all), ..HttpGrant::default() };
    let plugin = fetcher(grant.clone()).await;
    for host in literal {
        let command = format!("get http://{host}:{port}/echo/x");
        let seen = only(&plugin, &Outbound::new(), &command).await;
        assert!(seen.contains("DestinationIpProhibited"), "{host}: {seen}");
    }
    for address in [
        "127.0.0.1",
        "192.168.1.1",
        "169.254.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ] {
        let outbound = Outbound::with_resolver(Names::answering(&[&[address]]));
        let command = format!("get http://internal.example:{port}/echo/x");
        let seen = only(&plugin, &outbound, &command).await;
        assert!(seen.contains("DestinationIpProhibited"), "{address}: {seen}");
    }
    // Private grants everything but metadata.
    let reach = Reach { private: true, metadata: false };
    let plugin = fetcher(HttpGrant { reach, ..grant }).await;
    for metadata in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"] {
        let outbound = Outbound::with_resolver(Names::answering(&[&[metadata]]));
        let command = format!("get http://internal.example:{port}/echo/x");
        let seen = only(&plugin, &outbound, &command).await;
        assert!(seen.contains("DestinationIpProhibited"), "{metadata}: {seen}");
    }
    assert_eq!(server.heard().len(), 0);
    let seen = only(&plugin, &Outbound::new(), &format!("get {}", server.url("echo/x"))).await;
    assert!(seen.starts_with("200"), "{seen}");
}

#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let server = Server::start().await;
    let grant = HttpGrant { allow: rules(&["http://rebound.example:*/"]), ..local() };
    let plugin = fetcher(grant).await;
    let get = format!("get http://rebound.example:{}/echo/x", server.port);
    // Good when it was asked for first, bad ever after.
    let names = Names::answering(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let outbound = Outbound::with_resolver(names.clone());
    let seen = answers(&plugin, &outbound, &[&get, &get]).await;
    assert!(seen[0].starts_with("200"), "{seen:?}");
    assert!(seen[1].contains("DestinationIpProhibited"), "{seen:?}");
    assert_eq!(names.asked(), 2, "once for each request");
    let host = format!("rebound.example:{}", server.port);
    assert_eq!(header(&server.heard()[0].0, "host"), Some(host.as_str()));
    // Good and bad at once: only the good one is dialled.
    let names = Names::answering(&[&["169.254.169.254", "127.0.0.1", "fd00:ec2::254"]]);
    let seen = only(&plugin, &Outbound::with_resolver(names), &get).await;
    assert!(seen.starts_with("200"), "{seen}");
    // A guest that is still writing hears it too.
    let names = Names::answering(&[&["169.254.169.254"]]);
    let post = get.replace("get", "post") + " 100000";
    let seen = only(&plugin, &Outbound::with_resolver(names), &post).await;
    assert!(seen.contains("DestinationIpProhibited"), "{seen}");
    for nowhere in [Names::answering(&[]), Names::answering(&[&[]])] {
        let seen = only(&plugin, &Outbound::with_resolver(nowhere), &get).await;
        assert!(seen.contains("DnsError"), "{seen}");
    }
}

#[tokio::test]
async fn a_redirect_is_a_request_like_others() {
    let server = Server::start().await;
    let grant = HttpGrant {
        allow: rules(&["http://127.0.0.1:*/", "http://169.254.169.254/", "http://inside.example/"]),
        ..local()
    };
    let plugin = fetcher(grant).await;
    let names = Names::answering(&[&["169.254.169.254"]]);
    let outbound = Outbound::with_resolver(names);
    let to = |target: &str| server.url(&format!("redirect/{target}"));
    let seen = only(&plugin, &outbound, &format!("get {}", to("http://169.254.169.254/"))).await;
    assert_eq!(seen, "302 ", "the host follows none");
    for (target, end) in [
        (server.url("echo/there"), "200 0 after GET /echo/there HTTP/1.1"),
        ("http://169.254.169.254/latest/".to_owned(), "error ErrorCode::DestinationIpProhibited"),
        ("http://inside.example/latest/".to_owned(), "error ErrorCode::DestinationIpProhibited"),
        ("http://elsewhere.example/".to_owned(), "error ErrorCode::HttpRequestDenied"),
        ("file:///etc/passwd".to_owned(), "failed"),
    ] {
        let seen = only(&plugin, &outbound, &format!("follow {}", to(&target))).await;
        assert!(seen.starts_with(end), "{target}: {seen}");
    }
}

#[tokio::test]
async fn headers_that_belong_to_the_connection_are_the_hosts() {
    let server = Server::start().await;
    let (plugin, outbound) = (fetcher(local()).await, Outbound::new());
    let url = server.url("echo/x");
    for name in [
        "host",
        "connection",
        "transfer-encoding",
        "upgrade",
        "proxy-authorization",
        "proxy-connection",
        "proxy-anything",
        "keep-alive",
        "te",
        "trailer",
    ] {
        let seen = only(&plugin, &outbound, &format!("header {url} {name} 3")).await;
        assert!(seen.contains("orbidden"), "{name}: {seen}");
    }
    assert!(server.heard().is_empty());
    let seen = only(&plugin, &outbound, &format!("header {url} authorization 3")).await;
    assert!(seen.starts_with("200"), "{seen}");
    assert_eq!(header(&server.heard()[0].0, "authorization"), Some("vvv"));
}

#[tokio::test]
async fn tls_is_held_to_the_name_and_the_authority() {
    let identity = Identity::of("secure.example");
    let server = Server::secure(&identity).await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &identity.authority).unwrap();
    let grant = HttpGrant {
        allow: rules(&["https://secure.example:*/", "https://wrong.example:*/"]),
        ca_file: Some(ca_file.clone()),
        ..local()
    };
    let outbound = Outbound::with_resolver(Names::answering(&[&["127.0.0.1"]]));
    let url = |host: &str| format!("get https://{host}:{}/echo/x", server.port);
    let plugin = fetcher(grant.clone()).await;
    let seen = answers(&plugin, &outbound, &[&url("secure.example"), &url("wrong.example")]).await;
    assert_eq!(seen[0], "200 0 after GET /echo/x HTTP/1.1");
    assert!(seen[1].contains("TlsCertificateError"), "{seen:?}");
    // The system trusts nobody of this test.
    let plain = fetcher(HttpGrant { ca_file: None, ..grant }).await;
    let seen = only(&plain, &outbound, &url("secure.example")).await;
    assert!(seen.contains("TlsCertificateError") || seen.contains("ConfigurationError"), "{seen}");
    // Another authority in the same file counts from the next request on.
    std::fs::write(&ca_file, Identity::of("secure.example").authority).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    std::fs::File::options().write(true).open(&ca_file).unwrap().set_modified(later).unwrap();
    let seen = only(&plugin, &outbound, &url("secure.example")).await;
    assert!(seen.contains("TlsCertificateError"), "{seen}");
    std::fs::write(&ca_file, "no certificate").unwrap();
    let seen = only(&plugin, &outbound, &url("secure.example")).await;
    assert!(seen.contains("ConfigurationError"), "{seen}");
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn without_anything_behind_it_nothing_is_sent() {
    let server = Server::start().await;
    let plugin = fetcher(local()).await;
    let payload = format!("get {}", server.url("echo/x"));
    let task = task("fetch", &payload);
    let end = plugin.attempt(attempt(&task)).await.unwrap();
    assert!(done(&end).contains("HttpRequestDenied"), "{end:?}");
    let end = fetch(&plugin, &Outbound::new(), &["trap"]).await;
    failed(&end, FailureKind::Trapped);
    assert!(server.heard().is_empty());
}
