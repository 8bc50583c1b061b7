//! The HTTP API over a broker in memory: what each route answers, to whom.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test reports by panicking")]

mod operate;
mod read;
mod status;
mod submit;
mod tenants;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bulkhead_api::auth::{Caller, Scope};
use bulkhead_api::v1::{self, Api, ApiOptions};
use bulkhead_core::{
    AttemptReport, Digest, Failure, FailureKind, Metering, Outcome, Payload, QueueName, TaskType,
};
use bulkhead_queue::{Broker, Claim, EmbeddedBroker, End, Serves, Settlement, Step, SubmitLimits};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// An API, who asks it, and the broker behind it.
struct Talk {
    router: Router,
    broker: Arc<dyn Broker>,
    caller: Caller,
}

/// An answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The document of a request that must have come to this status.
    #[track_caller]
    fn with(self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!(self.status.as_u16(), status, "{text}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The detail of the problem that it must be.
    #[track_caller]
    fn problem(self, status: u16) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let document = self.with(status);
        assert_eq!(document["status"], status);
        assert!(document["type"].as_str().unwrap().starts_with("urn:bulkhead:problem:"));
        document["detail"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().unwrap()
    }
}

impl Talk {
    fn new() -> Self {
        Self::with(ApiOptions::default())
    }

    fn with(options: ApiOptions) -> Self {
        Self::over(options, |api| api)
    }

    /// The same, over an API that has more than a broker.
    fn over(options: ApiOptions, more: impl FnOnce(Api) -> Api) -> Self {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
        let router = v1::router(more(Api::new(broker.clone(), SubmitLimits::default(), options)));
        Self { router, broker, caller: Caller::owner() }
    }

    /// The same API, asked by somebody of a tenant or with some scopes.
    fn by(&self, scopes: &[Scope], tenant: Option<&str>) -> Self {
        let caller = Caller {
            name: "token:t1".into(),
            scopes: scopes.to_vec(),
            tenant: tenant.map(|tenant| tenant.parse().unwrap()),
        };
        Self { router: self.router.clone(), broker: self.broker.clone(), caller }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let mut request = request;
        request.extensions_mut().insert(self.caller.clone());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        self.call("POST", path, &[], body.into()).await
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Submit a task and return its id.
    async fn submit(&self, document: &str) -> String {
        let sent = self.post("/v1/tasks", document).await.with(201);
        sent["id"].as_str().unwrap().to_owned()
    }

    async fn step(&self, settle: &[Settlement], serves: &[Serves], want: u32) -> Vec<Claim> {
        let step = Step {
            host: "h",
            settle,
            renew: &[],
            progress: &[],
            want,
            claim_bytes: 1 << 20,
            apart: false,
            serves,
            lease: Duration::from_secs(60),
            reclaim: false,
            dead_retention_ms: 60_000,
        };
        let stepped = self.broker.step(&QueueName::default(), step).await.unwrap();
        assert!(stepped.stale.is_empty());
        stepped.claims
    }

    /// Hand out the next task of a type.
    async fn claim(&self, task_type: &str) -> Claim {
        let serves = Serves::from(TaskType::new(task_type).unwrap());
        let mut claims = self.step(&[], &[serves], 1).await;
        assert_eq!(claims.len(), 1);
        claims.remove(0)
    }

    async fn settle(&self, claim: &Claim, end: End) {
        let settlement = Settlement { token: claim.token.clone(), end, plugin: None };
        self.step(&[settlement], &[], 0).await;
    }

    /// Run the next task of a type to an output.
    async fn complete(&self, task_type: &str, output: Payload) {
        let claim = self.claim(task_type).await;
        let report = report(Outcome::Done(output));
        let end = End::Complete { report, retention_ms: 60_000, children: Vec::new() };
        self.settle(&claim, end).await;
    }

    /// Run the next task of a type to a dead letter.
    async fn fail(&self, task_type: &str, kind: FailureKind, message: &str) {
        let claim = self.claim(task_type).await;
        let report = report(Outcome::Failed(Failure::new(kind, message)));
        self.settle(&claim, End::DeadLetter { report, retention_ms: 60_000 }).await;
    }
}

fn report(outcome: Outcome) -> AttemptReport {
    AttemptReport {
        attempt: 1,
        started_at: 1,
        host: "h".into(),
        plugin: None,
        digest: Digest::default(),
        metering: Metering { fuel: 7, wall_us: 1_500, ..Metering::default() },
        logs: Vec::new(),
        outcome,
        cached: false,
    }
}

/// The ids of a list of tasks.
fn ids(list: &Value) -> Vec<String> {
    let tasks = list["tasks"].as_array().unwrap();
    tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

/// What must happen soon.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.unwrap()
}
