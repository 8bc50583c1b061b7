//! Tokens, and the journal of who changed what.

use axum::extract::State as From;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bulkhead_core::TenantName;
use bulkhead_core::quantity::Span;
use bulkhead_queue::{EventId, JournalEntry, JournalRange};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Json, Path, Query};
use super::{Api, Caller, Problems, Scope};
use crate::auth::{NewToken, Token, TokenId, Tokens};
use crate::problem::Problem;
use crate::unix_ms;

/// Tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokenList)]
pub(super) struct Listed {
    /// By id.
    tokens: Vec<Token>,
}

/// List tokens
#[utoipa::path(get, operation_id = "list_tokens", path = "/v1/tokens", tag = "tokens",
    responses((status = 200, body = Listed), Problems))]
pub(super) async fn list(From(api): From<Api>, caller: Caller) -> Result<Json<Listed>, Problem> {
    caller.may_for_all(Scope::Admin)?;
    Ok(Json(Listed { tokens: api.tokens().list().await? }))
}

/// A token that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// What it is called, for people.
    name: String,
    /// What it may do.
    #[schema(min_items = 1)]
    scopes: Vec<Scope>,
    /// The one tenant whose tasks it may see and touch; all without it.
    tenant: Option<TenantName>,
    /// How long it is worth something; for ever without it.
    ttl: Option<Span>,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct Created {
    #[serde(flatten)]
    token: Token,
    /// What a caller shows as `Authorization: Bearer TEXT`. It is told this once.
    text: String,
}

/// Make a token
#[utoipa::path(post, operation_id = "create_token", path = "/v1/tokens", tag = "tokens",
    request_body = Wanted, responses((status = 201, body = Created), Problems))]
pub(super) async fn create(
    From(api): From<Api>,
    caller: Caller,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Problem> {
    caller.may_for_all(Scope::Admin)?;
    let Wanted { name, scopes, tenant, ttl } = wanted;
    let new = NewToken { name, scopes, tenant, ttl_ms: ttl.map(Span::as_ms) };
    let (token, text) = api.tokens().create(new, &caller.name, unix_ms()).await?;
    let created = Created { token, text: text.to_string() };
    Ok((StatusCode::CREATED, Json(created)).into_response())
}

/// Make a token worth nothing
///
/// Hosts may believe it for five seconds more.
#[utoipa::path(delete, operation_id = "revoke_token", path = "/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path)),
    responses((status = 204, description = "It is gone"), Problems))]
pub(super) async fn revoke(
    From(api): From<Api>,
    caller: Caller,
    Path(id): Path<TokenId>,
) -> Result<StatusCode, Problem> {
    caller.may_for_all(Scope::Admin)?;
    if api.tokens().revoke(&id, &caller.name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found(format!("there is no token {id}")))
}

/// Who shows this token, and what it may do
#[utoipa::path(get, operation_id = "who_am_i", path = "/v1/whoami", tag = "tokens",
    responses((status = 200, body = Who), Problems))]
pub(super) async fn who(caller: Caller) -> Json<Who> {
    Json(Who { name: caller.name, scopes: caller.scopes, tenant: caller.tenant })
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Who {
    /// As the journal calls them.
    name: String,
    /// What they may do.
    scopes: Vec<Scope>,
    /// The one tenant whose tasks they may see and touch; all without it.
    tenant: Option<TenantName>,
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Lines {
    /// Those that follow this one, oldest first; without it the newest are told.
    after: Option<String>,
    /// Only those before this one.
    before: Option<String>,
    /// How many at most; 100 without it, 1,000 at most.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// Lines of the journal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Journal)]
pub(super) struct Written {
    /// Oldest first.
    lines: Vec<Line>,
}

/// What somebody did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JournalLine)]
struct Line {
    /// Its place.
    id: String,
    /// When, by the broker's clock, in Unix milliseconds.
    at: u64,
    /// Who.
    actor: String,
    /// What.
    action: String,
    /// To what.
    object: String,
    /// More about it.
    detail: String,
}

impl std::convert::From<JournalEntry> for Line {
    fn from(JournalEntry { id, at, line }: JournalEntry) -> Self {
        Self {
            id: id.0,
            at,
            actor: line.actor,
            action: line.action,
            object: line.object,
            detail: line.detail,
        }
    }
}

/// Read who changed what
///
/// The newest 10,000 lines are kept. Submissions are no changes.
#[utoipa::path(get, operation_id = "read_journal", path = "/v1/journal", tag = "tokens",
    params(Lines), responses((status = 200, body = Written), Problems))]
pub(super) async fn journal(
    From(api): From<Api>,
    caller: Caller,
    Query(lines): Query<Lines>,
) -> Result<Json<Written>, Problem> {
    caller.may_for_all(Scope::Admin)?;
    let limit = lines.limit.unwrap_or(100);
    if !(1..=1_000).contains(&limit) {
        return Err(Problem::malformed(format!("the limit is {limit}; use 1 to 1000")));
    }
    let range = JournalRange {
        after: lines.after.map(EventId),
        before: lines.before.map(EventId),
        limit: limit.into(),
    };
    let lines = api.broker().archive().journal_entries(&range).await?;
    Ok(Json(Written { lines: lines.into_iter().map(Line::from).collect() }))
}

impl Api {
    fn tokens(&self) -> Tokens {
        Tokens::new(self.client.broker().clone())
    }
}
