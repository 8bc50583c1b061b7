//! Submitting: one task, many, a stream; idempotency.

use axum::body::Body;
use bulkhead_api::v1::ApiOptions;
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::Talk;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_task_is_stored_and_its_place_told() {
    let talk = Talk::new();
    let document = r#"{"type": "mail", "payload": {"to": "a"}, "priority": "high",
        "metadata": {"k": "v"}, "expires_in": "1h", "limits": {"memory": "32 MiB"}}"#;
    let sent = talk.call("POST", "/v1/tasks", &[JSON], document.to_owned()).await;
    let location = sent.header("location").to_owned();
    let sent = sent.with(201);
    assert_eq!((&sent["answer"], &sent["accepted"]), (&json!("accepted"), &json!(true)));
    let task = talk.get(&location).await.with(200);
    assert_eq!(task["id"], sent["id"]);
    assert_eq!(task["payload"]["json"], json!({"to": "a"}));
    assert_eq!((&task["priority"], &task["metadata"]["k"]), (&json!(75), &json!("v")));
    assert_eq!(task["limits"]["memory_bytes"], 32 << 20);
    assert!(task["expires_at"].as_u64() > task["submitted_at"].as_u64());
}

#[tokio::test]
async fn what_is_wrong_with_a_task_is_said() {
    let talk = Talk::new();
    for (document, status, says) in [
        ("{", 400, "EOF"),
        (r#"{"type": "a", "payload": 1, "prioritty": 1}"#, 400, "prioritty"),
        (r#"{"payload": 1}"#, 400, "no `type`"),
        (r#"{"type": "a b", "payload": 1}"#, 400, "a b"),
        (r#"{"type": "a", "payload": 1, "delay": "soon"}"#, 400, "duration"),
        (r#"{"type": "a", "payload": 1, "unique_for": "1h"}"#, 400, "unique"),
        (
            r#"{"type": "a", "payload": 1, "delay": "2s", "expires_in": "1s"}"#,
            422,
            "expires before",
        ),
    ] {
        let detail = talk.post("/v1/tasks", document).await.problem(status);
        assert!(detail.contains(says), "{document}: {detail}");
    }
    let typed = [("content-type", "text/plain")];
    let detail = talk.call("POST", "/v1/tasks", &typed, "{}").await.problem(415);
    assert!(detail.contains("application/json"), "{detail}");
    assert!(talk.broker.queues().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_taken_unique_key_is_a_conflict_that_names_its_holder() {
    let talk = Talk::new();
    let document = |conflict: &str| {
        format!(r#"{{"type": "a", "payload": 1, "unique": "k", "on_conflict": "{conflict}"}}"#)
    };
    let first = talk.submit(&document("reject")).await;
    let detail = talk.post("/v1/tasks", document("reject")).await.problem(409);
    assert!(detail.contains(&first), "{detail}");
    let existing = talk.post("/v1/tasks", document("existing")).await.with(200);
    assert_eq!((&existing["id"], &existing["answer"]), (&json!(first), &json!("existing")));
    let replaced = talk.post("/v1/tasks", document("replace")).await.with(201);
    assert_eq!(replaced["replaced"], json!(first));
}

#[tokio::test]
async fn a_named_request_submits_once() {
    let talk = Talk::new();
    let named = [JSON, ("idempotency-key", "order 17")];
    let ask = async |document: &'static str| talk.call("POST", "/v1/tasks", &named, document).await;
    let first = ask(r#"{"type": "a", "payload": 1}"#).await.with(201);
    let again = ask(r#"{"type": "a", "payload": 1}"#).await.with(200);
    assert_eq!((&again["id"], &again["answer"]), (&first["id"], &json!("known")));
    let detail = ask(r#"{"type": "a", "payload": 2}"#).await.problem(422);
    assert!(detail.contains("Idempotency-Key"), "{detail}");
    // Another caller's key is another one.
    let other = talk.by(&[bulkhead_api::auth::Scope::Submit], None);
    let document = r#"{"type": "a", "payload": 2}"#;
    other.call("POST", "/v1/tasks", &named, document).await.with(201);
    let empty = [("idempotency-key", "")];
    talk.call("POST", "/v1/tasks", &empty, document).await.problem(400);
}

#[tokio::test]
async fn an_array_is_checked_before_any_of_it_is_stored() {
    let talk = Talk::new();
    let good = r#"{"type": "a", "payload": 1}"#;
    let body = format!(r#"{{"tasks": [{good}, {{"type": "a"}}]}}"#);
    let detail = talk.post("/v1/tasks/bulk", body).await.problem(400);
    assert!(detail.starts_with("task 2: "), "{detail}");
    assert!(talk.broker.queues().await.unwrap().is_empty());
    let body = format!(r#"{{"tasks": [{good}, {{"type": "b", "payload": "x", "queue": "q"}}]}}"#);
    let named = [("idempotency-key", "k")];
    let sent = talk.call("POST", "/v1/tasks/bulk", &named, body.clone()).await.with(200);
    assert_eq!((&sent["accepted"], &sent["refused"]), (&json!(2), &json!(0)));
    assert_eq!(sent["tasks"][1]["queue"], "q");
    let again = talk.call("POST", "/v1/tasks/bulk", &named, body).await.with(200);
    assert_eq!(again["accepted"], 0);
    assert_eq!(again["tasks"][0]["id"], sent["tasks"][0]["id"]);
}

/// A body that comes in these pieces.
fn pieces(pieces: Vec<Vec<u8>>) -> Body {
    Body::from_stream(stream::iter(pieces).map(Ok::<_, std::io::Error>))
}

fn lines(answer: &[u8]) -> Vec<Value> {
    let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

const LINES: (&str, &str) = ("content-type", "application/jsonl");

#[tokio::test]
async fn a_stream_of_lines_is_stored_however_it_is_cut() {
    let talk = Talk::new();
    let text: String = (0..1_203)
        .map(|at| format!("{{\"type\": \"a\", \"payload\": {at}}}\n{}", ["", "\n"][at % 2]))
        .collect();
    let cut = text.as_bytes().chunks(977).map(<[u8]>::to_vec).collect();
    let answer = talk.call("POST", "/v1/tasks/bulk", &[LINES], pieces(cut)).await;
    assert_eq!(answer.header("content-type"), "application/jsonl");
    assert_eq!(answer.status, 200);
    let answers = lines(&answer.body);
    assert_eq!(answers.len(), 1_203);
    assert!(answers.iter().all(|answer| answer["accepted"] == json!(true)));
    assert_eq!(talk.broker.stats(&Default::default()).await.unwrap().pending, 1_203);
}

#[tokio::test]
async fn a_bad_line_ends_the_stream_with_its_problem() {
    let talk = Talk::with(ApiOptions { body_bytes: 1_000, ..ApiOptions::default() });
    let good = "{\"type\": \"a\", \"payload\": 1}\n";
    for (bad, says) in [("{\"type\": 1}\n", "line 3: "), (&*"x".repeat(1_100), "over 1000 bytes")] {
        let body = format!("{good}{good}{bad}{good}");
        let answer = talk.call("POST", "/v1/tasks/bulk", &[LINES], body).await;
        let answers = lines(&answer.body);
        assert_eq!(answers.len(), 3, "{answers:?}");
        assert!(answers[1]["accepted"].as_bool().unwrap());
        assert!(answers[2]["detail"].as_str().unwrap().contains(says), "{answers:?}");
    }
    assert_eq!(talk.broker.stats(&Default::default()).await.unwrap().pending, 4);
}

#[tokio::test]
async fn bodies_are_bounded_packed_or_not() {
    let talk = Talk::with(ApiOptions { body_bytes: 1_000, ..ApiOptions::default() });
    let long = format!(r#"{{"type": "a", "payload": "{}"}}"#, "x".repeat(2_000));
    talk.post("/v1/tasks", long.clone()).await.problem(413);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, long.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 200);
    let gzip = [JSON, ("content-encoding", "gzip")];
    talk.call("POST", "/v1/tasks", &gzip, packed).await.problem(413);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packed, br#"{"type": "a", "payload": 1}"#).unwrap();
    talk.call("POST", "/v1/tasks", &gzip, packed.finish().unwrap()).await.with(201);
}

#[tokio::test]
async fn the_trace_of_a_request_goes_with_its_task() {
    let talk = Talk::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (given, kept) in [(parent, Some(parent)), ("00-0af7-b7ad-01", None), ("nonsense", None)] {
        let headers = [("traceparent", given), ("tracestate", "a=b")];
        let body = r#"{"type": "a", "payload": 1}"#;
        let sent = talk.call("POST", "/v1/tasks", &headers, body).await.with(201);
        let id = sent["id"].as_str().unwrap().parse().unwrap();
        let view = talk.broker.inspect(&Default::default(), &[id]).await.unwrap().remove(0);
        let trace = view.unwrap().task.unwrap().trace;
        assert_eq!(trace.map(|trace| trace.traceparent), kept.map(str::to_owned));
    }
}
