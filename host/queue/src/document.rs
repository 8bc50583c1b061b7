//! Documents: small values of the whole namespace, by kind and key.
//!
//! What operators' tools keep beside tasks. One that takes the place of exactly what somebody
//! read is how two who change the same thing at once find out. What is in a document is known
//! to those who write it, and not here.

use serde::{Deserialize, Serialize};

use crate::error::QueueError;

/// Documents of one kind at most.
pub(crate) const MAX_DOCUMENTS: usize = 10_000;
/// Bytes of one document at most.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 64 << 10;
/// Bytes of all documents of one kind at most, so that they can be listed in one answer.
pub(crate) const MAX_KIND_BYTES: u64 = 64 << 20;
/// Bytes of a key at most.
pub(crate) const MAX_KEY_BYTES: usize = 512;
/// Documents whose time has passed that one change forgets at most.
pub(crate) const SWEPT_AT_MOST: usize = 100;

/// What a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// A token for the HTTP API, by its name.
    Token,
    /// A version of a plugin that was pushed.
    Version,
    /// Which version of a plugin all hosts are to serve, and which ones before.
    Activation,
    /// A version of a plugin that some of its tasks go to, until it is judged.
    Canary,
    /// What one host counted of that.
    CanaryCounts,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Token, Self::Version, Self::Activation, Self::Canary, Self::CanaryCounts];

    /// Its name in keys and signals.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Version => "version",
            Self::Activation => "activation",
            Self::Canary => "canary",
            Self::CanaryCounts => "canary_counts",
        }
    }

    /// Read its name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Which document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentId {
    /// What it is about.
    pub kind: DocumentKind,
    /// Its key: 1 to 512 bytes without control characters.
    pub key: String,
}

impl DocumentId {
    /// A kind and a key. The key is checked when it is used.
    pub fn new(kind: DocumentKind, key: impl Into<String>) -> Self {
        Self { kind, key: key.into() }
    }

    /// Refuse what can be no key.
    pub(crate) fn check(&self) -> Result<(), QueueError> {
        let key = &self.key;
        if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
            return Err(QueueError::Refused(format!(
                "`{}` is no key of a document; write 1 to {MAX_KEY_BYTES} bytes without control \
                 characters",
                key.escape_debug()
            )));
        }
        Ok(())
    }
}

/// What a document says, at most 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl Document {
    /// Refuse what is larger than a document may be.
    pub(crate) fn check(&self) -> Result<(), QueueError> {
        let bytes = self.0.len();
        if bytes > MAX_DOCUMENT_BYTES {
            return Err(QueueError::Refused(format!(
                "the document has {bytes} bytes; at most {MAX_DOCUMENT_BYTES} are kept"
            )));
        }
        Ok(())
    }
}

/// What must be there for a document to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expected {
    /// Anything, or nothing.
    Anything,
    /// No document.
    Nothing,
    /// A document of exactly these bytes.
    Exactly(Document),
}

/// What is said when no further document of a kind is kept.
pub(crate) fn too_many(kind: DocumentKind) -> QueueError {
    QueueError::Refused(format!(
        "{MAX_DOCUMENTS} documents of the kind `{}`, or {MAX_KIND_BYTES} bytes of them, are the \
         most that is stored; delete some that are not used",
        kind.as_str()
    ))
}
