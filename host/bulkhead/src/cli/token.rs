//! `bulkhead token`: who may ask the API, and for what.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bulkhead::config::quantity::Span;
use bulkhead::core::TenantName;
use bulkhead_api::auth::{NewToken, Scope, Token, TokenId, Tokens};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, not_found, usage};
use super::figures;
use super::output::{self, note};
use super::session::{Session, actor};

/// Make tokens for the API, list and revoke them
#[derive(Debug, Subcommand)]
pub(crate) enum Tokening {
    /// Make a token; its text is printed once and kept nowhere
    Create(Create),
    /// List tokens: what they are called, what they may do
    List,
    /// Make a token worth nothing; hosts may believe it for five seconds more
    Revoke {
        /// Id of the token
        id: TokenId,
    },
}

/// A token to be made.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What it is called, for people
    name: String,
    /// What it may do: read, submit, operate, admin
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', default_value = "read")]
    scope: Vec<Scope>,
    /// The one tenant whose tasks it may see and touch [default: all]
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
    /// How long it is worth something, such as 90d [default: until it is revoked]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<Span>,
    /// Write its text to this new file, for its owner alone, and not to standard output
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// A token that was made, in JSON.
#[derive(Serialize)]
struct Created<'a> {
    #[serde(flatten)]
    token: &'a Token,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// A token that was revoked, in JSON.
#[derive(Serialize)]
struct Revoked {
    id: TokenId,
    revoked: bool,
}

impl Tokening {
    /// Do it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit> {
        let tokens = Tokens::new(session.broker().await?);
        match self {
            Self::Create(create) => create.run(session, &tokens).await,
            Self::List => list(session, &tokens).await,
            Self::Revoke { id } => {
                if !tokens.revoke(&id, &actor()).await? {
                    return Err(not_found(format!(
                        "there is no token {id}; `bulkhead token list` shows all"
                    )));
                }
                if session.out.is_json() {
                    session.out.document(&Revoked { id, revoked: true })?;
                } else {
                    session.out.text(&format!("token {id} is revoked\n"))?;
                }
                Ok(Exit::Done)
            }
        }
    }
}

impl Create {
    async fn run(self, session: &Session, tokens: &Tokens) -> Result<Exit> {
        let Self { name, scope, tenant, ttl, out } = self;
        // Before there is a token that nobody could be told.
        let file = out.as_deref().map(new_file).transpose()?;
        let new = NewToken { name, scopes: scope, tenant, ttl_ms: ttl.map(Span::as_ms) };
        let (token, text) = tokens.create(new, &actor(), figures::now()).await?;
        if let (Some(mut file), Some(path)) = (file, &out) {
            file.write_all(format!("{}\n", *text).as_bytes())
                .with_context(|| format!("cannot write `{}`", path.display()))?;
            note(&format!("token {} is in `{}`", token.id, path.display()));
        }
        let shown = out.is_none().then_some(text.as_str());
        if session.out.is_json() {
            session.out.document(&Created { token: &token, text: shown })?;
        } else if let Some(text) = shown {
            note(&format!("token {}, which is told this once:", token.id));
            session.out.text(&format!("{text}\n"))?;
        }
        Ok(Exit::Done)
    }
}

fn new_file(path: &Path) -> Result<std::fs::File> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| {
        usage(format!("cannot make the file `{}`: {error}; name a new one", path.display()))
    })
}

async fn list(session: &Session, tokens: &Tokens) -> Result<Exit> {
    let tokens = tokens.list().await?;
    if session.out.is_json() {
        session.out.document(&tokens)?;
        return Ok(Exit::Done);
    }
    let now = figures::now();
    let mut table = output::table(&["ID", "NAME", "SCOPES", "TENANT", "MADE", "ENDS"]);
    for token in &tokens {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        table.add_row(vec![
            output::cell(&token.id.to_string()),
            output::cell(&token.name),
            output::cell(&scopes.join(", ")),
            output::cell(token.tenant.as_ref().map_or("all", TenantName::as_str)),
            output::cell(&figures::relative(token.created_at, now)),
            output::cell(&token.expires_at.map_or("never".into(), |at| figures::relative(at, now))),
        ]);
    }
    session.out.table(table, "no tokens; make one with `bulkhead token create NAME`")?;
    Ok(Exit::Done)
}
