//! Plugins that are kept for all hosts: which there are, which serve, what comes in and goes.
//!
//! Whoever keeps them knows nothing of callers; which plugins a caller sees is decided here. A
//! token of a tenant is about that tenant's plugins, and only those.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as From;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bulkhead_core::{Digest, PluginName, TenantName};
use bulkhead_queue::{HostInfo, PushedVersion, RejectedVersion, ServingVersion};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Json, Path, Query};
use super::upload::{Form, Upload};
use super::{Api, Caller, Problems, Scope};
use crate::document::{InspectionDocument, KeptPlugin, PluginStep, PluginVersion};
use crate::plugins::{PluginRef, Plugins};
use crate::problem::{Kind, Problem};

/// Whose plugin.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// The tenant whose it is; the operator's without it. A token of a tenant is about that
    /// tenant's.
    tenant: Option<TenantName>,
}

impl Whose {
    /// The tenant that is meant: a token of a tenant is about no other.
    fn owner(self, caller: &Caller) -> Result<Option<TenantName>, Problem> {
        match (&caller.tenant, self.tenant) {
            (Some(own), Some(tenant)) if *own != tenant => {
                let detail = format!("the token is of tenant {own} and of nobody else's plugins");
                Err(Problem::new(Kind::Forbidden, detail))
            }
            (Some(own), _) => Ok(Some(own.clone())),
            (None, tenant) => Ok(tenant),
        }
    }

    pub(super) fn plugin(self, caller: &Caller, name: PluginName) -> Result<PluginRef, Problem> {
        Ok(PluginRef { owner: self.owner(caller)?, name })
    }
}

/// A plugin, as it is kept and as hosts serve it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plugin)]
pub(super) struct PluginNow {
    #[serde(flatten)]
    kept: KeptPlugin,
    /// Which version hosts serve, if that is not the same everywhere; empty if it is.
    mixed: Vec<Served>,
    /// What each host says of it.
    hosts: Vec<OnHost>,
}

/// A version, and the hosts that serve it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginServed)]
struct Served {
    /// sha256 of the version; none where no version serves.
    digest: Option<String>,
    /// The hosts.
    hosts: Vec<String>,
}

/// A plugin on one host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginOnHost)]
struct OnHost {
    /// The host.
    host: String,
    /// What it serves.
    serving: Option<ServingVersion>,
    /// Whether that was pushed, and is no file of the host's folder.
    by_fleet: bool,
    /// Whether there is a file of the same name, which does not count then.
    shadowed: bool,
    /// The newest file of the host's folder, if a gate refused it.
    rejected: Option<RejectedVersion>,
    /// The newest and the active one of the versions that are kept: what the host did with them,
    /// and at which gate it refused them.
    pushed: Vec<PushedVersion>,
}

/// Plugins.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginList)]
pub(super) struct Listed {
    /// By name. Files of hosts' folders are among them, without versions that are kept.
    plugins: Vec<PluginNow>,
}

/// List plugins: those that are kept for all hosts, and those that hosts have as files
///
/// A token of a tenant sees that tenant's.
#[utoipa::path(get, operation_id = "list_plugins", path = "/v1/plugins", tag = "plugins",
    params(Whose), responses((status = 200, body = Listed), Problems))]
pub(super) async fn list(
    From(api): From<Api>,
    caller: Caller,
    Query(whose): Query<Whose>,
) -> Result<Json<Listed>, Problem> {
    caller.may(Scope::Read)?;
    let only = whose.owner(&caller)?;
    let hosts = api.broker().hosts().await?;
    let mut plugins = all(api.plugins()?.as_ref(), &hosts).await?;
    if let Some(only) = only {
        plugins.retain(|_, plugin| plugin.kept.owner.as_deref() == Some(only.as_str()));
    }
    Ok(Json(Listed { plugins: plugins.into_values().collect() }))
}

/// All plugins by what people write of them.
async fn all(
    kept: &dyn Plugins,
    hosts: &[HostInfo],
) -> Result<BTreeMap<String, PluginNow>, Problem> {
    let kept = kept.kept().await?.into_iter().map(|kept| (kept.plugin.clone(), kept));
    let mut plugins: BTreeMap<String, KeptPlugin> = kept.collect();
    for info in hosts.iter().flat_map(|host| &host.plugins) {
        plugins.entry(info.name.clone()).or_insert_with(|| KeptPlugin {
            plugin: info.name.clone(),
            name: info.name.rsplit('/').next().unwrap_or_default().to_owned(),
            owner: info.owner.clone(),
            active: None,
            versions: Vec::new(),
            steps: Vec::new(),
            canary: None,
        });
    }
    let now = plugins.into_iter().map(|(name, kept)| (name, PluginNow::of(kept, hosts)));
    Ok(now.collect())
}

impl PluginNow {
    fn of(kept: KeptPlugin, hosts: &[HostInfo]) -> Self {
        let mixed = HostInfo::mixed(hosts, &kept.plugin).unwrap_or_default();
        let digest = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
        let served = |(of, hosts)| Served { digest: digest(of), hosts };
        let on_host = |host: &HostInfo| {
            let info = host.plugins.iter().find(|info| info.name == kept.plugin)?.clone();
            Some(OnHost {
                host: host.name.clone(),
                serving: info.serving,
                by_fleet: info.by_fleet,
                shadowed: info.shadowed,
                rejected: info.rejected,
                pushed: info.pushed,
            })
        };
        Self {
            mixed: mixed.into_iter().map(served).collect(),
            hosts: hosts.iter().filter_map(on_host).collect(),
            kept,
        }
    }
}

/// Show a plugin: its versions, which of them is active, and what each host does with it
#[utoipa::path(get, operation_id = "get_plugin", path = "/v1/plugins/{plugin}", tag = "plugins",
    params(("plugin" = PluginName, Path), Whose),
    responses((status = 200, body = PluginNow), Problems))]
pub(super) async fn get(
    From(api): From<Api>,
    caller: Caller,
    Path(name): Path<PluginName>,
    Query(whose): Query<Whose>,
) -> Result<Json<PluginNow>, Problem> {
    caller.may(Scope::Read)?;
    let plugin = whose.plugin(&caller, name)?;
    let hosts = api.broker().hosts().await?;
    let found = all(api.plugins()?.as_ref(), &hosts).await?.remove(plugin.id().as_str());
    found.map(Json).ok_or_else(|| unknown(&plugin))
}

/// What was activated of a plugin, and when.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginHistory)]
pub(super) struct History {
    /// `NAME`, or `OWNER/NAME`.
    plugin: String,
    /// sha256 of the active version.
    active: Option<String>,
    /// The versions that are kept, the newest last.
    versions: Vec<PluginVersion>,
    /// What was activated, the latest last; the last 50.
    steps: Vec<PluginStep>,
}

/// Show which versions of a plugin are kept, and when which was activated
#[utoipa::path(get, operation_id = "get_plugin_history", path = "/v1/plugins/{plugin}/history",
    tag = "plugins", params(("plugin" = PluginName, Path), Whose),
    responses((status = 200, body = History), Problems))]
pub(super) async fn history(
    From(api): From<Api>,
    caller: Caller,
    Path(name): Path<PluginName>,
    Query(whose): Query<Whose>,
) -> Result<Json<History>, Problem> {
    caller.may(Scope::Read)?;
    let plugin = whose.plugin(&caller, name)?;
    let KeptPlugin { plugin, active, versions, steps, .. } = api.kept(&plugin).await?;
    Ok(Json(History { plugin, active: active.map(|it| it.to_string()), versions, steps }))
}

/// Show what a version of a plugin asks for, has and handles on this host
///
/// The version is the beginning of its digest, at least six digits of it, or what it calls itself.
#[utoipa::path(get, operation_id = "inspect_plugin",
    path = "/v1/plugins/{plugin}/versions/{version}", tag = "plugins",
    params(("plugin" = PluginName, Path), ("version" = String, Path), Whose),
    responses((status = 200, body = InspectionDocument), Problems))]
pub(super) async fn inspect(
    From(api): From<Api>,
    caller: Caller,
    Path((name, version)): Path<(PluginName, String)>,
    Query(whose): Query<Whose>,
) -> Result<Json<InspectionDocument>, Problem> {
    caller.may(Scope::Read)?;
    let plugin = whose.plugin(&caller, name)?;
    Ok(Json(api.plugins()?.inspect(&plugin, &version).await?))
}

/// How an upload is taken.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Manner {
    /// The tenant whose it is to be; the operator's without it.
    tenant: Option<TenantName>,
    /// Keep it without taking it through the gates of this host first. Not by a token of a tenant.
    #[serde(default)]
    unchecked: bool,
}

/// What an upload came to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginUploaded)]
pub(super) struct Uploaded {
    /// `NAME`, or `OWNER/NAME`.
    plugin: String,
    #[serde(flatten)]
    version: PluginVersion,
    /// Whether this very version was kept before.
    was_known: bool,
    /// sha256 of the versions that made room.
    forgotten: Vec<String>,
}

/// Upload a version of a plugin
///
/// It goes through the gates of this host, and is kept for all hosts; they serve it when it is
/// activated. A version that fails a gate is 422, with `gate` and `reason`.
#[utoipa::path(post, operation_id = "upload_plugin", path = "/v1/plugins/{plugin}/versions",
    tag = "plugins", params(("plugin" = PluginName, Path), Manner),
    request_body(content = Form, content_type = "multipart/form-data"),
    responses((status = 201, description = "It is kept", body = Uploaded),
        (status = 200, description = "It was kept already", body = Uploaded), Problems))]
pub(super) async fn upload(
    From(api): From<Api>,
    caller: Caller,
    Path(name): Path<PluginName>,
    Query(Manner { tenant, unchecked }): Query<Manner>,
    upload: Upload,
) -> Result<Response, Problem> {
    may_bring(&caller)?;
    if unchecked && caller.tenant.is_some() {
        let detail = "what a tenant brings goes through the gates; leave `unchecked` out";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    let plugin = Whose { tenant }.plugin(&caller, name)?;
    let plugins = api.plugins()?;
    let tenant = caller.tenant.as_ref();
    let (upload, _place) = upload.read(&api, plugins.as_ref(), tenant, unchecked).await?;
    let pushed = plugins.push(&plugin, upload, &caller.name).await?;
    let status = if pushed.was_known { StatusCode::OK } else { StatusCode::CREATED };
    let uploaded = Uploaded {
        plugin: plugin.id().to_string(),
        version: pushed.version,
        was_known: pushed.was_known,
        forgotten: pushed.forgotten.iter().map(Digest::to_string).collect(),
    };
    Ok((status, Json(uploaded)).into_response())
}

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginRemoved)]
pub(super) struct Removed {
    /// `NAME`, or `OWNER/NAME`.
    plugin: String,
    /// How many versions.
    versions: usize,
}

/// Forget all versions of a plugin that are kept
///
/// Hosts serve the file of their folder again, if there is one.
#[utoipa::path(delete, operation_id = "remove_plugin", path = "/v1/plugins/{plugin}",
    tag = "plugins", params(("plugin" = PluginName, Path), Whose),
    responses((status = 200, body = Removed), Problems))]
pub(super) async fn remove(
    From(api): From<Api>,
    caller: Caller,
    Path(name): Path<PluginName>,
    Query(whose): Query<Whose>,
) -> Result<Json<Removed>, Problem> {
    may_bring(&caller)?;
    let plugin = whose.plugin(&caller, name)?;
    let versions = api.plugins()?.remove(&plugin, &caller.name).await?;
    Ok(Json(Removed { plugin: plugin.id().to_string(), versions }))
}

/// Refuse who may not bring code or take it away. A tenant has no `admin`, and its code serves
/// nobody but itself.
fn may_bring(caller: &Caller) -> Result<(), Problem> {
    caller.may(if caller.tenant.is_some() { Scope::Operate } else { Scope::Admin })
}

fn unknown(plugin: &PluginRef) -> Problem {
    let id = plugin.id();
    Problem::not_found(format!("there is no plugin {id}; /v1/plugins lists all"))
}

impl Api {
    /// Who keeps plugins, where somebody does.
    pub(super) fn plugins(&self) -> Result<&Arc<dyn Plugins>, Problem> {
        self.plugins.as_ref().ok_or_else(|| {
            Problem::not_found(
                "no host with plugins answers here; ask the API of a host, or use `bulkhead \
                 plugin`",
            )
        })
    }

    /// What is kept of a plugin.
    pub(super) async fn kept(&self, plugin: &PluginRef) -> Result<KeptPlugin, Problem> {
        let (kept, id) = (self.plugins()?.kept().await?, plugin.id());
        let found = kept.into_iter().find(|kept| kept.plugin == id.as_str());
        found.ok_or_else(|| unknown(plugin))
    }

    /// How long a plugin may be on its way through the gates.
    pub(super) fn gates_take(&self) -> Duration {
        self.plugins.as_ref().map_or(Duration::ZERO, |plugins| plugins.gates_take())
    }
}
