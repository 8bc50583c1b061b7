//! Everything that a host answers by HTTP, put together: probes, the dashboard, the guarded API,
//! CORS.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bulkhead_queue::Broker;
use serde::Serialize;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::auth::{Caller, Guard, Scope};
use crate::dashboard;
use crate::local::{Local, Phase};
use crate::problem::Problem;
use crate::v1::{self, Api};

/// How long the broker may take to answer a probe.
const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// How long a browser may believe what it was told of other origins.
const CORS_BELIEVED: Duration = Duration::from_secs(600);

/// The routes of a host: `/healthz`, `/readyz` and the dashboard for everybody, `/v1` and
/// `/metrics` behind the guard. Web
/// pages of these origins may ask; without one only the host's own.
pub fn service(api: Api, guard: Guard, local: Arc<dyn Local>, cors: &[String]) -> Router {
    let probed = Probed { broker: api.shared_broker(), local: local.clone() };
    let probes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(probed);
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(local.clone());
    let guarded = guard.layer(v1::router(api.of(local)).merge(metrics));
    let router = guarded.merge(probes).merge(dashboard::router());
    if cors.is_empty() { router } else { router.layer(cors_for(cors)) }
}

/// The routes for an application that nests them: `/v1` behind the guard, and the dashboard. Without
/// a dashboard, nest `guard.layer(v1::router(api))`.
///
/// ```
/// use std::sync::Arc;
///
/// use bulkhead_api::Router;
/// use bulkhead_api::auth::{Guard, GuardOptions};
/// use bulkhead_api::v1::{Api, ApiOptions};
/// use bulkhead_queue::{Broker, EmbeddedBroker, SubmitLimits};
///
/// let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
/// let api = Api::new(broker.clone(), SubmitLimits::default(), ApiOptions::default());
/// let jobs = bulkhead_api::router(api, Guard::new(broker, GuardOptions::default()));
/// let app: Router = Router::new().nest("/jobs", jobs);
/// ```
///
/// The OpenAPI document at `/jobs/v1/openapi.json` then has `/jobs` as its server, and what answers
/// point to is below `/jobs`. The guard knows who shows a token; callers from the same machine it
/// knows by a [`Peer`](crate::auth::Peer) that the application puts into requests.
pub fn router(api: Api, guard: Guard) -> Router {
    guard.layer(v1::router(api)).merge(dashboard::router())
}

fn cors_for(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let asked = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_NONE_MATCH,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("last-event-id"),
        HeaderName::from_static("traceparent"),
        HeaderName::from_static("tracestate"),
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(asked)
        .expose_headers([header::ETAG, header::LOCATION, header::RETRY_AFTER])
        .max_age(CORS_BELIEVED)
}

#[derive(Clone)]
struct Probed {
    broker: Arc<dyn Broker>,
    local: Arc<dyn Local>,
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn metrics(State(local): State<Arc<dyn Local>>, caller: Caller) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Read)?;
    Ok(([(header::CONTENT_TYPE, OPENMETRICS)], local.metrics()).into_response())
}

/// Whether a host takes tasks.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    phase: Phase,
    /// Whether the broker answers.
    broker: bool,
}

async fn ready(State(probed): State<Probed>) -> Response {
    let phase = probed.local.phase();
    let asked = tokio::time::timeout(PROBE_WITHIN, probed.broker.queues());
    let broker = matches!(asked.await, Ok(Ok(_)));
    let ready = broker && phase == Phase::Serving;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, phase, broker })).into_response()
}
