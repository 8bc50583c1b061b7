//! The guard: a layer that turns what a request shows into a caller, or turns it away.
//!
//! It asks the broker for each token at most once in a few seconds, so that is how long a
//! revoked one may still be worth something. It bounds how often a caller may ask, and writes
//! down in the journal who changed what.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bulkhead_core::Rate;
use bulkhead_queue::{Broker, JournalLine};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::caller::{Caller, Scope};
use super::rate::Buckets;
use super::token::{Token, Tokens};
use crate::problem::{Kind, Problem};

/// How long what the broker said of a token is believed.
const BELIEVED: Duration = Duration::from_secs(5);
/// Tokens of which it is remembered.
const REMEMBERED: usize = 10_000;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The host's own socket, which only its owner can open.
    Socket,
    /// This address.
    Address(SocketAddr),
}

/// What those may do who show no token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// Nothing.
    #[default]
    Nothing,
    /// This, if they come from the same machine.
    OnLoopback(Vec<Scope>),
}

/// Settings of a guard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuardOptions {
    /// What those may do who show no token.
    pub anonymous: Anonymous,
    /// How often one caller may ask.
    pub rate: Option<Rate>,
}

/// Lets in who shows a token, and says who it is. Cheap to clone.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

/// What the broker said of a token, and when.
type Known = (Option<Token>, Instant);

struct Inner {
    broker: Arc<dyn Broker>,
    tokens: Tokens,
    options: GuardOptions,
    buckets: Option<Buckets>,
    /// By the sha256 of a token's text.
    known: Mutex<HashMap<[u8; 32], Known>>,
    began: Instant,
}

impl Guard {
    /// A guard that knows the tokens of this broker.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, options: GuardOptions) -> Self {
        Self(Arc::new(Inner {
            tokens: Tokens::new(broker.clone()),
            broker,
            buckets: options.rate.map(Buckets::new),
            options,
            known: Mutex::default(),
            began: Instant::now(),
        }))
    }

    /// As a layer around routes.
    pub fn layer(self, router: axum::Router) -> axum::Router {
        router.layer(axum::middleware::from_fn_with_state(self, admit))
    }

    /// Who asks.
    async fn caller(&self, shown: &Shown) -> Result<Caller, Problem> {
        if let Some(text) = &shown.token {
            let token = self.token(text).await?;
            return token.map(|token| token.caller()).ok_or_else(|| {
                let detail = "the token is unknown, expired or revoked; `bulkhead token create` \
                              makes one";
                Problem::new(Kind::Unauthorized, detail)
            });
        }
        match (shown.peer, &self.0.options.anonymous) {
            (Some(Peer::Socket), _) => Ok(Caller::owner()),
            (Some(Peer::Address(from)), Anonymous::OnLoopback(scopes))
                if from.ip().to_canonical().is_loopback() =>
            {
                shown.from_site.clone()?;
                let name = "anonymous on loopback".to_owned();
                Ok(Caller { name, scopes: scopes.clone(), tenant: None })
            }
            _ => {
                let detail =
                    "send `Authorization: Bearer TOKEN`; `bulkhead token create` makes one";
                Err(Problem::new(Kind::Unauthorized, detail))
            }
        }
    }

    /// The token of a text, by what is known or the broker says.
    async fn token(&self, text: &str) -> Result<Option<Token>, Problem> {
        let key: [u8; 32] = Sha256::digest(text).into();
        if let Some((token, at)) = self.0.known.lock().get(&key)
            && at.elapsed() < BELIEVED
        {
            return Ok(token.clone().filter(is_alive));
        }
        let token = self.0.tokens.verify(text, crate::unix_ms()).await?;
        let mut known = self.0.known.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, (_, at)| at.elapsed() < BELIEVED);
        }
        if known.len() < REMEMBERED {
            known.insert(key, (token.clone(), Instant::now()));
        }
        Ok(token)
    }

    /// Refuse who asks too often.
    fn pace(&self, caller: &Caller, peer: Option<Peer>) -> Result<(), Problem> {
        let Some(buckets) = &self.0.buckets else { return Ok(()) };
        let who = match peer {
            Some(Peer::Address(from)) if caller.name.starts_with("anonymous") => {
                from.ip().to_string()
            }
            _ => caller.name.clone(),
        };
        let now_us = u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        // A bucket's clock starts behind zero, where all buckets are full.
        buckets.take(&who, now_us.saturating_add(1)).map_err(|seconds| {
            Problem::new(Kind::TooMany, "too many requests; ask less often").after(seconds)
        })
    }
}

fn is_alive(token: &Token) -> bool {
    token.expires_at.is_none_or(|at| crate::unix_ms() < at)
}

/// What a request shows of who sends it.
struct Shown {
    peer: Option<Peer>,
    token: Option<Zeroizing<String>>,
    /// Whether a browser sends it for a page of ours, if it is a browser.
    from_site: Result<(), Problem>,
}

impl Shown {
    fn of(request: &Request) -> Result<Self, Problem> {
        Ok(Self {
            peer: request.extensions().get::<Peer>().copied(),
            token: bearer(request.headers())?.map(|token| Zeroizing::new(token.to_owned())),
            from_site: same_site(request),
        })
    }
}

/// The token that a request shows.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::new(Kind::Unauthorized, "send `Authorization: Bearer TOKEN`")),
    }
}

/// Refuse what a web page of somebody else makes a browser send: it would come from the same
/// machine, too.
fn same_site(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    let refuse = |detail: &str| Err(Problem::new(Kind::Forbidden, detail));
    if !matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        return refuse("without a token the host must be named localhost, 127.0.0.1 or [::1]");
    }
    if let Some(origin) = text(header::ORIGIN)
        && origin.split_once("://").map(|(_, rest)| rest) != Some(host)
    {
        return refuse("without a token no other site may ask");
    }
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return refuse("without a token no other site may ask");
    }
    Ok(())
}

async fn admit(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let caller = match Shown::of(&request) {
        Ok(shown) => guard.caller(&shown).await,
        Err(problem) => Err(problem),
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(problem) => {
            // Whoever guesses is slowed down like anybody else.
            let nobody = Caller { name: "anonymous".into(), scopes: Vec::new(), tenant: None };
            let paced = guard.pace(&nobody, peer);
            return paced.err().unwrap_or(problem).into_response();
        }
    };
    if let Err(problem) = guard.pace(&caller, peer) {
        return problem.into_response();
    }
    let act = act(&request, &caller);
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    if let Some(line) = act.filter(|_| response.status().is_success()) {
        // What was done is done: should this fail, the log has it.
        tracing::info!(actor = %line.actor, action = %line.action, object = %line.object, "changed");
        if let Err(error) = guard.0.broker.archive().journal(&line).await {
            tracing::warn!(%error, "the journal could not be written");
        }
    }
    response
}

/// The line of the journal for a request that changes something. Submissions are no changes:
/// each is a task, which says so itself.
fn act(request: &Request, caller: &Caller) -> Option<JournalLine> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let matched = request.extensions().get::<MatchedPath>()?.as_str();
    // Nested in an application, it begins with where it is nested.
    let matched = matched.find("/v1/").map_or(matched, |at| &matched[at..]);
    let submits = ["/v1/tasks", "/v1/tasks/bulk", "/v1/queues/{queue}/batches"];
    // Tokens and plugins are written down where they are changed.
    let elsewhere = ["/v1/tokens", "/v1/plugins"].iter().any(|path| matched.starts_with(path));
    if submits.contains(&matched) || elsewhere {
        return None;
    }
    let action = format!("{} {matched}", request.method());
    let object = request.uri().path_and_query().map_or("", |path| path.as_str());
    Some(JournalLine::new(&caller.name, &action, object, ""))
}
