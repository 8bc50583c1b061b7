//! Hosts and their plugins.

use axum::extract::State as From;
use axum::response::{IntoResponse, Response};
use bulkhead_queue::{HostInfo, PluginInfo};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Json;
use super::{Api, Caller, Problems, Scope};
use crate::document::PluginDocument;
use crate::problem::Problem;

/// Hosts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HostList)]
struct Listed {
    /// Those that run, by name.
    hosts: Vec<HostInfo>,
}

/// List running hosts
#[utoipa::path(get, operation_id = "list_hosts", path = "/v1/hosts", tag = "hosts",
    responses((status = 200, body = Listed), Problems))]
pub(super) async fn list(From(api): From<Api>, caller: Caller) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Read)?;
    let mut hosts = api.broker().hosts().await?;
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Listed { hosts }).into_response())
}

/// Plugins.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HostPluginList)]
struct Plugins<'a> {
    /// By host and name.
    plugins: Vec<PluginDocument<'a>>,
}

/// List the plugins of all hosts
///
/// A token of a tenant sees the tenant's own, and those that serve it.
#[utoipa::path(get, operation_id = "list_host_plugins", path = "/v1/hosts/plugins", tag = "hosts",
    responses((status = 200, body = Plugins<'_>), Problems))]
pub(super) async fn plugins(From(api): From<Api>, caller: Caller) -> Result<Response, Problem> {
    caller.may(Scope::Read)?;
    let mut hosts = api.broker().hosts().await?;
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    for host in &mut hosts {
        keep_seen(&caller, &mut host.plugins);
        host.plugins.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let plugins = hosts.iter().flat_map(|host| {
        host.plugins.iter().map(|plugin| {
            let mixed = HostInfo::mixed(&hosts, &plugin.name).is_some();
            PluginDocument { host: &host.name, plugin, mixed }
        })
    });
    Ok(Json(Plugins { plugins: plugins.collect() }).into_response())
}

/// Leave those that a caller may see: a tenant's own, and those that serve it.
pub(super) fn keep_seen(caller: &Caller, plugins: &mut Vec<PluginInfo>) {
    let Some(own) = caller.tenant.as_ref().map(|own| own.as_str()) else { return };
    plugins.retain(|plugin| {
        let serves = plugin.serving.iter().flat_map(|serving| &serving.tenants);
        plugin.owner.as_deref() == Some(own)
            || (plugin.owner.is_none() && serves.into_iter().any(|who| who == "*" || who == own))
    });
}

/// Who heard.
#[derive(Debug, Serialize, ToSchema)]
struct Heard {
    /// Hosts that look through their plugin folders now.
    hosts: u64,
}

/// Make all hosts look through their plugin folders
#[utoipa::path(post, operation_id = "rescan_plugins", path = "/v1/hosts/rescan", tag = "hosts",
    responses((status = 200, body = Heard), Problems))]
pub(super) async fn rescan(From(api): From<Api>, caller: Caller) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Operate)?;
    let hosts = api.broker().request_rescan().await?;
    Ok(Json(Heard { hosts }).into_response())
}
