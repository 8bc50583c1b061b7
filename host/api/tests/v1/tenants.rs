//! Who may what: scopes, and tokens of one tenant.

use axum::body::Body;
use axum::http::Request;
use bulkhead_api::auth::Scope;
use serde_json::json;
use tower::ServiceExt;

use crate::{Talk, ids};

#[tokio::test]
async fn without_a_caller_nothing_is_answered() {
    let talk = Talk::new();
    let request = Request::get("/v1/queues").body(Body::empty()).unwrap();
    let response = talk.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn each_scope_opens_its_own_doors() {
    let talk = Talk::new();
    let id = talk.submit(r#"{"type": "a", "payload": 1}"#).await;
    let task = format!("/v1/queues/default/tasks/{id}");
    let document = r#"{"type": "a", "payload": 1}"#;
    for (scope, read, submit, operate) in [
        (Scope::Read, 200, 403, 403),
        (Scope::Submit, 403, 201, 403),
        (Scope::Operate, 403, 403, 200),
        (Scope::Admin, 200, 201, 200),
    ] {
        let asked = talk.by(&[scope], None);
        assert_eq!(asked.get(&task).await.status.as_u16(), read, "{scope:?}");
        assert_eq!(asked.get("/v1/queues").await.status.as_u16(), read, "{scope:?}");
        assert_eq!(asked.post("/v1/tasks", document).await.status.as_u16(), submit, "{scope:?}");
        let pause = asked.post("/v1/queues/default/pause", "").await.status.as_u16();
        assert_eq!(pause, operate, "{scope:?}");
    }
    let detail = talk.by(&[Scope::Read], None).post("/v1/tasks", document).await.problem(403);
    assert!(detail.contains("`submit`"), "{detail}");
}

#[tokio::test]
async fn a_tenant_sees_and_touches_its_own() {
    let talk = Talk::new();
    let theirs = talk.submit(r#"{"type": "a", "payload": 1, "tenant": "other"}"#).await;
    let acme = talk.by(&[Scope::Read, Scope::Submit, Scope::Operate], Some("acme"));
    // What it submits is its own, and nobody else's.
    let own = acme.submit(r#"{"type": "a", "payload": 1}"#).await;
    let body = r#"{"type": "a", "payload": 1, "tenant": "other"}"#;
    acme.post("/v1/tasks", body).await.problem(403);
    assert_eq!(ids(&acme.get("/v1/tasks").await.with(200)), std::slice::from_ref(&own));
    acme.get("/v1/tasks?tenant=other").await.problem(403);
    // Another's task is not there, for whatever is asked.
    for (method, what) in [
        ("GET", ""),
        ("GET", "/payload"),
        ("GET", "/result"),
        ("GET", "/wait?timeout=1ms"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
    ] {
        let path = format!("/v1/queues/default/tasks/{theirs}{what}");
        acme.call(method, &path, &[], Body::empty()).await.problem(404);
    }
    let path = format!("/v1/queues/default/tasks/{theirs}/edit");
    acme.post(&path, r#"{"payload": 1}"#).await.problem(404);
    let many = json!({"queue": "default", "ids": [theirs, own]}).to_string();
    let done = acme.post("/v1/tasks/cancel", many).await.with(200);
    assert_eq!(done["done"], 1);
    let done = acme.post("/v1/tasks/cancel", r#"{"filter": {}}"#).await.with(200);
    assert_eq!(done["done"], 0);
    acme.post("/v1/tasks/cancel", r#"{"filter": {"tenant": "other"}}"#).await.problem(403);
    // What is everybody's is not its own.
    for (method, path) in [
        ("GET", "/v1/queues"),
        ("GET", "/v1/queues/default"),
        ("GET", "/v1/queues/default/policy"),
        ("GET", "/v1/hosts"),
        ("GET", "/v1/queues/default/batches"),
        ("POST", "/v1/queues/default/pause"),
        ("POST", "/v1/hosts/rescan"),
    ] {
        acme.call(method, path, &[], Body::empty()).await.problem(403);
    }
    acme.get("/v1/usage?tenant=other").await.problem(403);
    acme.get("/v1/usage").await.with(200);
}

#[tokio::test]
async fn schedules_are_of_their_tenants() {
    let talk = Talk::new();
    let acme = talk.by(&[Scope::Read, Scope::Operate], Some("acme"));
    let path = "/v1/queues/default/schedules/s";
    let body = r#"{"every": "5m", "task": {"type": "a", "payload": 1}}"#;
    talk.call("PUT", path, &[], body).await.with(200);
    assert_eq!(acme.get("/v1/schedules").await.with(200)["schedules"], json!([]));
    acme.get(path).await.problem(404);
    acme.call("DELETE", path, &[], Body::empty()).await.problem(404);
    // It cannot take the name over either.
    acme.call("PUT", path, &[], body).await.problem(409);
    let own = "/v1/queues/default/schedules/own";
    acme.call("PUT", own, &[], body).await.with(200);
    assert_eq!(acme.get(own).await.with(200)["task"]["tenant"], "acme");
    let foreign = r#"{"every": "5m", "task": {"type": "a", "payload": 1, "tenant": "other"}}"#;
    acme.call("PUT", own, &[], foreign).await.problem(403);
}
