//! `bulkhead secret`: secrets that are kept with the broker, sealed here, and their keys.
//!
//! Values come in by standard input alone and go nowhere but into their seal.

mod input;
mod key;
mod reseal;

use std::path::PathBuf;

use anyhow::{Context, Result};
use bulkhead::core::TenantName;
use bulkhead::queue::{Sealed, SecretId};
use bulkhead::secrets::{Place, check_value, inspect, seal};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, not_found, usage};
use super::figures;
use super::output::{self, note};
use super::session::{BATCH, Session};

/// Keep secrets with the broker, sealed under a key that it never sees
#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Seal a value and store it; the value is read from standard input
    ///
    /// A line end at its end is left out. On a terminal one line is read, and not shown.
    Put(Which),
    /// List stored secrets: names, when they were sealed and with which key
    List,
    /// Forget a stored secret
    Delete(Which),
    /// Make a key for stored secrets
    Key {
        /// Write it to this new file, for its owner alone, and not to standard output
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
    },
    /// Seal all stored secrets anew, with the key that `secrets_key` names first
    Reseal,
}

/// Which secret.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Name of the secret
    name: String,
    /// Only for this tenant, before the one that is for all
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
}

/// A stored secret in JSON.
#[derive(Serialize)]
struct SecretDocument<'a> {
    name: &'a str,
    tenant: Option<&'a str>,
    /// When it was sealed, and with which key; null if what is stored is no sealed secret.
    sealed_at: Option<u64>,
    key: Option<String>,
}

/// What was forgotten, in JSON.
#[derive(Serialize)]
struct Deleted<'a> {
    name: &'a str,
    tenant: Option<&'a str>,
    deleted: bool,
}

impl Secret {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        match self {
            Self::Put(which) => put(session, &which.id()?).await,
            Self::List => list(session).await,
            Self::Delete(which) => delete(session, &which.id()?).await,
            Self::Key { out } => key::make(session, out.as_deref()),
            Self::Reseal => reseal::all(session).await,
        }
    }
}

impl Which {
    fn id(&self) -> Result<SecretId> {
        Ok(SecretId::new(self.tenant.clone(), &self.name)?)
    }
}

async fn put(session: &Session, id: &SecretId) -> Result<Exit> {
    // Before anybody is asked to type.
    let keys = session.config.secrets_keys()?;
    let broker = session.broker().await?;
    let value = input::read().await?;
    check_value(&value).map_err(usage)?;
    let sealed = seal(keys.current(), &session.config.namespace, id, &value, figures::now())
        .context("the secret was not stored")?;
    drop(value);
    broker.put_secret(id, &sealed, None).await?;
    if session.out.is_json() {
        session.out.document(&document(id, &sealed))?;
    } else {
        session.out.text(&format!("{} is stored\n", worded(id)))?;
    }
    let settings = session.config.host.settings.now();
    if settings.secrets.places.get(id) != Some(&Place::Stored) {
        note(&format!(
            "this configuration does not say that it is stored; a host needs\n  {}",
            line(id)
        ));
    }
    Ok(Exit::Done)
}

async fn list(session: &Session) -> Result<Exit> {
    let broker = session.broker().await?;
    let ids = broker.secret_ids().await?;
    let mut stored = Vec::with_capacity(ids.len());
    for ids in ids.chunks(BATCH) {
        let sealed = broker.secrets(ids).await?;
        // One that was deleted meanwhile is none.
        stored.extend(ids.iter().zip(sealed).filter_map(|(id, sealed)| Some((id, sealed?))));
    }
    if session.out.is_json() {
        let documents: Vec<_> = stored.iter().map(|(id, sealed)| document(id, sealed)).collect();
        session.out.document(&documents)?;
        return Ok(Exit::Done);
    }
    let now = figures::now();
    let mut table = output::table(&["NAME", "TENANT", "SEALED", "KEY"]);
    for (id, sealed) in &stored {
        let (sealed_at, key) = match inspect(sealed) {
            Ok(seal) => (figures::relative(seal.sealed_at, now), seal.key.to_string()),
            Err(_) => ("?".into(), "no sealed secret of this version".into()),
        };
        table.add_row(vec![
            output::cell(id.name()),
            output::cell(id.tenant().map_or("", TenantName::as_str)),
            output::cell(&sealed_at),
            output::cell(&key),
        ]);
    }
    session.out.table(table, "no secret is stored; store one with `bulkhead secret put NAME`")?;
    Ok(Exit::Done)
}

async fn delete(session: &Session, id: &SecretId) -> Result<Exit> {
    if !session.broker().await?.delete_secret(id).await? {
        return Err(not_found(format!(
            "{} is not stored; `bulkhead secret list` shows what is",
            worded(id)
        )));
    }
    if session.out.is_json() {
        let tenant = id.tenant().map(TenantName::as_str);
        session.out.document(&Deleted { name: id.name(), tenant, deleted: true })?;
    } else {
        session.out.text(&format!("{} is forgotten\n", worded(id)))?;
    }
    Ok(Exit::Done)
}

fn document<'a>(id: &'a SecretId, sealed: &Sealed) -> SecretDocument<'a> {
    let seal = inspect(sealed).ok();
    SecretDocument {
        name: id.name(),
        tenant: id.tenant().map(TenantName::as_str),
        sealed_at: seal.map(|seal| seal.sealed_at),
        key: seal.map(|seal| seal.key.to_string()),
    }
}

/// A secret as messages name it.
fn worded(id: &SecretId) -> String {
    match id.tenant() {
        Some(tenant) => format!("the secret `{}` of the tenant `{tenant}`", id.name()),
        None => format!("the secret `{}`", id.name()),
    }
}

/// The lines of a configuration by which a host finds it. Names may have dots in them.
fn line(id: &SecretId) -> String {
    let key = |name: &str| if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() };
    let of = id.tenant().map(|tenant| format!("tenants.{}.", key(tenant.as_str())));
    format!("[{}secrets.{}]\n  stored = true", of.unwrap_or_default(), key(id.name()))
}
