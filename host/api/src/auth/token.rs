//! Tokens: what a caller shows to be known.
//!
//! A token's text is `bulkhead_ID_SECRET`. The broker keeps the sha256 of the secret alone, which
//! is 256 random bits: nobody who reads the broker can make a token of it, and guessing is
//! hopeless however fast the hash. Which tenant and what scopes a token has never changes; a
//! revoked one is forgotten.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_core::{TenantName, UnixMs};
use bulkhead_queue::{
    Broker, Document, DocumentId, DocumentKind, Expected, JournalLine, QueueError,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::caller::{Caller, Scope};

/// What a token's text begins with, so that people and scanners of leaked secrets know it.
const PREFIX: &str = "bulkhead_";
/// Random bytes of an id and of a secret.
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
/// Longest name of a token, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// A token's public name: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

impl FromStr for TokenId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 2 * ID_BYTES && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{}` is no token id: 16 hexadecimal digits", text.escape_debug()))
        }
    }
}

impl TryFrom<String> for TokenId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A token as it is known, without its secret. All times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// What it is called, for people.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The one tenant whose tasks it may see and touch; all without it.
    pub tenant: Option<TenantName>,
    /// When it was made.
    pub created_at: UnixMs,
    /// From when on it is worth nothing, if ever.
    pub expires_at: Option<UnixMs>,
}

/// A token and the sha256 of its secret, in base64, as the broker keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    token: Token,
    sha256: String,
}

/// A token that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What it is called, for people: 1 to 128 bytes of printable text.
    pub name: String,
    /// What it may do; at least one.
    pub scopes: Vec<Scope>,
    /// The one tenant whose tasks it may see and touch.
    pub tenant: Option<TenantName>,
    /// How long it is worth something, in milliseconds.
    pub ttl_ms: Option<u64>,
}

/// The tokens that a broker keeps. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    broker: Arc<dyn Broker>,
}

impl Tokens {
    /// Those of this broker.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker }
    }

    /// Make a token; `by` is who did. Its text is told this once.
    pub async fn create(
        &self,
        new: NewToken,
        by: &str,
        now: UnixMs,
    ) -> Result<(Token, Zeroizing<String>), QueueError> {
        let refuse = |reason: &str| Err(QueueError::Refused(reason.into()));
        if new.name.is_empty() || new.name.len() > MAX_NAME_BYTES {
            return refuse("the token's name is not 1 to 128 bytes long");
        }
        if new.name.chars().any(char::is_control) {
            return refuse("the token's name has control characters; leave them out");
        }
        let mut scopes = new.scopes;
        scopes.sort();
        scopes.dedup();
        if scopes.is_empty() {
            return refuse("the token has no scope; name read, submit, operate or admin");
        }
        if new.tenant.is_some() && scopes.contains(&Scope::Admin) {
            return refuse(
                "a token of one tenant cannot have the scope `admin`, which is everybody's; use \
                 read, submit and operate",
            );
        }
        let mut id = [0; ID_BYTES];
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        let random = |error: getrandom::Error| {
            QueueError::Unavailable(format!("the system gives no random numbers: {error}"))
        };
        getrandom::fill(&mut id).map_err(random)?;
        getrandom::fill(&mut *secret).map_err(random)?;
        let token = Token {
            id: TokenId(id.iter().map(|byte| format!("{byte:02x}")).collect()),
            name: new.name,
            scopes,
            tenant: new.tenant,
            created_at: now,
            expires_at: new.ttl_ms.map(|ttl| now.saturating_add(ttl)),
        };
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(*secret));
        let text = Zeroizing::new(format!("{PREFIX}{}_{}", token.id, &*secret));
        let kept = Kept { token: token.clone(), sha256: hashed(&secret) };
        let document = serde_json::to_vec(&kept).map(Document).map_err(|error| {
            QueueError::Protocol(format!("the token cannot be written: {error}"))
        })?;
        let id = place(&token.id);
        let stored =
            self.broker.archive().put_document(&id, &document, &Expected::Nothing, new.ttl_ms);
        if !stored.await? {
            return refuse("another token has the same id; make it again");
        }
        self.write_down(by, "token.create", &token).await?;
        Ok((token, text))
    }

    /// Make a token worth nothing; `false` if there is none. `by` is who did.
    pub async fn revoke(&self, id: &TokenId, by: &str) -> Result<bool, QueueError> {
        let known = self.broker.archive().document(&place(id)).await?;
        if !self.broker.archive().delete_document(&place(id)).await? {
            return Ok(false);
        }
        if let Some(kept) = known.and_then(|document| read(&document)) {
            self.write_down(by, "token.revoke", &kept.token).await?;
        }
        Ok(true)
    }

    async fn write_down(&self, by: &str, action: &str, token: &Token) -> Result<(), QueueError> {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        let tenant = token.tenant.as_ref().map_or("all tenants", TenantName::as_str);
        let detail = format!("{} for {tenant}, called {}", scopes.join(","), token.name);
        let line = JournalLine::new(by, action, &token.id.to_string(), &detail);
        self.broker.archive().journal(&line).await
    }

    /// All tokens, by their ids.
    pub async fn list(&self) -> Result<Vec<Token>, QueueError> {
        let documents = self.broker.archive().documents(DocumentKind::Token).await?;
        Ok(documents.iter().filter_map(|(_, document)| Some(read(document)?.token)).collect())
    }

    /// The token of this text, if it is worth something now.
    pub(super) async fn verify(
        &self,
        text: &str,
        now: UnixMs,
    ) -> Result<Option<Token>, QueueError> {
        let parts = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
        let Some((id, secret)) = parts else { return Ok(None) };
        let Ok(id) = id.parse() else { return Ok(None) };
        let Some(document) = self.broker.archive().document(&place(&id)).await? else {
            return Ok(None);
        };
        let Some(kept) = read(&document) else { return Ok(None) };
        let same = bool::from(hashed(secret).as_bytes().ct_eq(kept.sha256.as_bytes()));
        let alive = kept.token.expires_at.is_none_or(|at| now < at);
        Ok((same && alive).then_some(kept.token))
    }
}

impl Token {
    /// Who shows it.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller {
            name: format!("token:{} ({})", self.id, self.name),
            scopes: self.scopes.clone(),
            tenant: self.tenant.clone(),
        }
    }
}

fn place(id: &TokenId) -> DocumentId {
    DocumentId::new(DocumentKind::Token, id.to_string())
}

fn read(document: &Document) -> Option<Kept> {
    serde_json::from_slice(&document.0).ok()
}

fn hashed(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}

#[cfg(test)]
mod tests {
    use bulkhead_queue::{EmbeddedBroker, JournalRange};

    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(Arc::new(EmbeddedBroker::in_memory()))
    }

    fn new(scopes: &[Scope]) -> NewToken {
        NewToken { name: "ci".into(), scopes: scopes.to_vec(), tenant: None, ttl_ms: None }
    }

    #[tokio::test]
    async fn a_token_is_known_until_it_is_revoked() {
        let tokens = tokens();
        let (token, text) = tokens.create(new(&[Scope::Read]), "me", 5).await.unwrap();
        assert_eq!(tokens.verify(&text, 6).await.unwrap(), Some(token.clone()));
        assert_eq!(tokens.list().await.unwrap(), std::slice::from_ref(&token));
        let other = tokens.create(new(&[Scope::Read]), "me", 5).await.unwrap().1;
        let mixed = format!("{PREFIX}{}_{}", token.id, other.rsplit_once('_').unwrap().1);
        for wrong in ["", "x", "bulkhead_", "bulkhead_x_y", &text[..text.len() - 1], &mixed] {
            assert_eq!(tokens.verify(wrong, 6).await.unwrap(), None, "{wrong}");
        }
        assert!(tokens.revoke(&token.id, "me").await.unwrap());
        assert!(!tokens.revoke(&token.id, "me").await.unwrap());
        assert_eq!(tokens.verify(&text, 6).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_token_ends_with_its_time() {
        let tokens = tokens();
        let brief = NewToken { ttl_ms: Some(600_000), ..new(&[Scope::Admin]) };
        let (token, text) = tokens.create(brief, "me", 1_000).await.unwrap();
        assert_eq!(token.expires_at, Some(601_000));
        assert!(tokens.verify(&text, 600_999).await.unwrap().is_some());
        assert_eq!(tokens.verify(&text, 601_000).await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_broker_keeps_no_secret_and_the_journal_who_made_what() {
        let tokens = tokens();
        let (token, text) = tokens.create(new(&[Scope::Submit]), "root@here", 5).await.unwrap();
        let kept = tokens.broker.archive().documents(DocumentKind::Token).await.unwrap();
        let kept = String::from_utf8(kept[0].1.0.clone()).unwrap();
        let secret = text.rsplit_once('_').unwrap().1;
        assert!(!kept.contains(secret) && kept.contains("sha256"), "{kept}");
        tokens.revoke(&token.id, "root@here").await.unwrap();
        let lines =
            tokens.broker.archive().journal_entries(&JournalRange::newest(10)).await.unwrap();
        let lines: Vec<(&str, &str)> =
            lines.iter().map(|entry| (&*entry.line.actor, &*entry.line.action)).collect();
        assert_eq!(lines, [("root@here", "token.create"), ("root@here", "token.revoke")]);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused() {
        let tokens = tokens();
        let acme = || Some("acme".parse().unwrap());
        for (token, says) in [
            (new(&[]), "no scope"),
            (NewToken { name: String::new(), ..new(&[Scope::Read]) }, "name"),
            (NewToken { name: "a\nb".into(), ..new(&[Scope::Read]) }, "control"),
            (NewToken { tenant: acme(), ..new(&[Scope::Admin]) }, "`admin`"),
        ] {
            let error = tokens.create(token, "me", 5).await.unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
