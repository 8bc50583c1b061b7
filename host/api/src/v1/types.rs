//! The task types that hosts serve.

use std::collections::BTreeMap;

use axum::extract::State as From;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::Json;
use super::hosts::keep_seen;
use super::{Api, Caller, Problems, Scope};
use crate::local::TypeLimits;
use crate::problem::Problem;

/// Task types.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TypeList)]
pub(super) struct Listed {
    /// By type and plugin.
    types: Vec<Registered>,
}

/// A task type, as one plugin serves it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RegisteredType)]
struct Registered {
    /// The task type.
    #[serde(rename = "type")]
    task_type: String,
    /// The plugin, as `NAME` or `OWNER/NAME`.
    plugin: String,
    /// The tenant whose it is; none for the operator's.
    owner: Option<String>,
    /// Whose tasks it serves: tenants, or `*` for all.
    tenants: Vec<String>,
    /// The versions by which hosts serve it.
    versions: Vec<TypeVersion>,
    /// Whether all hosts that serve it do so by the same version.
    agreed: bool,
    /// What it does, in the handler's words; nothing if the host that is asked does not serve it.
    description: Option<String>,
    /// The limits that hold on that host for a task that asks for none.
    limits: Option<TypeLimits>,
    /// How many tasks one call takes there.
    max_batch: Option<u32>,
}

/// A version by which hosts serve a type.
#[derive(Debug, Serialize, ToSchema)]
struct TypeVersion {
    /// What it calls itself.
    version: String,
    /// sha256 of the component.
    digest: String,
    /// The hosts.
    hosts: Vec<String>,
}

/// List the task types that hosts serve
///
/// A token of a tenant sees those of its own plugins, and of those that serve it.
#[utoipa::path(get, operation_id = "list_types", path = "/v1/types", tag = "hosts",
    responses((status = 200, body = Listed), Problems))]
pub(super) async fn list(From(api): From<Api>, caller: Caller) -> Result<Json<Listed>, Problem> {
    caller.may(Scope::Read)?;
    let mut hosts = api.broker().hosts().await?;
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    let here = api.local.as_ref().map(|local| local.types()).unwrap_or_default();
    let mut types: BTreeMap<(String, String), Registered> = BTreeMap::new();
    for host in &mut hosts {
        keep_seen(&caller, &mut host.plugins);
        for plugin in &host.plugins {
            let Some(serving) = &plugin.serving else { continue };
            for task_type in &serving.task_types {
                let key = (task_type.clone(), plugin.name.clone());
                let registered = types.entry(key).or_insert_with(|| {
                    let local = here
                        .iter()
                        .find(|local| local.task_type == *task_type && local.plugin == plugin.name);
                    Registered {
                        task_type: task_type.clone(),
                        plugin: plugin.name.clone(),
                        owner: plugin.owner.clone(),
                        tenants: serving.tenants.clone(),
                        versions: Vec::new(),
                        agreed: true,
                        description: local.map(|local| local.description.clone()),
                        limits: local.map(|local| local.limits),
                        max_batch: local.map(|local| local.max_batch),
                    }
                });
                let digest = serving.digest.to_string();
                match registered.versions.iter_mut().find(|known| known.digest == digest) {
                    Some(known) => known.hosts.push(host.name.clone()),
                    None => registered.versions.push(TypeVersion {
                        version: serving.version.clone(),
                        digest,
                        hosts: vec![host.name.clone()],
                    }),
                }
                registered.agreed = registered.versions.len() == 1;
            }
        }
    }
    Ok(Json(Listed { types: types.into_values().collect() }))
}
