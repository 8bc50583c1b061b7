//! How the whole stands, component by component; alerts; the levels of the log.
//!
//! Alerts and levels are those of the host that is asked: only its process knows them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as From;
use bulkhead_queue::HostInfo;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::Json;
use super::{Api, Caller, Problems, Scope};
use crate::local::{Alert, Local};
use crate::problem::{Kind, Problem};

/// How long the broker may take to say how it is.
const BROKER_WITHIN: Duration = Duration::from_secs(5);

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Condition {
    /// As it should be.
    Ok,
    /// It does its work, and something about it wants looking after.
    Degraded,
    /// It does not do its work.
    Down,
}

/// How the whole stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// The worst of all.
    pub(super) status: Condition,
    /// What it is made of.
    pub(super) components: Vec<Component>,
}

/// How one part stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Component {
    /// `broker`, `hosts`, `plugins` or `alerts`.
    name: String,
    /// How it is.
    status: Condition,
    /// What there is to say, a sentence each.
    details: Vec<String>,
}

impl Component {
    /// One that is as bad as there is something to say.
    fn of(name: &str, at_worst: Condition, details: Vec<String>) -> Self {
        let status = if details.is_empty() { Condition::Ok } else { at_worst };
        Self { name: name.into(), status, details }
    }
}

/// Show how the whole stands, component by component
#[utoipa::path(get, operation_id = "get_health", path = "/v1/health", tag = "health",
    responses((status = 200, body = Health), Problems))]
pub(super) async fn health(From(api): From<Api>, caller: Caller) -> Result<Json<Health>, Problem> {
    caller.may_for_all(Scope::Read)?;
    Ok(Json(look(&api).await))
}

/// Look at each component.
pub(super) async fn look(api: &Api) -> Health {
    let mut components = Vec::new();
    let asked = tokio::time::timeout(BROKER_WITHIN, api.broker().check()).await;
    components.push(match asked {
        Ok(Ok(warnings)) => Component::of("broker", Condition::Degraded, warnings),
        Ok(Err(error)) => Component::of("broker", Condition::Down, vec![error.to_string()]),
        Err(_) => Component::of("broker", Condition::Down, vec!["it does not answer".into()]),
    });
    if let Ok(hosts) = api.broker().hosts().await {
        components.push(match hosts.is_empty() {
            true => Component::of("hosts", Condition::Down, vec!["no host runs".into()]),
            false => Component::of("hosts", Condition::Degraded, refusals(&hosts)),
        });
        components.push(Component::of("plugins", Condition::Degraded, rejections(&hosts)));
    }
    let alerts = api.local.as_ref().map(|local| local.alerts()).unwrap_or_default();
    let firing = alerts.into_iter().filter(|alert| alert.state == "firing");
    let firing = firing.map(|alert| format!("{} fires for queue {}", alert.alert, alert.queue));
    components.push(Component::of("alerts", Condition::Degraded, firing.collect()));
    let status = components.iter().map(|component| component.status).max();
    Health { status: status.unwrap_or(Condition::Ok), components }
}

fn refusals(hosts: &[HostInfo]) -> Vec<String> {
    let refusing = hosts.iter().filter(|host| !host.refusing.is_empty());
    let said = refusing
        .map(|host| format!("{} takes on no more work: {}", host.name, host.refusing.join("; ")));
    said.collect()
}

fn rejections(hosts: &[HostInfo]) -> Vec<String> {
    let plugins = hosts.iter().flat_map(|host| host.plugins.iter().map(move |one| (host, one)));
    let said = plugins.filter_map(|(host, plugin)| {
        let rejected = plugin.rejected.as_ref()?;
        let (name, gate) = (&plugin.name, &rejected.gate);
        Some(format!("{} refused a version of {name} at the gate `{gate}`", host.name))
    });
    said.collect()
}

/// Alerts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertList)]
pub(super) struct Alerts {
    /// In the order of the configuration.
    alerts: Vec<Alert>,
}

/// Show how the alerts of this host stand
#[utoipa::path(get, operation_id = "list_alerts", path = "/v1/alerts", tag = "health",
    responses((status = 200, body = Alerts), Problems))]
pub(super) async fn alerts(From(api): From<Api>, caller: Caller) -> Result<Json<Alerts>, Problem> {
    caller.may_for_all(Scope::Read)?;
    Ok(Json(Alerts { alerts: api.local()?.alerts() }))
}

/// What is logged.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogLevels {
    /// A level, or directives such as `info,bulkhead_queue=debug`.
    #[schema(example = "info,bulkhead_queue=debug")]
    level: String,
}

/// Show what this host logs
#[utoipa::path(get, operation_id = "get_log_level", path = "/v1/log", tag = "health",
    responses((status = 200, body = LogLevels), Problems))]
pub(super) async fn log(From(api): From<Api>, caller: Caller) -> Result<Json<LogLevels>, Problem> {
    caller.may_for_all(Scope::Read)?;
    Ok(Json(LogLevels { level: api.local()?.log_level() }))
}

/// Change what this host logs, until it is changed again or the host ends
#[utoipa::path(put, operation_id = "set_log_level", path = "/v1/log", tag = "health",
    request_body = LogLevels, responses((status = 200, body = LogLevels), Problems))]
pub(super) async fn set_log(
    From(api): From<Api>,
    caller: Caller,
    Json(levels): Json<LogLevels>,
) -> Result<Json<LogLevels>, Problem> {
    caller.may_for_all(Scope::Admin)?;
    let local = api.local()?;
    let refused = |reason: String| Problem::new(Kind::Refused, reason);
    local.set_log_level(&levels.level).map_err(refused)?;
    Ok(Json(LogLevels { level: local.log_level() }))
}

impl Api {
    /// The process that answers, where one is known.
    pub(super) fn local(&self) -> Result<&Arc<dyn Local>, Problem> {
        self.local.as_ref().ok_or_else(|| {
            Problem::not_found("no host answers here, so there is nothing of a host's to show")
        })
    }
}
