//! The API nested in an application: `examples/mounted.rs` as a process, asked by HTTP.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The application, and a token for it.
struct App {
    child: Child,
    address: String,
    token: String,
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl App {
    fn start() -> Self {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().parent().unwrap().join("examples/mounted");
        assert!(program.exists(), "{} is not built; run `cargo xtask test`", program.display());
        let mut child = Command::new(program).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().unwrap().unwrap();
        let (base, token) = (line(), line());
        Self { child, address: base.trim_start_matches("http://").to_owned(), token }
    }

    /// Status, head and body of an answer.
    fn ask(&self, method: &str, path: &str, token: bool, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let token =
            if token { format!("authorization: Bearer {}\r\n", self.token) } else { String::new() };
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{token}connection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }
}

#[test]
fn an_application_has_its_own_routes_and_the_api_below_its_own() {
    let app = App::start();
    assert_eq!(app.ask("GET", "/", false, "").2, "an application of its own\n");
    assert_eq!(app.ask("GET", "/v1/queues", true, "").0, 404, "nothing of ours is at the top");
    assert_eq!(app.ask("GET", "/jobs/v1/queues", false, "").0, 401);

    let task = r#"{"type": "echo", "payload": 1}"#;
    let (status, head, sent) = app.ask("POST", "/jobs/v1/tasks", true, task);
    assert_eq!(status, 201, "{sent}");
    let at = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    assert!(at.starts_with("/jobs/v1/queues/default/tasks/"), "{at}");
    let (status, _, found) = app.ask("GET", at, true, "");
    assert_eq!((status, found.contains("\"state\":\"pending\"")), (200, true), "{found}");

    let (_, _, document) = app.ask("GET", "/jobs/v1/openapi.json", true, "");
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["servers"][0]["url"], "/jobs");
    assert!(document["paths"]["/v1/tasks"].is_object(), "paths are below the server");

    // What is only a host's is said to be nobody's here, and so are plugins.
    for path in ["/jobs/v1/alerts", "/jobs/v1/plugins", "/jobs/v1/status", "/jobs/v1/nothing"] {
        let (status, head, body) = app.ask("GET", path, true, "");
        assert_eq!(status, 404, "{path}: {body}");
        assert!(head.contains("application/problem+json"), "{path}: {head}");
    }
    let (_, _, overview) = app.ask("GET", "/jobs/v1/overview", true, "");
    assert!(overview.contains(r#""latency":{"pick_up":null,"run":null}"#), "{overview}");

    // The dashboard asks for what is beside it, so it works there too.
    let (status, head, _) = app.ask("GET", "/jobs", false, "");
    assert_eq!(status, 307);
    assert!(head.contains("location: /jobs/dashboard/"), "{head}");
    assert!(app.ask("GET", "/jobs/dashboard", false, "").1.contains("location: /jobs/dashboard/"));
    let (status, _, page) = app.ask("GET", "/jobs/dashboard/", false, "");
    assert_eq!(status, 200);
    assert!(!page.contains("\"/v1") && !page.contains("=\"/"), "nothing at the top is named");
    let (status, _, script) = app.ask("GET", "/jobs/dashboard/api.js", false, "");
    assert_eq!((status, script.contains("../v1")), (200, true));

    // Changes are in the journal as they would be at the top, submissions are not.
    assert_eq!(app.ask("POST", "/jobs/v1/queues/default/pause", true, "").0, 200);
    let (_, _, journal) = app.ask("GET", "/jobs/v1/journal", true, "");
    assert!(journal.contains("POST /v1/queues/{queue}/pause"), "{journal}");
    assert!(!journal.contains("/v1/tasks"), "{journal}");
}
