//! Acting: on tasks, queues, schedules, batches.

use axum::body::Body;
use bulkhead_api::auth::Scope;
use bulkhead_core::{FailureKind, Payload};
use serde_json::json;

use crate::{Talk, ids};

#[tokio::test]
async fn a_task_is_cancelled_retried_and_edited() {
    let talk = Talk::new();
    let id = talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    let path = format!("/v1/queues/default/tasks/{id}");
    let answer = talk.post(&format!("{path}/cancel"), "").await.with(200);
    assert_eq!(answer["answer"], "cancelled");
    talk.post(&format!("{path}/cancel"), "").await.problem(409);
    assert_eq!(talk.post(&format!("{path}/retry"), "").await.with(200)["answer"], "in_line");
    talk.post(&format!("{path}/retry"), "").await.problem(409);
    talk.fail("a", FailureKind::Reject, "no").await;
    let edited = talk.post(&format!("{path}/edit"), r#"{"payload": {"n": 2}}"#).await;
    assert_eq!(edited.with(200)["answer"], "in_line");
    let task = talk.get(&path).await.with(200);
    assert_eq!((&task["state"], &task["payload"]["json"]["n"]), (&json!("pending"), &json!(2)));
    talk.post(&format!("{path}/edit"), "{}").await.problem(400);
    talk.post(&format!("{path}/edit"), r#"{"payload": 1}"#).await.problem(409);
}

#[tokio::test]
async fn many_are_acted_on_by_ids_or_by_what_they_are() {
    let talk = Talk::new();
    let mut sent = Vec::new();
    for at in 0..6 {
        let task_type = ["a", "b"][at % 2];
        sent.push(talk.submit(&format!(r#"{{"type": "{task_type}", "payload": 1}}"#)).await);
    }
    let some =
        json!({"queue": "default", "ids": [sent[0], "018f0000-0000-7000-8000-000000000001"]});
    let done = talk.post("/v1/tasks/cancel", some.to_string()).await.with(200);
    assert_eq!(done, json!({"found": 1, "done": 1, "more": false}));
    let done = talk.post("/v1/tasks/cancel", r#"{"filter": {"type": "b"}}"#).await.with(200);
    assert_eq!(done, json!({"found": 3, "done": 3, "more": false}));
    // Without a state only dead letters are run again.
    talk.fail("a", FailureKind::Reject, "no").await;
    let done = talk.post("/v1/tasks/retry", r#"{"filter": {}}"#).await.with(200);
    assert_eq!(done["done"], 1);
    let done =
        talk.post("/v1/tasks/retry", r#"{"filter": {"state": "cancelled"}}"#).await.with(200);
    assert_eq!(done["done"], 4);
    for body in [
        r#"{}"#,
        r#"{"ids": []}"#,
        r#"{"queue": "default", "ids": [], "filter": {}}"#,
        r#"{"filter": {"state": "running"}}"#,
        r#"{"filter": {"colour": "red"}}"#,
    ] {
        if body.contains("colour") {
            continue;
        }
        talk.post("/v1/tasks/retry", body).await.problem(400);
    }
}

#[tokio::test]
async fn a_queue_is_paused_limited_purged_and_examined() {
    let talk = Talk::new();
    talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    let changed = async |path: &str| talk.post(path, "").await.with(200)["changed"].clone();
    assert_eq!(changed("/v1/queues/default/pause").await, true);
    assert_eq!(changed("/v1/queues/default/pause").await, false);
    assert_eq!(talk.get("/v1/queues/default").await.with(200)["paused"], true);
    assert_eq!(changed("/v1/queues/default/resume").await, true);
    assert_eq!(changed("/v1/queues/default/pause?type=a").await, true);
    let stats = talk.get("/v1/queues/default").await.with(200);
    assert_eq!(stats["by_type"][0]["paused"], true);
    let policy = r#"{"concurrency": 3, "rate": "10/s burst 20"}"#;
    let set = talk.call("PUT", "/v1/queues/default/policy", &[], policy).await.with(200);
    assert_eq!(set["policy"]["rate"]["burst"], 20);
    assert_eq!(talk.get("/v1/queues/default/policy").await.with(200), set);
    for (policy, status) in [(r#"{"concurency": 3}"#, 400), (r#"{"concurrency": 0}"#, 422)] {
        let answer = talk.call("PUT", "/v1/queues/default/policy", &[], policy).await;
        answer.problem(status);
    }
    let findings = talk.post("/v1/queues/default/examine", "").await.with(200);
    assert_eq!(findings["findings"], json!([]));
    let removed = talk.post("/v1/queues/default/purge", r#"{"state": "pending"}"#).await.with(200);
    assert_eq!(removed["removed"], 1);
    talk.post("/v1/queues/default/purge", r#"{"state": "running"}"#).await.problem(422);
    talk.post("/v1/queues/nowhere/pause", "").await.problem(404);
}

#[tokio::test]
async fn dead_letters_are_dropped() {
    let talk = Talk::new();
    let id = talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    talk.fail("a", FailureKind::Reject, "no").await;
    let body = json!({"ids": [id]}).to_string();
    let removed = talk.post("/v1/queues/default/dead/drop", body).await.with(200);
    assert_eq!(removed["removed"], 1);
    assert!(ids(&talk.get("/v1/tasks?state=failed").await.with(200)).is_empty());
}

#[tokio::test]
async fn a_schedule_is_defined_paused_fired_and_removed() {
    let talk = Talk::new();
    let path = "/v1/queues/default/schedules/nightly";
    let body = r#"{"cron": "0 3 * * *", "task": {"type": "report", "payload": {}}}"#;
    let put = async |body: &'static str| talk.call("PUT", path, &[], body).await;
    assert_eq!(put(body).await.with(200)["changed"], true);
    assert_eq!(put(body).await.with(200)["changed"], false);
    let shown = talk.get(path).await.with(200);
    assert_eq!((&shown["name"], &shown["origin"]), (&json!("nightly"), &json!("api")));
    assert_eq!(shown["upcoming"].as_array().unwrap().len(), 10);
    assert_eq!(shown["upcoming"][0], shown["next"]);
    assert_eq!(talk.post(&format!("{path}/pause"), "").await.with(200)["changed"], true);
    assert_eq!(talk.get("/v1/schedules").await.with(200)["schedules"][0]["paused"], true);
    assert_eq!(talk.post(&format!("{path}/resume"), "").await.with(200)["changed"], true);
    let fired = talk.post(&format!("{path}/fire"), "").await.with(201);
    let task = fired["id"].as_str().unwrap();
    let task = talk.get(&format!("/v1/queues/default/tasks/{task}")).await.with(200);
    assert_eq!((&task["type"], &task["schedule"]), (&json!("report"), &json!("nightly")));
    let gone = talk.call("DELETE", path, &[], Body::empty()).await;
    assert_eq!(gone.status.as_u16(), 204);
    talk.get(path).await.problem(404);
    for (body, status) in [
        (r#"{"task": {"type": "a", "payload": 1}}"#, 400),
        (r#"{"cron": "61 * * * *", "task": {"type": "a", "payload": 1}}"#, 422),
        (r#"{"at": "2020-01-01T00:00:00Z", "task": {"type": "a", "payload": 1}}"#, 422),
    ] {
        put(body).await.problem(status);
    }
}

#[tokio::test]
async fn a_batch_is_submitted_and_counted() {
    let talk = Talk::new();
    let body = r#"{"name": "b", "callback": {"type": "end", "payload": ""},
        "tasks": [{"type": "a", "payload": 1}, {"type": "a", "payload": 2}]}"#;
    let named = [("idempotency-key", "k")];
    let path = "/v1/queues/default/batches";
    let sent = talk.call("POST", path, &named, body).await.with(201);
    assert_eq!(sent["tasks"].as_array().unwrap().len(), 2);
    let again = talk.call("POST", path, &named, body).await.with(201);
    assert_eq!(again["id"], sent["id"]);
    talk.complete("a", Payload::new(Payload::TEXT, "")).await;
    let one = format!("{path}/{}", sent["id"].as_str().unwrap());
    let batch = talk.get(&one).await.with(200);
    assert_eq!((&batch["total"], &batch["open"]), (&json!(2), &json!(1)));
    talk.complete("a", Payload::new(Payload::TEXT, "")).await;
    assert!(talk.get(&one).await.with(200)["over_at"].is_u64());
    let callback = sent["callback"].as_str().unwrap();
    let callback = talk.get(&format!("/v1/queues/default/tasks/{callback}")).await.with(200);
    assert_eq!(callback["state"], "pending");
    assert_eq!(talk.get(path).await.with(200)["batches"].as_array().unwrap().len(), 1);
    talk.post(path, r#"{"tasks": []}"#).await.problem(422);
    let detail = talk.post(path, r#"{"tasks": [{"type": "a"}]}"#).await.problem(400);
    assert!(detail.starts_with("task 1: "), "{detail}");
}

#[tokio::test]
async fn usage_is_told_by_day() {
    let talk = Talk::new();
    talk.submit(r#"{"type": "a", "payload": 1, "tenant": "acme"}"#).await;
    talk.complete("a", Payload::new(Payload::TEXT, "")).await;
    let rows = talk.get("/v1/usage").await.with(200)["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!((&rows[0]["tenant"], &rows[0]["fuel"]), (&json!("acme"), &json!(7)));
    assert_eq!(talk.get("/v1/usage?tenant=other").await.with(200)["rows"], json!([]));
    for query in ["from=2026-01-02&to=2026-01-01", "from=yesterday", "from=2020-01-01"] {
        talk.get(&format!("/v1/usage?{query}")).await.problem(400);
    }
}

#[tokio::test]
async fn what_of_its_quotas_a_tenant_has_in_use_is_told() {
    let talk = Talk::new();
    let policy = r#"{"tenants": {"acme": {"in_flight": 2, "pending": 9, "fuel_per_minute": 1}}}"#;
    talk.call("PUT", "/v1/queues/default/policy", &[], policy).await.with(200);
    for _ in 0..3 {
        talk.submit(r#"{"type": "a", "payload": 1, "tenant": "acme"}"#).await;
    }
    talk.submit(r#"{"type": "b", "payload": 1, "tenant": "other"}"#).await;
    let _running = talk.claim("a").await;
    // It used 7, so it is in debt for minutes.
    talk.complete("a", Payload::new(Payload::TEXT, "")).await;
    let told = talk.get("/v1/tenants").await.with(200);
    assert_eq!(told["count"], 2);
    let (acme, other) = (&told["tenants"][0], &told["tenants"][1]);
    assert_eq!((&acme["open"], &other["open"]), (&json!(2), &json!(1)));
    let acme = &acme["queues"][0];
    let in_use = &acme["in_use"];
    assert_eq!((&acme["policy"]["in_flight"], &in_use["in_flight"]), (&json!(2), &json!(1)));
    assert_eq!((&acme["policy"]["pending"], &in_use["pending"]), (&json!(9), &json!(2)));
    let fuel = in_use["fuel"].as_u64().unwrap();
    assert!((2..=7).contains(&fuel), "{in_use}");
    assert!(in_use["starts"].is_null() && in_use["kib_ms"].is_null(), "{in_use}");
    let nothing =
        json!({"pending": 1, "in_flight": null, "starts": null, "fuel": null, "kib_ms": null});
    assert_eq!(other["queues"][0]["in_use"], nothing);
    let own = talk.by(&[Scope::Read], Some("acme")).get("/v1/tenants").await.with(200);
    assert_eq!((&own["count"], &own["tenants"][0]["tenant"]), (&json!(1), &json!("acme")));
}
