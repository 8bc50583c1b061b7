//! Documents for those who look after hosts: how it stands in a few figures, since when it runs,
//! and what is asked first when something is wrong.

use axum::extract::State as From;
use bulkhead_core::UnixMs;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Json;
use super::health::{self, Component, Condition};
use super::{Api, Caller, Problems, Scope};
use crate::document::Look;
use crate::local::{About, Complaint, Phase, SettingDocument};
use crate::problem::Problem;
use crate::unix_ms;

/// How it stands, in a few figures.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    /// The worst of its components; `get_health` has each.
    status: Condition,
    #[serde(flatten)]
    about: About,
    /// Where the host is in its life.
    phase: Phase,
    /// How long it has run, in milliseconds.
    uptime_ms: u64,
    /// Hosts that run, this one included.
    hosts: usize,
    /// Attempts that run on all hosts.
    in_flight: u64,
    /// Attempts that may run on all hosts.
    concurrency: u64,
    /// Queues that there are.
    queues: usize,
    /// Tasks in line, in the first 1,000 queues by name, as all that follows of tasks.
    pending: u64,
    /// Tasks that wait for their time or for others.
    waiting: u64,
    /// Dead letters.
    failed: u64,
    /// Plugins that serve, on this host or others.
    plugins: usize,
    /// Alerts of this host that fire.
    alerts_firing: usize,
}

/// Show how it stands in a few figures
#[utoipa::path(get, operation_id = "get_status", path = "/v1/status", tag = "health",
    responses((status = 200, body = Status), Problems))]
pub(super) async fn status(From(api): From<Api>, caller: Caller) -> Result<Json<Status>, Problem> {
    caller.may_for_all(Scope::Read)?;
    let local = api.local()?;
    let about = local.about();
    let health = health::look(&api).await;
    let Look { queues, left_out, hosts, .. } = Look::take(api.broker(), &[]).await?;
    let (mut pending, mut waiting, mut failed) = (0, 0, 0);
    for (_, stats) in &queues {
        pending += stats.pending;
        waiting += stats.scheduled + stats.blocked;
        failed += stats.failed;
    }
    let serving = hosts.iter().flat_map(|host| &host.plugins).filter(|it| it.serving.is_some());
    let plugins: std::collections::BTreeSet<&str> =
        serving.map(|plugin| plugin.name.as_str()).collect();
    let alerts = local.alerts();
    Ok(Json(Status {
        status: health.status,
        phase: local.phase(),
        uptime_ms: unix_ms().saturating_sub(about.started_at),
        about,
        hosts: hosts.len(),
        in_flight: hosts.iter().map(|host| u64::from(host.in_flight)).sum(),
        concurrency: hosts.iter().map(|host| u64::from(host.concurrency)).sum(),
        queues: queues.len() + left_out,
        pending,
        waiting,
        failed,
        plugins: plugins.len(),
        alerts_firing: alerts.iter().filter(|alert| alert.state == "firing").count(),
    }))
}

/// Since when hosts run.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Uptime {
    #[serde(flatten)]
    about: About,
    /// How long the process has run that is asked, in milliseconds.
    uptime_ms: u64,
    /// Where it is in its life.
    phase: Phase,
    /// All hosts that run, by name.
    hosts: Vec<HostUptime>,
}

/// Since when a host runs.
#[derive(Debug, Serialize, ToSchema)]
struct HostUptime {
    /// Its name.
    host: String,
    /// When it began, in Unix milliseconds.
    started_at: UnixMs,
    /// How long it had run when it was heard of last, in milliseconds.
    uptime_ms: u64,
    /// When that was.
    seen_at: UnixMs,
}

/// Show since when hosts run
#[utoipa::path(get, operation_id = "get_uptime", path = "/v1/uptime", tag = "health",
    responses((status = 200, body = Uptime), Problems))]
pub(super) async fn uptime(From(api): From<Api>, caller: Caller) -> Result<Json<Uptime>, Problem> {
    caller.may_for_all(Scope::Read)?;
    let local = api.local()?;
    let about = local.about();
    let mut hosts: Vec<HostUptime> = api
        .broker()
        .hosts()
        .await?
        .into_iter()
        .map(|host| HostUptime {
            started_at: host.started_at,
            uptime_ms: host.seen_at.saturating_sub(host.started_at),
            seen_at: host.seen_at,
            host: host.name,
        })
        .collect();
    hosts.sort_by(|a, b| a.host.cmp(&b.host));
    let uptime_ms = unix_ms().saturating_sub(about.started_at);
    Ok(Json(Uptime { about, uptime_ms, phase: local.phase(), hosts }))
}

/// What is asked first when something is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Diagnostics {
    #[serde(flatten)]
    about: About,
    /// Where the host is in its life.
    phase: Phase,
    /// When this was looked at, in Unix milliseconds.
    at: UnixMs,
    /// How its components stand.
    components: Vec<Component>,
    /// Warnings and errors that this process logged, the oldest first; the last 100.
    recent_errors: Vec<Complaint>,
    /// What it logs.
    log_level: String,
    /// The bounds of this API.
    limits: ApiLimits,
    /// Every setting in effect, and where it came from. What may be a secret is `…`.
    settings: Vec<SettingDocument>,
}

/// The bounds of the API.
#[derive(Debug, Serialize, ToSchema)]
struct ApiLimits {
    /// Bytes of a request's body.
    body_bytes: usize,
    /// How long a request may take, in milliseconds.
    timeout_ms: u64,
    /// How long one may wait for the end of a task, in milliseconds.
    longest_wait_ms: u64,
    /// Requests that may wait or stream at once.
    waiters: usize,
    /// How many do.
    waiters_used: usize,
    /// Bytes of the largest component; nothing where none is taken.
    plugin_bytes: Option<u64>,
}

/// Show what is asked first when something is wrong with this host
#[utoipa::path(get, operation_id = "get_diagnostics", path = "/v1/diagnostics", tag = "health",
    responses((status = 200, body = Diagnostics), Problems))]
pub(super) async fn diagnostics(
    From(api): From<Api>,
    caller: Caller,
) -> Result<Json<Diagnostics>, Problem> {
    caller.may_for_all(Scope::Admin)?;
    let local = api.local()?;
    let components = health::look(&api).await.components;
    let options = api.options;
    let ms = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(Diagnostics {
        about: local.about(),
        phase: local.phase(),
        at: unix_ms(),
        components,
        recent_errors: local.complaints(),
        log_level: local.log_level(),
        limits: ApiLimits {
            body_bytes: options.body_bytes,
            timeout_ms: ms(options.timeout),
            longest_wait_ms: ms(options.longest_wait),
            waiters: options.waiters,
            waiters_used: options.waiters.saturating_sub(api.waiters.available_permits()),
            plugin_bytes: api.plugins.as_ref().map(|plugins| plugins.max_bytes()),
        },
        settings: local.settings(),
    }))
}
