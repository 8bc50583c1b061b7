//! The HTTP API, version 1.
//!
//! [`router`] is everything that `/v1` answers, over any broker; [`openapi`] describes it. Each
//! handler says which scope it takes ([`Caller`]) and speaks documents
//! ([`crate::document`]); what goes wrong is a problem document. Nothing here knows Wasm.

mod batches;
mod chimes;
mod cursor;
mod etag;
mod events;
mod extract;
mod health;
mod hosts;
mod live;
mod plugins;
mod queues;
mod results;
mod rollout;
mod schedules;
mod selection;
mod sla;
mod status;
mod submit;
mod tasks;
mod tenants;
mod tokens;
mod types;
mod upload;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, OriginalUri, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bulkhead_core::PluginName;
use bulkhead_queue::{Broker, Client, SubmitLimits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::Server;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::{IntoResponses, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Caller, Scope};
use crate::local::Local;
use crate::plugins::Plugins;
use crate::problem::{Kind, Problem};

/// Bounds on what is asked of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiOptions {
    /// Bytes of one request's body, and of one line of JSON Lines, once it is unpacked.
    pub body_bytes: usize,
    /// How long one request may take; waits and streams have bounds of their own.
    pub timeout: Duration,
    /// How long one request may wait for the end of a task.
    pub longest_wait: Duration,
    /// Requests that may wait or stream at once.
    pub waiters: usize,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            body_bytes: 64 << 20,
            timeout: Duration::from_secs(30),
            longest_wait: Duration::from_secs(60),
            waiters: 1_000,
        }
    }
}

/// What the API answers from. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    client: Client,
    limits: SubmitLimits,
    options: ApiOptions,
    waiters: Arc<Semaphore>,
    lookout: Arc<live::Lookout>,
    chimes: Arc<chimes::Chimes>,
    local: Option<Arc<dyn Local>>,
    plugins: Option<Arc<dyn Plugins>>,
    uploads: Arc<upload::Uploads>,
}

impl Api {
    /// An API over a broker. What is submitted keeps within `limits`.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, limits: SubmitLimits, options: ApiOptions) -> Self {
        Self {
            lookout: live::Lookout::new(broker.clone()),
            chimes: chimes::Chimes::new(broker.clone()),
            client: Client::new(broker, limits),
            limits,
            options,
            waiters: Arc::new(Semaphore::new(options.waiters)),
            local: None,
            plugins: None,
            uploads: upload::Uploads::new(),
        }
    }

    /// The same, with the plugins that are kept for all hosts.
    #[must_use]
    pub fn keeping(self, plugins: Arc<dyn Plugins>) -> Self {
        Self { plugins: Some(plugins), ..self }
    }

    /// The same, of the process of a host.
    #[must_use]
    pub fn of(self, local: Arc<dyn Local>) -> Self {
        Self { local: Some(local), ..self }
    }

    /// The broker that it answers from.
    pub(crate) fn shared_broker(&self) -> Arc<dyn Broker> {
        self.client.broker().clone()
    }

    /// A place among those who wait.
    fn waiter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.waiters.clone().try_acquire_owned().map_err(|_| {
            let detail = "as many requests wait as may; ask again, or raise `api.waiters`";
            Problem::new(Kind::TooMany, detail).after(1)
        })
    }

    fn limits(&self) -> SubmitLimits {
        self.limits
    }

    fn broker(&self) -> &dyn Broker {
        self.client.broker().as_ref()
    }
}

/// Everything below `/v1`, for callers that a layer around it has told apart ([`Caller`]).
pub fn router(api: Api) -> Router {
    let body_bytes = api.options.body_bytes;
    routes()
        .split_for_parts()
        .0
        .route("/v1/openapi.json", axum::routing::get(described))
        .method_not_allowed_fallback(async || {
            Problem::new(Kind::MethodNotAllowed, "the OpenAPI document has what there is")
        })
        .fallback(async || {
            Problem::not_found("there is nothing here; /v1/openapi.json has what there is")
        })
        .layer(axum::middleware::from_fn_with_state(api.clone(), within))
        .layer(axum::middleware::from_fn(etag::tag))
        .layer(DefaultBodyLimit::max(body_bytes))
        .layer(RequestDecompressionLayer::new())
        .layer(CompressionLayer::new())
        .with_state(api)
}

/// The document, with the place that the API is nested at, if it is nested.
async fn described(request: Request) -> axum::Json<Document> {
    let mut document = openapi();
    let place = nested_at(&request);
    if !place.is_empty() {
        document.servers = Some(vec![Server::new(place)]);
    }
    axum::Json(document)
}

/// The path below which an application has these routes; empty where it has them at the top.
pub(crate) fn nested_at(request: &Request) -> String {
    let whole = request.extensions().get::<OriginalUri>().map(|uri| uri.path());
    let place = whole.and_then(|whole| whole.strip_suffix(request.uri().path()));
    place.unwrap_or_default().to_owned()
}

/// Give up a request that takes too long.
async fn within(
    axum::extract::State(api): axum::extract::State<Api>,
    request: Request,
    next: Next,
) -> Response {
    let longest = match request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) {
        Some(path) if path.ends_with("/wait") => api.options.longest_wait,
        Some(path) if path.contains("/versions") => api.gates_take(),
        _ => Duration::ZERO,
    };
    let place = nested_at(&request);
    match tokio::time::timeout(api.options.timeout + longest, next.run(request)).await {
        Ok(response) => placed(response, &place),
        Err(_) => Problem::new(
            Kind::TimedOut,
            format!("it took over {} seconds and was given up", api.options.timeout.as_secs()),
        )
        .into_response(),
    }
}

/// What an answer points to is where the API is nested.
fn placed(mut response: Response, place: &str) -> Response {
    let location = response.headers().get(header::LOCATION).and_then(|it| it.to_str().ok());
    let location = location.filter(|to| !place.is_empty() && to.starts_with("/v1/"));
    if let Some(Ok(location)) = location.map(|to| HeaderValue::from_str(&format!("{place}{to}"))) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The OpenAPI document.
#[must_use]
pub fn openapi() -> Document {
    let mut document = routes().into_openapi();
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(scheme));
    let none: [&str; 0] = [];
    document.security = Some(vec![SecurityRequirement::new("token", none)]);
    document
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bulkhead",
        description = "Submit tasks, follow them, and operate queues, schedules, plugins and \
                       hosts. All times are Unix milliseconds unless a field says otherwise.",
    ),
    components(schemas(PluginName)),
    tags(
        (name = "tasks", description = "Submit tasks and follow them"),
        (name = "queues", description = "Look at queues and operate them"),
        (name = "schedules", description = "Tasks that are submitted by time"),
        (name = "batches", description = "Tasks that are counted as a group"),
        (name = "usage", description = "What tenants used"),
        (name = "plugins", description = "Plugins that are kept for all hosts"),
        (name = "hosts", description = "What runs, and with which plugins"),
        (name = "health", description = "Whether all is well, and what is logged"),
        (name = "tokens", description = "Who may ask for what, and who did what"),
        (name = "events", description = "What happens, as it happens"),
    ),
)]
struct Described;

fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(tasks::list, submit::one))
        .routes(routes!(submit::many))
        .routes(routes!(tasks::get))
        .routes(routes!(tasks::wait))
        .routes(routes!(tasks::cancel))
        .routes(routes!(tasks::retry))
        .routes(routes!(tasks::edit))
        .routes(routes!(tasks::cancel_many))
        .routes(routes!(tasks::retry_many))
        .routes(routes!(results::output))
        .routes(routes!(results::payload))
        .routes(routes!(queues::list))
        .routes(routes!(queues::get))
        .routes(routes!(queues::history))
        .routes(routes!(queues::pause))
        .routes(routes!(queues::resume))
        .routes(routes!(queues::purge))
        .routes(routes!(queues::policy, queues::set_policy))
        .routes(routes!(queues::examine))
        .routes(routes!(queues::drop_dead))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::list_queue))
        .routes(routes!(schedules::get, schedules::put, schedules::remove))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::fire))
        .routes(routes!(batches::list, batches::submit))
        .routes(routes!(batches::get))
        .routes(routes!(usage::rows))
        .routes(routes!(health::health))
        .routes(routes!(health::alerts))
        .routes(routes!(health::log, health::set_log))
        .routes(routes!(status::status))
        .routes(routes!(status::uptime))
        .routes(routes!(status::diagnostics))
        .routes(routes!(sla::sla))
        .routes(routes!(types::list))
        .routes(routes!(tenants::list))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::who))
        .routes(routes!(tokens::journal))
        .routes(routes!(hosts::list))
        .routes(routes!(hosts::plugins))
        .routes(routes!(hosts::rescan))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::get, plugins::remove))
        .routes(routes!(plugins::history))
        .routes(routes!(plugins::upload))
        .routes(routes!(plugins::inspect))
        .routes(routes!(rollout::activate))
        .routes(routes!(rollout::roll_back))
        .routes(routes!(rollout::canary, rollout::begin_canary, rollout::stop_canary))
        .routes(routes!(rollout::promote_canary))
        .routes(routes!(live::overview))
        .routes(routes!(live::live))
        .routes(routes!(events::all))
        .routes(routes!(events::of_queue))
}

/// What any request may come to.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it only describes `Problem` in the OpenAPI document")]
enum Problems {
    /// The request is not understood
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(#[to_schema] Problem),
    /// Nobody known asks
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] Problem),
    /// Who asks may not
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] Problem),
    /// There is nothing of this name
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// It took too long
    #[response(status = 408, content_type = "application/problem+json")]
    TimedOut(#[to_schema] Problem),
    /// It does not go together with what is there
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(#[to_schema] Problem),
    /// It is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// Its media type is unknown here
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(#[to_schema] Problem),
    /// It is understood and cannot be done
    #[response(status = 422, content_type = "application/problem+json")]
    Refused(#[to_schema] Problem),
    /// There are too many
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(#[to_schema] Problem),
    /// The broker cannot be reached
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}
