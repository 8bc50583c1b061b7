//! A plugin file on its way to the broker.

use std::path::Path;

use anyhow::Result;
use bulkhead::config::quantity::Size;
use bulkhead::core::{PluginName, TenantName};
use bulkhead::fleet::{Shelf, Upload, Version};
use bulkhead::{Identity, manifest};
use bulkhead_sandbox::PluginSource;
use serde::Serialize;

use super::file::sandbox;
use super::pushed::shown;
use super::trust;
use crate::cli::escape;
use crate::cli::exit::{Exit, failed, usage};
use crate::cli::figures;
use crate::cli::session::{Session, actor};

/// What was pushed, in JSON.
#[derive(Serialize)]
struct PushedDocument<'a> {
    plugin: String,
    #[serde(flatten)]
    version: &'a Version,
    was_known: bool,
    forgotten: Vec<String>,
}

/// Keep a file in the broker.
pub(super) async fn push(
    session: &Session,
    path: &Path,
    manifest: Option<&Path>,
    tenant: Option<TenantName>,
    unchecked: bool,
) -> Result<Exit> {
    let name: PluginName = trust::name(path)?.parse().map_err(usage)?;
    let identity = Identity::of(tenant.as_ref(), name.as_str());
    let component = component(session, path)?;
    let manifest = match manifest {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|e| trust::unreadable(file, &e))?),
        None => beside(&path.with_extension("toml"))?,
    };
    let signature = trust::signature(path)?;
    let version = match unchecked {
        true => None,
        false => Some(checked(session, &identity, &component, manifest.as_deref()).await?),
    };
    let broker = session.broker().await?;
    let shelf = Shelf::new(broker.archive(), actor());
    let upload = Upload { name, owner: tenant, component, version, manifest, signature };
    // Whoever has the broker may keep what it holds; a room is for those who ask over HTTP.
    let pushed = shelf.push(upload, None, figures::now()).await?;
    let plugin = identity.to_string();
    if session.out.is_json() {
        let forgotten = pushed.forgotten.iter().map(|old| old.digest.to_string()).collect();
        let (version, was_known) = (&pushed.version, pushed.was_known);
        session.out.document(&PushedDocument { plugin, version, was_known, forgotten })?;
        return Ok(Exit::Done);
    }
    let again = if pushed.was_known { " again" } else { "" };
    let mut text = format!("{plugin} {} is pushed{again}\n", shown(&pushed.version));
    for old in &pushed.forgotten {
        text.push_str(&format!("{plugin} {} is forgotten\n", shown(old)));
    }
    let (flag, digest) = (tenant_flag(&identity), pushed.version.digest.short());
    text.push_str(&format!(
        "hosts serve it after\n  bulkhead plugin activate {} {digest}{flag}\n",
        identity.name
    ));
    session.out.text(&text)?;
    Ok(Exit::Done)
}

/// The option by which a command names the plugin's owner.
fn tenant_flag(identity: &Identity) -> String {
    identity.owner.as_ref().map(|tenant| format!(" --tenant {tenant}")).unwrap_or_default()
}

/// Take it through the gates of this machine; the version that it gives itself.
async fn checked(
    session: &Session,
    identity: &Identity,
    component: &[u8],
    manifest: Option<&str>,
) -> Result<String> {
    let refused = |gate: &str, reason: &str| {
        failed(format!(
            "{identity} fails the gate `{gate}` here: {reason}\nit was not pushed; with \
             --unchecked it is, and hosts judge it"
        ))
    };
    let settings = session.config.host.settings.now();
    let manifest = manifest::of_pushed(identity, manifest, &settings)
        .map_err(|error| refused("manifest", &error.to_string()))?;
    let (name, bytes) = (identity.name.clone(), component.to_vec());
    // It is the compiler's time of this machine.
    let source = PluginSource { name, bytes, manifest, account: None };
    let plugin = sandbox(session)?.load(source).await;
    let plugin = plugin.map_err(|no| refused(no.gate.as_str(), &escape::block(&no.message)))?;
    Ok(plugin.description().version.clone())
}

fn component(session: &Session, path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::metadata(path).map_err(|e| trust::unreadable(path, &e))?.len();
    let most = session.config.host.max_plugin_bytes;
    if bytes > most {
        return Err(usage(format!(
            "`{}` has {} and `plugins.max_bytes` is {}",
            path.display(),
            Size(bytes),
            Size(most)
        )));
    }
    std::fs::read(path).map_err(|e| trust::unreadable(path, &e))
}

fn beside(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(trust::unreadable(path, &error)),
    }
}
