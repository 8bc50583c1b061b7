//! The API as a scope of an actix-web application, asked over real connections.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use bulkhead_api::auth::{Anonymous, Guard, GuardOptions, NewToken, Scope, Tokens};
use bulkhead_api::v1::{Api, ApiOptions};
use bulkhead_core::{QueueName, QueuePolicy};
use bulkhead_queue::{Broker, EmbeddedBroker, SubmitLimits};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BODY_BYTES: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// An application that serves, and a token for it.
struct Site {
    broker: Arc<dyn Broker>,
    address: String,
    token: String,
}

impl Site {
    async fn new() -> Self {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
        let options = ApiOptions { body_bytes: BODY_BYTES, ..ApiOptions::default() };
        let api = Api::new(broker.clone(), SubmitLimits::default(), options);
        let anonymous = Anonymous::OnLoopback(vec![Scope::Read]);
        let options = GuardOptions { anonymous, ..GuardOptions::default() };
        let jobs = bulkhead_api::router(api, Guard::new(broker.clone(), options));
        let server = HttpServer::new(move || {
            App::new()
                .route("/", web::get().to(async || "an application of its own\n"))
                .service(bulkhead_api::actix::scope("/jobs", jobs.clone()))
        })
        .workers(2)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let address = server.addrs()[0].to_string();
        actix_web::rt::spawn(server.run());
        let scopes = vec![Scope::Admin];
        let new = NewToken { name: "t".into(), scopes, tenant: None, ttl_ms: None };
        let now = 1_700_000_000_000;
        let (_, token) = Tokens::new(broker.clone()).create(new, "me", now).await.unwrap();
        Self { broker, address, token: token.to_string() }
    }

    /// Send the head of a request; the body is the caller's to send.
    async fn begin(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let token = &self.token;
        let head = format!(
            "{head}\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// Status, head and body of an answer, taken out of its pieces.
    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, String, String) {
        let mut stream = self.begin(&format!("{method} {path} HTTP/1.1")).await;
        let head = format!("content-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        // Who is refused may not be read to the end.
        let _ = stream.write_all(body).await;
        answer(&mut stream).await
    }
}

async fn answer(stream: &mut TcpStream) -> (u16, String, String) {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, rest) = text.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = String::new();
    let mut rest = rest;
    while head.contains("transfer-encoding: chunked") {
        let (length, more) = rest.split_once("\r\n").unwrap();
        match usize::from_str_radix(length, 16).unwrap() {
            0 => break,
            length => {
                body.push_str(&more[..length]);
                rest = &more[length + 2..];
            }
        }
    }
    let body = if head.contains("transfer-encoding: chunked") { body } else { rest.to_owned() };
    (status, head, body)
}

#[actix_web::test]
async fn an_application_has_the_api_as_a_scope() {
    let site = Site::new().await;
    assert_eq!(site.ask("GET", "/", b"").await.2, "an application of its own\n");
    assert_eq!(site.ask("GET", "/v1/queues", b"").await.0, 404);
    let task = br#"{"type": "echo", "payload": {"a": 1}}"#;
    let (status, head, sent) = site.ask("POST", "/jobs/v1/tasks", task).await;
    assert_eq!(status, 201, "{sent}");
    let at = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    assert!(at.starts_with("/jobs/v1/queues/default/tasks/"), "{at}");
    let (status, head, found) = site.ask("GET", at, b"").await;
    assert_eq!(status, 200, "{found}");
    assert!(head.contains("etag: w/\""), "{head}");
    let listed = site.ask("GET", "/jobs/v1/tasks?type=echo&limit=1", b"").await.2;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 1, "the query goes along");
    let (status, head, problem) = site.ask("GET", "/jobs/v1/nothing", b"").await;
    assert_eq!(status, 404, "{problem}");
    assert!(head.contains("application/problem+json"), "{head}");
    let (_, _, document) = site.ask("GET", "/jobs/v1/openapi.json", b"").await;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["servers"][0]["url"], "/jobs");
    assert_eq!(site.ask("GET", "/jobs/dashboard/", b"").await.0, 200);

    // The address goes along: who shows no token is known by it.
    let mut stream = TcpStream::connect(&site.address).await.unwrap();
    let head = "GET /jobs/v1/whoami HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (status, _, who) = answer(&mut stream).await;
    assert_eq!((status, who.contains("anonymous on loopback")), (200, true), "{who}");
}

#[actix_web::test]
async fn bodies_are_bounded_by_the_router() {
    let site = Site::new().await;
    let large = format!(r#"{{"type": "echo", "payload": "{}"}}"#, "x".repeat(BODY_BYTES));
    let (status, _, problem) = site.ask("POST", "/jobs/v1/tasks", large.as_bytes()).await;
    assert_eq!(status, 413, "{problem}");
    // More than actix-web takes by itself, and less than the router does.
    let fits = format!(r#"{{"type": "echo", "payload": "{}"}}"#, "x".repeat(BODY_BYTES / 2));
    assert_eq!(site.ask("POST", "/jobs/v1/tasks", fits.as_bytes()).await.0, 201);
}

#[actix_web::test]
async fn streams_go_both_ways_as_they_come() {
    let site = Site::new().await;
    // JSON Lines are stored while more come.
    let mut stream = site.begin("POST /jobs/v1/tasks/bulk HTTP/1.1").await;
    let head = "content-type: application/jsonl\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let line = "{\"type\": \"echo\", \"payload\": 1}\n";
    let piece = |lines: usize| format!("{:x}\r\n{}\r\n", line.len() * lines, line.repeat(lines));
    stream.write_all(piece(3_000).as_bytes()).await.unwrap();
    let queue = QueueName::default();
    let stored = async {
        loop {
            let known = site.broker.queues().await.unwrap().contains(&queue);
            if known && site.broker.stats(&queue).await.unwrap().pending > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stored)
        .await
        .expect("the first are stored before the last come");
    stream.write_all(format!("{}0\r\n\r\n", piece(1)).as_bytes()).await.unwrap();
    let (status, _, answers) = answer(&mut stream).await;
    assert_eq!((status, answers.lines().count()), (200, 3_001));

    // Events come as they happen.
    let policy = QueuePolicy { events: Some(100), ..site.broker.policy(&queue).await.unwrap() };
    site.broker.set_policy(&queue, &policy).await.unwrap();
    let mut stream = site.begin("GET /jobs/v1/queues/default/events HTTP/1.1").await;
    stream.write_all(b"\r\n").await.unwrap();
    let mut heard = Vec::new();
    let hear = async |stream: &mut TcpStream, heard: &mut Vec<u8>, what: &str| {
        let hearing = async {
            while !String::from_utf8_lossy(heard).contains(what) {
                assert!(stream.read_buf(heard).await.unwrap() > 0, "it ended");
            }
        };
        tokio::time::timeout(PATIENCE, hearing).await.expect("it is heard");
    };
    hear(&mut stream, &mut heard, "text/event-stream").await;
    site.ask("POST", "/jobs/v1/tasks", line.as_bytes()).await;
    hear(&mut stream, &mut heard, "event: submitted").await;
}
