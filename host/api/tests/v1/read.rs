//! Looking: tasks, lists, waits, downloads, queues, events.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bulkhead_api::v1::ApiOptions;
use bulkhead_core::{FailureKind, Payload, QueuePolicy};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use crate::{Talk, ids, soon};

#[tokio::test]
async fn a_task_is_shown_with_its_history() {
    let talk = Talk::new();
    let done = talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    talk.complete("a", Payload::new(Payload::JSON, r#"{"sum": 3}"#)).await;
    let task = talk.get(&format!("/v1/queues/default/tasks/{done}")).await.with(200);
    assert_eq!((&task["state"], &task["output"]["json"]["sum"]), (&json!("completed"), &json!(3)));
    let attempt = &task["history"][0];
    assert_eq!((&attempt["event"], &attempt["outcome"]), (&json!("ended"), &json!("done")));
    assert_eq!(attempt["metering"]["fuel"], 7);
    let unknown = "018f0000-0000-7000-8000-000000000001";
    for path in [
        format!("/v1/queues/default/tasks/{unknown}"),
        format!("/v1/queues/other/tasks/{done}"),
        "/v1/queues/default/tasks/17".into(),
        "/v1/queues/a%20b".into(),
        "/v1/queues/other".into(),
        "/v1/nothing".into(),
    ] {
        talk.get(&path).await.problem(404);
    }
    talk.call("DELETE", "/v1/queues", &[], Body::empty()).await.problem(405);
}

#[tokio::test]
async fn lists_are_cut_into_parts_over_queues_and_states() {
    let talk = Talk::new();
    let mut sent = Vec::new();
    for at in 0..7 {
        let queue = ["default", "other"][at % 2];
        let document = format!(r#"{{"type": "a", "payload": {at}, "queue": "{queue}"}}"#);
        sent.push(talk.submit(&document).await);
    }
    sent.push(talk.submit(r#"{"type": "b", "payload": 1, "delay": "1h"}"#).await);
    for limit in [1, 3, 8, 100] {
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = talk.get(&format!("/v1/tasks?limit={limit}{cursor}")).await.with(200);
            let part = ids(&page);
            assert!(part.len() <= limit);
            listed.extend(part);
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        listed.sort();
        let mut all = sent.clone();
        all.sort();
        assert_eq!(listed, all, "by {limit}");
    }
    for (query, count) in [
        ("state=pending", 7),
        ("state=pending,scheduled", 8),
        ("state=scheduled&type=b", 1),
        ("queue=other", 3),
        ("queue=nowhere", 0),
        ("tenant=acme", 0),
        ("contains=6", 1),
        ("submitted_before=2020-01-01T00:00:00Z", 0),
    ] {
        let page = talk.get(&format!("/v1/tasks?{query}")).await.with(200);
        assert_eq!(ids(&page).len(), count, "{query}");
    }
    for query in ["limit=0", "limit=1001", "limit=x", "state=lost", "cursor=x", "type=a%20b"] {
        talk.get(&format!("/v1/tasks?{query}")).await.problem(400);
    }
}

#[tokio::test]
async fn a_list_says_how_each_task_stands() {
    let talk = Talk::new();
    talk.submit(r#"{"type": "a", "payload": 1, "tenant": "acme", "priority": 7}"#).await;
    talk.fail("a", FailureKind::Trapped, &"é".repeat(600)).await;
    let page = talk.get("/v1/tasks?failure=trapped").await.with(200);
    let task = &page["tasks"][0];
    assert_eq!((&task["tenant"], &task["priority"]), (&json!("acme"), &json!(7)));
    assert_eq!((&task["state"], &task["wall_us"]), (&json!("failed"), &json!(1_500)));
    assert_eq!(task["failure"]["kind"], "trapped");
    assert_eq!(task["failure"]["message"].as_str().unwrap().chars().count(), 500);
    assert!(task.get("payload").is_none() && task.get("history").is_none());
}

#[tokio::test]
async fn a_wait_ends_with_the_task_or_with_patience() {
    let talk = Talk::new();
    let id = talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    let path = format!("/v1/queues/default/tasks/{id}/wait");
    let task = talk.get(&format!("{path}?timeout=50ms")).await.with(202);
    assert_eq!(task["state"], "pending");
    let waited = async { talk.get(&format!("{path}?timeout=20s")).await.with(200) };
    let ends = talk.complete("a", Payload::new(Payload::TEXT, "out"));
    let (task, ()) = soon(async { tokio::join!(waited, ends) }).await;
    assert_eq!(task["output"]["text"], "out");
    let task = talk.get(&path).await.with(200);
    assert_eq!(task["state"], "completed");
    talk.get(&format!("{path}?timeout=soon")).await.problem(400);
}

#[tokio::test]
async fn waits_are_bounded_in_number_and_time() {
    let options = ApiOptions {
        waiters: 1,
        longest_wait: Duration::from_millis(300),
        ..ApiOptions::default()
    };
    let talk = Talk::with(options);
    let id = talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    let path = format!("/v1/queues/default/tasks/{id}/wait?timeout=1h");
    let (one, other) = soon(async { tokio::join!(talk.get(&path), talk.get(&path)) }).await;
    one.with(202);
    assert_eq!(other.header("retry-after"), "1");
    other.problem(429);
    talk.get(&path).await.with(202);
}

#[tokio::test]
async fn inputs_and_outputs_are_downloaded_and_never_shown() {
    let talk = Talk::new();
    let id = talk.submit(r#"{"type": "a", "payload_base64": "/wD+", "content_type": "image/png"}"#);
    let path = format!("/v1/queues/default/tasks/{}", id.await);
    let input = talk.get(&format!("{path}/payload")).await;
    assert_eq!((input.header("content-type"), &*input.body), ("image/png", &[255, 0, 254][..]));
    let detail = talk.get(&format!("{path}/result")).await.problem(409);
    assert!(detail.contains("pending"), "{detail}");
    let hostile = "<script>alert(1)</script>";
    talk.complete("a", Payload::new("text/html; charset=utf-8", hostile)).await;
    let output = talk.get(&format!("{path}/result")).await;
    assert_eq!(output.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(output.body, hostile.as_bytes());
    assert!(output.header("content-disposition").starts_with("attachment"));
    assert_eq!(output.header("x-content-type-options"), "nosniff");
    assert!(output.header("content-security-policy").contains("sandbox"));
}

#[tokio::test]
async fn a_media_type_that_is_none_is_not_passed_on() {
    let talk = Talk::new();
    let id = talk.submit(r#"{"type": "a", "payload": "x"}"#).await;
    talk.complete("a", Payload::new("text/html\r\nset-cookie: a=b", "x")).await;
    let output = talk.get(&format!("/v1/queues/default/tasks/{id}/result")).await;
    assert_eq!(output.header("content-type"), Payload::BINARY);
    assert!(output.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn what_is_known_is_not_sent_again() {
    let talk = Talk::new();
    talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    let first = talk.get("/v1/queues").await;
    let tag = first.header("etag").to_owned();
    assert_eq!(first.with(200)["queues"][0]["pending"], 1);
    let again = talk.call("GET", "/v1/queues", &[("if-none-match", &tag)], Body::empty()).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), tag);
    talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    let changed = talk.call("GET", "/v1/queues", &[("if-none-match", &tag)], Body::empty()).await;
    assert_ne!(changed.header("etag"), tag);
    changed.with(200);
}

#[tokio::test]
async fn answers_are_packed_for_who_can_unpack() {
    let talk = Talk::new();
    for _ in 0..20 {
        talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    }
    let plain = talk.get("/v1/tasks").await;
    for encoding in ["gzip", "zstd"] {
        let accept = [("accept-encoding", encoding)];
        let packed = talk.call("GET", "/v1/tasks", &accept, Body::empty()).await;
        assert_eq!(packed.header("content-encoding"), encoding);
        assert!(packed.body.len() < plain.body.len() / 2);
    }
}

#[tokio::test]
async fn events_are_followed_and_gone_on_with() {
    let talk = Talk::new();
    let policy = QueuePolicy { events: Some(1_000), ..QueuePolicy::default() };
    talk.broker.set_policy(&Default::default(), &policy).await.unwrap();
    let old = talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    let mut live = follow(&talk, "/v1/events", None).await;
    let news = talk.submit(r#"{"type": "b", "payload": 1}"#).await;
    let (id, event) = soon(live.next()).await;
    assert_eq!((&event["task"], &event["kind"]), (&json!(news), &json!("submitted")));
    // Whoever comes back hears what came meanwhile, and nothing twice.
    drop(live);
    talk.complete("a", Payload::new(Payload::TEXT, "")).await;
    let mut back = follow(&talk, "/v1/queues/default/events", Some(&id)).await;
    let kinds = [soon(back.next()).await.1, soon(back.next()).await.1];
    assert_eq!((&kinds[0]["kind"], &kinds[0]["task"]), (&json!("started"), &json!(old)));
    assert_eq!(kinds[1]["kind"], "completed");
    let mut past = follow(&talk, "/v1/events?past=true&kinds=completed", None).await;
    assert_eq!(soon(past.next()).await.1["task"], json!(old));
    talk.get("/v1/events?kinds=lost").await.problem(400);
    let odd = [("last-event-id", "odd")];
    talk.call("GET", "/v1/events", &odd, Body::empty()).await.problem(400);
}

#[tokio::test]
async fn an_id_of_the_far_future_silences_nobody_else() {
    let talk = Talk::new();
    let policy = QueuePolicy { events: Some(1_000), ..QueuePolicy::default() };
    talk.broker.set_policy(&Default::default(), &policy).await.unwrap();
    // It says that `default` was told up to 18446744073709551615-0.
    let far = "kZKnZGVmYXVsdLYxODQ0Njc0NDA3MzcwOTU1MTYxNS0w";
    let _first = follow(&talk, "/v1/queues/default/events", Some(far)).await;
    let mut second = follow(&talk, "/v1/queues/default/events", None).await;
    // What each stream finds when it begins needs no waking; what comes after that does.
    for _ in 0..3 {
        let news = talk.submit(r#"{"type": "a", "payload": 1}"#).await;
        assert_eq!(soon(second.next()).await.1["task"], json!(news));
    }
}

/// A stream of events being read.
struct Live {
    body: Body,
    text: String,
}

async fn follow(talk: &Talk, path: &str, last: Option<&str>) -> Live {
    let mut request = Request::get(path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(talk.caller.clone());
    let response = talk.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Live { body: response.into_body(), text: String::new() }
}

impl Live {
    /// The next event's id and document.
    async fn next(&mut self) -> (String, serde_json::Value) {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    message.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let parts = line("id: ").zip(line("data: "));
                self.text = rest.to_owned();
                if let Some((id, data)) = parts {
                    return (id, serde_json::from_str(&data).unwrap());
                }
                continue;
            }
            let frame = self.body.frame().await.unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let talk = Talk::new();
    let document = talk.get("/v1/openapi.json").await.with(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 30, "{}", paths.len());
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{what}");
            assert!(operation["operationId"].is_string(), "{what}");
            assert!(operation["responses"]["401"].is_object(), "{what}");
        }
    }
    let mut ids: Vec<&str> = paths
        .values()
        .flat_map(|methods| methods.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "two operations of one id");
}
