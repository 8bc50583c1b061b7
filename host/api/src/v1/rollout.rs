//! Which version of a plugin serves: all at once, or by degrees.

use axum::extract::State as From;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bulkhead_core::PluginName;
use bulkhead_core::quantity::Span;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{Json, Path, Query};
use super::plugins::Whose;
use super::{Api, Caller, Problems, Scope};
use crate::document::{CanaryDocument, FollowState, Following, followed};
use crate::plugins::{CanaryAsk, PluginActivated, PluginRef, Plugins};
use crate::problem::{Kind, Problem};

/// Which version is to serve.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    /// The beginning of its digest, at least six digits of it, or what it calls itself.
    version: String,
    /// Even if a host has refused it.
    #[serde(default)]
    force: bool,
}

/// What an activation came to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginActivation)]
pub(super) struct Activated {
    /// `NAME`, or `OWNER/NAME`.
    plugin: String,
    /// sha256 of the version that is active now.
    digest: String,
    /// What it calls itself.
    version: Option<String>,
    /// sha256 of the one that was active.
    before: Option<String>,
    /// How far hosts have followed by now. They take a moment: `get_plugin` says when all have.
    hosts: Vec<Following>,
}

/// Let all hosts serve a version of a plugin
///
/// A version that a running host has refused already is 409, unless `force` says otherwise.
#[utoipa::path(post, operation_id = "activate_plugin", path = "/v1/plugins/{plugin}/activate",
    tag = "plugins", params(("plugin" = PluginName, Path), Whose), request_body = Choice,
    responses((status = 200, body = Activated), Problems))]
pub(super) async fn activate(
    From(api): From<Api>,
    caller: Caller,
    Path(name): Path<PluginName>,
    Query(whose): Query<Whose>,
    Json(choice): Json<Choice>,
) -> Result<Json<Activated>, Problem> {
    caller.may(Scope::Operate)?;
    let plugin = whose.plugin(&caller, name)?;
    let plugins = api.plugins()?;
    if !choice.force {
        refuse_refused(&api, plugins.as_ref(), &plugin, &choice.version).await?;
    }
    let activated = plugins.activate(&plugin, &choice.version, &caller.name).await?;
    told(&api, &plugin, activated).await
}

/// Let all hosts serve the version of a plugin that was active before
#[utoipa::path(post, operation_id = "roll_back_plugin", path = "/v1/plugins/{plugin}/rollback",
    tag = "plugins", params(("plugin" = PluginName, Path), Whose),
    responses((status = 200, body = Activated), Problems))]
pub(super) async fn roll_back(
    From(api): From<Api>,
    caller: Caller,
    Path(name): Path<PluginName>,
    Query(whose): Query<Whose>,
) -> Result<Json<Activated>, Problem> {
    caller.may(Scope::Operate)?;
    let plugin = whose.plugin(&caller, name)?;
    let activated = api.plugins()?.roll_back(&plugin, &caller.name).await?;
    told(&api, &plugin, activated).await
}

async fn told(
    api: &Api,
    plugin: &PluginRef,
    activated: PluginActivated,
) -> Result<Json<Activated>, Problem> {
    let PluginActivated { version, before } = activated;
    let hosts = api.broker().hosts().await?;
    Ok(Json(Activated {
        plugin: plugin.id().to_string(),
        digest: version.digest.to_string(),
        before: before.map(|before| before.to_string()),
        hosts: followed(&hosts, plugin.id().as_str(), version.digest),
        version: version.version,
    }))
}

/// Go no further with what a host has refused already.
async fn refuse_refused(
    api: &Api,
    plugins: &dyn Plugins,
    plugin: &PluginRef,
    version: &str,
) -> Result<(), Problem> {
    let meant = plugins.meant(plugin, version).await?;
    let hosts = api.broker().hosts().await?;
    let mut followed = followed(&hosts, plugin.id().as_str(), meant.digest).into_iter();
    let Some(refused) = followed.find(|host| host.state == FollowState::Refused) else {
        return Ok(());
    };
    let (gate, reason) = (refused.gate.unwrap_or_default(), refused.reason);
    let detail = format!(
        "{} has refused {} {} at the gate `{gate}`: {}; with `force` it is done all the same, and \
         hosts that refuse it keep what they serve",
        refused.host,
        plugin.id(),
        meant.digest.short(),
        reason.as_deref().unwrap_or_default()
    );
    let problem = Problem::new(Kind::Conflict, detail);
    let reason = reason.map(String::into_boxed_str);
    Err(Problem { gate: Some(gate.into()), reason, ..problem })
}

/// How a version is to be tried. Shares are from 0 to 1.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewCanary)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// The beginning of its digest, at least six digits of it, or what it calls itself.
    version: String,
    /// The share that it gets in each round, each larger than the one before, all below 1; the
    /// whole comes after the last.
    #[serde(default)]
    #[schema(example = json!([0.05, 0.25, 0.5]))]
    shares: Option<Vec<f64>>,
    /// Who belongs to the share.
    #[serde(default)]
    by: Chosen,
    /// Attempts on each side that are enough for one round.
    #[serde(default)]
    attempts: Option<u64>,
    /// The share of all tasks that may fail on it or run on it; 1 is no bound.
    #[serde(default)]
    #[schema(example = 0.01)]
    harm: Option<f64>,
    /// How long it may take, as `24h`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    within: Option<Span>,
    /// Even if a host has refused it.
    #[serde(default)]
    force: bool,
}

/// What is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = CanaryBy)]
#[serde(rename_all = "snake_case")]
enum Chosen {
    /// Each task by itself.
    #[default]
    Task,
    /// All of a tenant's tasks alike.
    Tenant,
}

/// Let a share of a plugin's tasks go to a version, which hosts judge and promote or take back
#[utoipa::path(post, operation_id = "begin_canary", path = "/v1/plugins/{plugin}/canary",
    tag = "plugins", params(("plugin" = PluginName, Path), Whose), request_body = Trial,
    responses((status = 201, body = CanaryDocument), Problems))]
pub(super) async fn begin_canary(
    From(api): From<Api>,
    caller: Caller,
    Path(name): Path<PluginName>,
    Query(whose): Query<Whose>,
    Json(trial): Json<Trial>,
) -> Result<Response, Problem> {
    caller.may(Scope::Operate)?;
    let plugin = whose.plugin(&caller, name)?;
    let plugins = api.plugins()?;
    if !trial.force {
        refuse_refused(&api, plugins.as_ref(), &plugin, &trial.version).await?;
    }
    let ask = CanaryAsk {
        shares: trial.shares,
        by_tenant: trial.by == Chosen::Tenant,
        attempts: trial.attempts,
        harm: trial.harm,
        within: trial.within.map(|within| within.0),
    };
    let begun = plugins.begin_canary(&plugin, &trial.version, ask, &caller.name).await?;
    Ok((StatusCode::CREATED, Json(begun)).into_response())
}

/// Show the canary of a plugin that runs, or how the last one ended
#[utoipa::path(get, operation_id = "get_canary", path = "/v1/plugins/{plugin}/canary",
    tag = "plugins", params(("plugin" = PluginName, Path), Whose),
    responses((status = 200, body = CanaryDocument), Problems))]
pub(super) async fn canary(
    From(api): From<Api>,
    caller: Caller,
    Path(name): Path<PluginName>,
    Query(whose): Query<Whose>,
) -> Result<Json<CanaryDocument>, Problem> {
    caller.may(Scope::Read)?;
    let plugin = whose.plugin(&caller, name)?;
    let canary = api.kept(&plugin).await?.canary;
    let none = || Problem::not_found(format!("there has been no canary of {}", plugin.id()));
    canary.map(Json).ok_or_else(none)
}

/// End the canary of a plugin: the old version serves all tasks
#[utoipa::path(delete, operation_id = "stop_canary", path = "/v1/plugins/{plugin}/canary",
    tag = "plugins", params(("plugin" = PluginName, Path), Whose),
    responses((status = 200, body = CanaryDocument), Problems))]
pub(super) async fn stop_canary(
    From(api): From<Api>,
    caller: Caller,
    Path(name): Path<PluginName>,
    Query(whose): Query<Whose>,
) -> Result<Json<CanaryDocument>, Problem> {
    end(&api, &caller, whose, name, false).await
}

/// End the canary of a plugin: the new version serves all tasks
#[utoipa::path(post, operation_id = "promote_canary",
    path = "/v1/plugins/{plugin}/canary/promote", tag = "plugins",
    params(("plugin" = PluginName, Path), Whose),
    responses((status = 200, body = CanaryDocument), Problems))]
pub(super) async fn promote_canary(
    From(api): From<Api>,
    caller: Caller,
    Path(name): Path<PluginName>,
    Query(whose): Query<Whose>,
) -> Result<Json<CanaryDocument>, Problem> {
    end(&api, &caller, whose, name, true).await
}

async fn end(
    api: &Api,
    caller: &Caller,
    whose: Whose,
    name: PluginName,
    promote: bool,
) -> Result<Json<CanaryDocument>, Problem> {
    caller.may(Scope::Operate)?;
    let plugin = whose.plugin(caller, name)?;
    Ok(Json(api.plugins()?.end_canary(&plugin, promote, &caller.name).await?))
}
